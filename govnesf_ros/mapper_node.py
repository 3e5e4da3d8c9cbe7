"""The node `govnesf`: lifecycle wiring of the parts, nothing else.

    ros2 run govnesf_ros mapper_node --ros-args -p map_frame:=odom

Unconfigured, it only says so on ~/status. `configure` loads the models and offers the services,
`activate` subscribes to the camera, `deactivate` unsubscribes and keeps the map, `cleanup` frees
everything. With the parameter autostart it goes to active by itself.
"""

import gc
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from govnesf_ros import topics
from govnesf_ros.camera_input import CameraInput
from govnesf_ros.engine import Engine, load_engine
from govnesf_ros.ledger import FrameLedger
from govnesf_ros.parameters import (
    MapperSettings,
    ParameterProblem,
    declare,
    problem_with,
    read,
    with_live_values,
)
from govnesf_ros.status import StatusPublisher
from govnesf_ros.worker import NewestWorker

if TYPE_CHECKING:
    from govnesf_ros.answers import Answered, Answers
    from govnesf_ros.mapping import Mapper
    from govnesf_ros.publishers import Publishers
    from govnesf_ros.services import Services

EXECUTOR_THREADS = 6
STOP_TIMEOUT = 30.0  # seconds that leaving a state waits for the keyframe in work


@dataclass
class Parts:
    """What `configure` makes and `cleanup` gives up."""

    engine: Engine
    mapper: "Mapper"
    answers: "Answers"
    publishers: "Publishers"
    services: "Services | None" = None
    map_worker: NewestWorker | None = None
    send_worker: NewestWorker | None = None


