"""A ROS node: an executable of a package with a name, a namespace, parameters and remappings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import launch.logging
from launch.actions import ExecuteProcess
from launch.launch_context import LaunchContext
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.utilities import perform_text
from launch_ros.actions.scope import NAMESPACE_KEY, PARAMETERS_KEY, REMAPS_KEY, join_namespace
from launch_ros.parameter_descriptions import parameter_yaml, write_temporary_yaml
from launch_ros.parameters import evaluate_parameters
from launch_ros.substitutions import ExecutableInPackage


class Node(ExecuteProcess):
    """A node in a process of its own; see `ExecuteProcess` for output, respawn and the like.

    Parameters given later win over earlier ones, with one exception that ROS makes: a section of
    a file that names the node wins over a dict unless both `name` and `namespace` are given here.

    Args:
        executable: name of the executable, or a path if there is no package.
        package: name of the package.
        name: name of the node instead of its own.
        namespace: namespace, below that of `PushRosNamespace` unless it starts with a slash.
        exec_name: name for output lines.
        parameters: dicts (nested, with substitutions), YAML files or `ParameterFile`s.
        remappings: pairs of names, from and to.
        ros_arguments: arguments for ROS, as after `--ros-args`.
        arguments: arguments for the executable.
    """

    UNSPECIFIED_NODE_NAME = "<node_name_unspecified>"
    UNSPECIFIED_NODE_NAMESPACE = "<node_namespace_unspecified>"

    def __init__(
        self,
        *,
        executable: SomeSubstitutionsType,
        package: SomeSubstitutionsType | None = None,
        name: SomeSubstitutionsType | None = None,
        namespace: SomeSubstitutionsType | None = None,
        exec_name: SomeSubstitutionsType | None = None,
        parameters: Iterable[Any] | None = None,
        remappings: Iterable[tuple[SomeSubstitutionsType, SomeSubstitutionsType]] | None = None,
        ros_arguments: Iterable[SomeSubstitutionsType] | None = None,
        arguments: Iterable[SomeSubstitutionsType] | None = None,
        **kwargs,
    ) -> None:
        if isinstance(parameters, str | dict):
            raise TypeError(
                f"parameters of node '{executable}' are {parameters!r}, expected a list"
            )
        found = executable if package is None else ExecutableInPackage(executable, package)
        super().__init__(cmd=[found, *(arguments or [])], name=exec_name, **kwargs)
        self.node_package = package
        self.node_executable = executable
        self._node_name = name
        self._node_namespace = namespace
        self._parameters = list(parameters or [])
        self._remappings = list(remappings or [])
        self._ros_arguments = list(ros_arguments or [])
        self.expanded_node_name = self.UNSPECIFIED_NODE_NAME
        self.expanded_node_namespace = self.UNSPECIFIED_NODE_NAMESPACE

    @property
    def node_name(self) -> str:
        """The full name, `/namespace/name`, as far as it is known."""
        return f"{self.expanded_node_namespace.rstrip('/')}/{self.expanded_node_name}"

    def is_node_name_fully_specified(self) -> bool:
        unknown = (self.UNSPECIFIED_NODE_NAME, self.UNSPECIFIED_NODE_NAMESPACE)
        return not any(word in self.node_name for word in unknown)

    def _command(self, context: LaunchContext) -> list[SomeSubstitutionsType]:
        self._expand_names(context)
        given = [perform_text(context, argument) for argument in self._ros_arguments]
        ros_arguments = [
            *given,
            *self._name_arguments(),
            *self._parameter_arguments(context),
            *self._remap_arguments(context),
        ]
        return [*self._cmd, *(["--ros-args", *ros_arguments] if ros_arguments else [])]

    def _expand_names(self, context: LaunchContext) -> None:
        if self._node_name is not None:
            self.expanded_node_name = perform_text(context, self._node_name)
        given = (
            None if self._node_namespace is None else perform_text(context, self._node_namespace)
        )
        base = context.launch_configurations.get(NAMESPACE_KEY)
        namespace = join_namespace(base, given)
        self.expanded_node_namespace = namespace or self.UNSPECIFIED_NODE_NAMESPACE

    def _name_arguments(self) -> list[str]:
        arguments = []
        if self._node_name is not None:
            arguments += ["-r", f"__node:={self.expanded_node_name}"]
        if self.expanded_node_namespace != self.UNSPECIFIED_NODE_NAMESPACE:
            arguments += ["-r", f"__ns:={self.expanded_node_namespace}"]
        return arguments

    def _parameter_arguments(self, context: LaunchContext) -> list[str]:
        arguments = []
        for name, value in context.launch_configurations.get(PARAMETERS_KEY, ()):
            if not isinstance(value, Path):
                arguments += ["-p", f"{name}:={_yaml_text(value)}"]
            elif name in (None, self.expanded_node_name):
                arguments += ["--params-file", str(value)]
        for parameters in evaluate_parameters(context, self._parameters):
            arguments += ["--params-file", str(self._parameter_file(parameters))]
        return arguments

    def _parameter_file(self, parameters: dict | Path) -> Path:
        if isinstance(parameters, dict):
            section = self.node_name if self.is_node_name_fully_specified() else "/**"
            return write_temporary_yaml({section: {"ros__parameters": parameters}})
        if not parameters.is_file():
            launch.logging.get_logger("launch_ros.actions.node").warning(
                f"Parameter file path is not a file: {parameters}"
            )
        return parameters

    def _remap_arguments(self, context: LaunchContext) -> list[str]:
        rules = [*context.launch_configurations.get(REMAPS_KEY, ())]
        rules += [(perform_text(context, a), perform_text(context, b)) for a, b in self._remappings]
        return [part for source, target in rules for part in ("-r", f"{source}:={target}")]


def _yaml_text(value: Any) -> str:
    return parameter_yaml(value, flow_style=True).removesuffix("\n").removesuffix("\n...")
