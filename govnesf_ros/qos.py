"""Publishers and subscriptions whose quality of service the user may change.

    cloud = latched_publisher(node, PointCloud2, topics.SEMANTIC_CLOUD)

Each policy is a parameter that is read when the topic comes up:

    -p qos_overrides./govnesf/semantic_cloud.publisher.reliability:=best_effort
"""

from collections.abc import Callable
from typing import Any

from rclpy.exceptions import InvalidParameterTypeException
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from govnesf_ros.parameter_values import ParameterProblem

OVERRIDABLE = QoSOverridingOptions(
    (
        QoSPolicyKind.HISTORY,
        QoSPolicyKind.DEPTH,
        QoSPolicyKind.RELIABILITY,
        QoSPolicyKind.DURABILITY,
    )
)


def latched_publisher(node: Any, kind: type, name: str) -> Any:
    """Return a publisher whose last message late joiners get, too.

    With a camera that stands still there may be no other.

    Raises:
        ParameterProblem: an override cannot be used.
    """
    # A profile of its own: rclpy writes the overrides into it.
    profile = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    return _made(
        name,
        lambda: node.create_publisher(kind, name, profile, qos_overriding_options=OVERRIDABLE),
    )


def subscription(
    node: Any, kind: type, name: str, callback: Callable, depth: int, group: Any
) -> Any:
    """Return a reliable subscription.

    Raises:
        ParameterProblem: an override cannot be used.
    """
    return _made(
        name,
        lambda: node.create_subscription(
            kind,
            name,
            callback,
            QoSProfile(depth=depth),
            callback_group=group,
            qos_overriding_options=OVERRIDABLE,
        ),
    )


def _made(name: str, create: Callable[[], Any]) -> Any:
    try:
        return create()
    except InvalidParameterTypeException as error:
        raise ParameterProblem(
            f"a QoS override of topic '{name}' has the wrong type: {error}"
        ) from error
    except RuntimeError as error:
        if "QoS override" not in str(error):
            raise
        raise ParameterProblem(
            f"topic '{name}': {error}; known are e.g. reliable and best_effort, transient_local "
            "and volatile, keep_last and keep_all"
        ) from error