class MapperNode(LifecycleNode):
    """The node; see the module."""

    def __init__(self, **options: Any) -> None:
        super().__init__(topics.NODE, **options)
        self.settings = declare(self, MapperSettings)
        self.ledger = FrameLedger(self.get_logger().warning)
        self.parts: Parts | None = None
        self.camera: CameraInput | None = None
        self.start_failed = False
        self.add_on_set_parameters_callback(self._check_parameters)
        self._status = StatusPublisher(self)
        if self.settings.autostart:
            # On the executor, so that status and parameters answer while the models load.
            self._autostart = self.create_timer(
                0.0,
                self._start,
                callback_group=MutuallyExclusiveCallbackGroup(),
                clock=Clock(clock_type=ClockType.STEADY_TIME),
            )

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the models and offer the services."""
        self.settings = read(self, MapperSettings)
        log = self.get_logger()
        try:
            engine = load_engine(self.settings, log.info)
            self.parts = self._build(engine)
        except (ValueError, OSError) as error:
            log.error(f"cannot configure: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            if not self.context.ok():
                return TransitionCallbackReturn.FAILURE  # asked to end while the models loaded
            # rclpy would go to the error state without a word.
            log.error(f"cannot configure: {traceback.format_exc()}")
            log.error(f"{type(error).__name__} is not expected here: is the installation complete?")
            return TransitionCallbackReturn.FAILURE
        # Libraries leave some 350 000 objects; searching them for garbage would stop queries for
        # a third of a second each time, and the process as long when it ends.
        gc.collect()
        gc.freeze()
        log.info(f"ready to answer; model {engine.model} on {engine.device}")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the camera."""
        try:
            self.camera = CameraInput(
                self, self.settings, self.ledger, self.parts.map_worker.submit
            )
        except Exception:
            if not self.context.ok():
                return TransitionCallbackReturn.FAILURE
            self.get_logger().error(f"cannot activate: {traceback.format_exc()}")
            return TransitionCallbackReturn.FAILURE
        self._status.publish("active")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; map and services stay."""
        self._leave_camera()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free models and map."""
        self._free()
        gc.unfreeze()
        gc.collect()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and free everything, from any state."""
        self._leave_camera()
        self._free()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Fall back to unconfigured after an exception in a transition."""
        self._leave_camera()
        self._free()
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Stop the threads, then the node."""
        self._leave_camera()
        self._free()
        super().destroy_node()

    def reset(self, timeout: float) -> None:
        """Forget the map and the counts.

        Raises:
            TimeoutError: the mapping thread did not come to an end in time.
        """
        worker = self.parts.map_worker
        worker.discard()
        worker.call(self.parts.engine.scene_map.reset, timeout)
        self.ledger.reset()

    def _start(self) -> None:
        self.destroy_timer(self._autostart)
        done = TransitionCallbackReturn.SUCCESS
        if self.trigger_configure() == done and self.trigger_activate() == done:
            return
        if not self.context.ok():
            return
        self.get_logger().fatal("autostart failed, see the error above; the node ends")
        self.start_failed = True
        self.context.try_shutdown()

    def _build(self, engine: Engine) -> Parts:
        from govnesf_ros.answers import Answers
        from govnesf_ros.mapping import Mapper
        from govnesf_ros.publishers import Publishers
        from govnesf_ros.sender import Sender
        from govnesf_ros.services import Services

        settings = self.settings
        answers = Answers(engine.scene_map, engine.vlm, settings.vocabulary, settings.label_score)
        mapper = Mapper(engine.scene_map, self.ledger, settings.depth, self._refresh)
        parts = Parts(engine, mapper, answers, Publishers(self, settings.map_frame))
        parts.map_worker = NewestWorker(
            "mapping",
            mapper.process,
            replaced=lambda frame: self.ledger.skip(frame.token, "worker_busy"),
            failed=self._worker_failed,
        )
        sender = Sender(engine.scene_map, answers, parts.publishers)
        parts.send_worker = NewestWorker("sending", sender.process, failed=self._worker_failed)
        parts.services = Services(
            self, answers, mapper, parts.publishers, self.reset, self._refresh
        )
        return parts

    def _refresh(self, found: "Answered | None" = None) -> None:
        from govnesf_ros.sender import Refresh

        parts = self.parts
        if parts is not None:
            parts.send_worker.submit(Refresh(found))

    def _worker_failed(self, item: Any, error: Exception) -> None:
        if not self.context.ok():
            return  # sending fails while the process ends
        self.ledger.complain(
            "worker", f"{type(error).__name__} while working on {type(item).__name__}: {error}"
        )

    def _leave_camera(self) -> None:
        camera, self.camera = self.camera, None
        if camera is not None:
            camera.destroy()
            if self.parts is not None:
                self.parts.map_worker.discard()

    def _free(self) -> None:
        parts, self.parts = self.parts, None
        if parts is None:
            return
        parts.services.destroy()
        parts.map_worker.stop(STOP_TIMEOUT)
        parts.send_worker.stop(STOP_TIMEOUT)
        parts.publishers.destroy()

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse what cannot be used; take over what applies live."""
        for parameter in parameters:
            if problem := problem_with(MapperSettings, parameter.name, parameter.value):
                return SetParametersResult(successful=False, reason=problem)
        self.settings = with_live_values(self.settings, parameters)
        if self.parts is not None and self.parts.answers.label_score != self.settings.label_score:
            self.parts.answers.label_score = self.settings.label_score
            self._refresh()
        return SetParametersResult(successful=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it is asked to end; return the exit code."""
    node = None
    # Queries and mapping share the interpreter: the default of 5 ms a turn adds up in an answer.
    sys.setswitchinterval(1e-3)
    try:
        rclpy.init(args=arguments)
        node = MapperNode()
        executor = MultiThreadedExecutor(num_threads=EXECUTOR_THREADS)
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except ParameterProblem as error:
        print(f"{topics.NODE}: {error}", file=sys.stderr)
        return 2
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        gc.freeze()
    return 1 if node is not None and node.start_failed else 0


if __name__ == "__main__":
    sys.exit(main())
