"""Namespace, parameters and remappings for all nodes that follow, within a `GroupAction`."""

from __future__ import annotations

from typing import Any

from launch.action import Action
from launch.actions import SetEnvironmentVariable
from launch.launch_context import LaunchContext
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.utilities import perform_text
from launch_ros.parameter_descriptions import Parameter, ParameterFile

NAMESPACE_KEY = "ros_namespace"
PARAMETERS_KEY = "global_params"
REMAPS_KEY = "ros_remaps"


def join_namespace(base: str | None, namespace: str | None) -> str:
    """Return `namespace` below `base`; one that starts with a slash stands for itself.

    Neither of them gives an empty text, an empty `namespace` alone the root.
    """
    if namespace and namespace.startswith("/"):
        return namespace
    parts = [part.strip("/") for part in (base, namespace) if part and part.strip("/")]
    return "" if base is None and namespace is None else "/" + "/".join(parts)


class PushRosNamespace(Action):
    """Puts the nodes that follow into a namespace."""

    def __init__(self, namespace: SomeSubstitutionsType, **kwargs) -> None:
        super().__init__(**kwargs)
        self._namespace = namespace

    def execute(self, context: LaunchContext) -> None:
        configurations = context.launch_configurations
        configurations[NAMESPACE_KEY] = join_namespace(
            configurations.get(NAMESPACE_KEY), perform_text(context, self._namespace)
        )


PushROSNamespace = PushRosNamespace


class SetParameter(Action):
    """Gives a parameter to the nodes that follow; a node's own parameters win."""

    def __init__(self, name: SomeSubstitutionsType, value: Any, **kwargs) -> None:
        super().__init__(**kwargs)
        self._parameter = Parameter(name, value)

    def execute(self, context: LaunchContext) -> None:
        _append(context, PARAMETERS_KEY, self._parameter.evaluate(context))


class SetUseSimTime(SetParameter):
    """Lets the nodes that follow read the time from /clock."""

    def __init__(self, value: bool | SomeSubstitutionsType, **kwargs) -> None:
        super().__init__("use_sim_time", value, **kwargs)


class SetParametersFromFile(Action):
    """Gives a parameter file to the nodes that follow.

    Args:
        filename: path of the file.
        node_name: only for the node of this name.
    """

    def __init__(
        self,
        filename: SomeSubstitutionsType,
        node_name: SomeSubstitutionsType | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        is_file = isinstance(filename, ParameterFile)
        self._file = filename if is_file else ParameterFile(filename)
        self._node_name = node_name

    def execute(self, context: LaunchContext) -> None:
        only_for = None if self._node_name is None else perform_text(context, self._node_name)
        _append(context, PARAMETERS_KEY, (only_for, self._file.evaluate(context)))


class SetRemap(Action):
    """Renames a topic or service for the nodes that follow."""

    def __init__(self, src: SomeSubstitutionsType, dst: SomeSubstitutionsType, **kwargs) -> None:
        super().__init__(**kwargs)
        self._src = src
        self._dst = dst

    def execute(self, context: LaunchContext) -> None:
        rule = perform_text(context, self._src), perform_text(context, self._dst)
        _append(context, REMAPS_KEY, rule)


class SetROSLogDir(SetEnvironmentVariable):
    """Sets the folder that the nodes that follow write their logs to."""

    def __init__(self, new_log_dir: SomeSubstitutionsType, **kwargs) -> None:
        super().__init__("ROS_LOG_DIR", new_log_dir, **kwargs)


def _append(context: LaunchContext, key: str, item: Any) -> None:
    # A new tuple each time: the scopes that a group opens share the one that is there.
    context.launch_configurations[key] = (*context.launch_configurations.get(key, ()), item)
