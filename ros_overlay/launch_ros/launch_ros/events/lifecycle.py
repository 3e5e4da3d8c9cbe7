"""Transitions of lifecycle nodes: those asked for, and those that have happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from launch.event import Event

if TYPE_CHECKING:
    from launch_ros.actions import LifecycleNode
    from lifecycle_msgs.msg import TransitionEvent

__all__ = ["ChangeState", "StateTransition", "matches_node_name"]


class ChangeState(Event):
    """The lifecycle nodes that match are to make a transition.

    Args:
        lifecycle_node_matcher: which nodes, such as `launch.events.matches_action(node)`.
        transition_id: a constant of `lifecycle_msgs.msg.Transition`.
    """

    name = "launch_ros.events.lifecycle.ChangeState"

    def __init__(
        self, *, lifecycle_node_matcher: Callable[[LifecycleNode], bool], transition_id: int
    ) -> None:
        self.lifecycle_node_matcher = lifecycle_node_matcher
        self.transition_id = transition_id


class StateTransition(Event):
    """A lifecycle node has gone from `start_state` to `goal_state` (labels such as 'inactive')."""

    name = "launch_ros.events.lifecycle.StateTransition"

    def __init__(self, *, action: LifecycleNode, msg: TransitionEvent) -> None:
        self.action = action
        self.msg = msg
        self.timestamp = msg.timestamp
        self.transition = msg.transition.label
        self.start_state = msg.start_state.label
        self.goal_state = msg.goal_state.label


def matches_node_name(node_name: str) -> Callable[[LifecycleNode], bool]:
    """Return a matcher for a full name such as `/robot/camera`."""
    return lambda action: action.node_name == node_name
