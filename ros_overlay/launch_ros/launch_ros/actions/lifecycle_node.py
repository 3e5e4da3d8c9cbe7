"""A node with a lifecycle that the launch file drives."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from launch.actions import OpaqueFunction
from launch.event_handler import EventHandler
from launch.events import Shutdown
from launch.launch_context import LaunchContext
from launch.logging import get_logger
from launch.some_substitutions_type import SomeSubstitutionsType
from launch_ros.actions.node import Node
from launch_ros.events.lifecycle import ChangeState, StateTransition

CONFIGURE, ACTIVATE = 1, 3
# How long a transition waits for the node's notifications, so that handlers hear of the first one.
NOTIFICATION_WAIT = 2.0


class LifecycleNode(Node):
    """A node that obeys `ChangeState` events and reports `StateTransition` events.

    Args:
        name: name of the node; its services are found by it.
        namespace: namespace of the node.
        autostart: configure and activate it as soon as it is there.
    """

    def __init__(
        self,
        *,
        name: SomeSubstitutionsType,
        namespace: SomeSubstitutionsType,
        autostart: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(name=name, namespace=namespace, **kwargs)
        self._autostart = autostart
        self._tasks: set[asyncio.Task] = set()

    @property
    def is_autostart(self) -> bool:
        return self._autostart

    def execute(self, context: LaunchContext) -> None:
        super().execute(context)
        if context.is_shutdown:
            return
        self._connect(context)
        on_change = EventHandler(
            matcher=lambda e: isinstance(e, ChangeState) and e.lifecycle_node_matcher(self),
            entities=OpaqueFunction(
                function=lambda context: self._begin(
                    context, self._change_state(context.locals.event.transition_id)
                )
            ),
        )
        on_shutdown = EventHandler(
            matcher=lambda e: isinstance(e, Shutdown),
            entities=OpaqueFunction(function=lambda context: self._cancel_tasks()),
        )
        context.register_event_handler(on_change)
        context.register_event_handler(on_shutdown)
        if self._autostart:
            self._begin(context, self._start())

    def _connect(self, context: LaunchContext) -> None:
        from launch_ros.ros_adapters import get_ros_node
        from lifecycle_msgs.msg import TransitionEvent
        from lifecycle_msgs.srv import ChangeState as ChangeStateService

        self._node = get_ros_node(context)
        self._topic = f"{self.node_name}/transition_event"
        self._node.create_subscription(
            TransitionEvent,
            self._topic,
            lambda msg: context.emit_event_sync(StateTransition(action=self, msg=msg)),
            10,
        )
        self._client = self._node.create_client(
            ChangeStateService, f"{self.node_name}/change_state"
        )

    def _begin(self, context: LaunchContext, work: Coroutine[Any, Any, Any]) -> None:
        task = context.asyncio_loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _start(self) -> None:
        if await self._change_state(CONFIGURE):
            await self._change_state(ACTIVATE)

    async def _change_state(self, transition_id: int) -> bool:
        from lifecycle_msgs.srv import ChangeState as ChangeStateService

        loop = asyncio.get_running_loop()
        while not self._client.service_is_ready():
            await asyncio.sleep(0.05)
        deadline = loop.time() + NOTIFICATION_WAIT
        while self._node.count_publishers(self._topic) == 0 and loop.time() < deadline:
            await asyncio.sleep(0.05)
        request = ChangeStateService.Request()
        request.transition.id = transition_id
        answered = asyncio.Event()
        future = self._client.call_async(request)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(answered.set))
        await answered.wait()
        success = future.result() is not None and future.result().success
        if not success:
            get_logger("launch_ros.actions.lifecycle_node").error(
                f"Failed to make transition '{_transition_name(transition_id)}' for "
                f"LifecycleNode '{self.node_name}'"
            )
        return success


def _transition_name(transition_id: int) -> str:
    from lifecycle_msgs.msg import Transition

    names = {
        getattr(Transition, name): name for name in dir(Transition) if name.startswith("TRANSITION")
    }
    return names.get(transition_id, str(transition_id))
