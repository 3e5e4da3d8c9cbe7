"""The node `govnesf`: lifecycle wiring of the parts, nothing else.

    ros2 run govnesf_ros mapper_node --ros-args -p map_frame:=odom

Unconfigured, it only says so on ~/status. `configure` loads the models and offers the services,
`activate` subscribes to the camera, `deactivate` unsubscribes and keeps the map, `cleanup` frees
everything. With the parameter autostart it goes to active by itself.
"""

import gc
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.timer import Timer

from govnesf_ros import topics
from govnesf_ros.camera_input import Cameras
from govnesf_ros.diagnostics import Diagnostics
from govnesf_ros.engine import Engine, load_engine
from govnesf_ros.frame_buffer import ReadyFrame
from govnesf_ros.ledger import FrameLedger
from govnesf_ros.parameter_values import (
    ParameterProblem,
    declare,
    problem_with,
    read,
    too_late,
    with_live_values,
)
from govnesf_ros.parameters import MapperSettings
from govnesf_ros.process_memory import give_back, keep_few_arenas
from govnesf_ros.status import StatusPublisher
from govnesf_ros.steady_executor import SteadyExecutor
from govnesf_ros.worker import NewestWorker

if TYPE_CHECKING:
    from govnesf_ros.answers import Answered, Answers
    from govnesf_ros.corrected_poses import CorrectedPoses
    from govnesf_ros.live_overlay import LiveOverlay
    from govnesf_ros.mapping import Mapper
    from govnesf_ros.publishers import Publishers
    from govnesf_ros.services import Services

EXECUTOR_THREADS = 6
STOP_TIMEOUT = 30.0  # seconds that leaving a state waits for the keyframe in work
QUIT_TIMEOUT = 2.0  # the same when the process was asked to end
SETTLE_SECONDS = 0.5  # after cleanup, until nothing is in use any more


@dataclass
class Parts:
    """What `configure` makes and `cleanup` gives up."""

    engine: Engine
    mapper: "Mapper"
    answers: "Answers"
    publishers: "Publishers"
    services: "Services | None" = None
    corrections: "CorrectedPoses | None" = None
    overlay: "LiveOverlay | None" = None
    map_worker: NewestWorker | None = None
    send_worker: NewestWorker | None = None


class MapperNode(LifecycleNode):
    """The node; see the module."""

    def __init__(self, **options: Any) -> None:
        super().__init__(topics.NODE, **options)
        self.settings = declare(self, MapperSettings)
        self.ledger = FrameLedger(self.get_logger().warning)
        self.parts: Parts | None = None
        self.camera: Cameras | None = None
        self.start_failed = False
        self.loading = False
        self.stuck = False  # a thread could not be ended in time
        self._later: Timer | None = None
        self.add_on_set_parameters_callback(self._check_parameters)
        self._status = StatusPublisher(self)
        self._diagnostics = Diagnostics(self)
        if self.settings.autostart:
            # On the executor, so that status and parameters answer while the models load.
            self._autostart = self._soon(0.0, self._start)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the models and offer the services."""
        self.settings = read(self, MapperSettings)
        log = self.get_logger()
        self.loading = True
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
        finally:
            self.loading = False
        # Libraries leave some 350 000 objects; searching them for garbage would stop queries for
        # a third of a second each time, and the process as long when it ends.
        gc.collect()
        gc.freeze()
        log.info(f"ready to answer; model {engine.model} on {engine.device}")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the camera."""
        try:
            self.camera = Cameras(self, self.settings, self.ledger, self._take)
        except ValueError as error:
            self.get_logger().error(f"cannot activate: {error}")
            return TransitionCallbackReturn.FAILURE
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
        self._give_back()
        # The executor knows the services, and so the map, until it looks around for the next time.
        self._later = self._soon(SETTLE_SECONDS, self._give_back)
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

    def exclusively(self, function: Callable[[], Any], timeout: float) -> Any:
        """Run a function on the mapping thread, between two keyframes; return what it returns.

        Raises:
            TimeoutError: the mapping thread did not come to an end in time.
        """
        worker = self.parts.map_worker
        worker.discard()
        return worker.call(function, timeout)

    def _soon(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call a function on the executor, until the timer is destroyed."""
        return self.create_timer(
            seconds,
            callback,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def _give_back(self) -> None:
        later, self._later = self._later, None
        if later is not None:
            self.destroy_timer(later)
        gc.collect()
        give_back()

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
        from govnesf_ros.corrected_poses import CorrectedPoses
        from govnesf_ros.live_overlay import LiveOverlay
        from govnesf_ros.mapping import Mapper
        from govnesf_ros.publishers import Publishers
        from govnesf_ros.sender import Sender
        from govnesf_ros.service_group import Access
        from govnesf_ros.services import Services

        settings = self.settings
        answers = Answers(engine.scene_map, engine.vlm, settings.vocabulary, settings.label_score)
        mapper = Mapper(engine.scene_map, self.ledger, settings.depth, self._refresh)
        parts = Parts(engine, mapper, answers, Publishers(self, settings.map_frame))

        def process(item: Any) -> None:
            """Map a frame, or take over a corrected path: one thread writes to the map."""
            (mapper if isinstance(item, ReadyFrame) else parts.corrections).process(item)

        def replaced(item: Any) -> None:
            if isinstance(item, ReadyFrame):
                self.ledger.skip(item.token, "worker_busy")

        parts.map_worker = NewestWorker(
            "mapping",
            process,
            replaced=replaced,
            failed=self._worker_failed,
            # Cameras take turns, and paths with them.
            key=lambda item: item.frame_id if isinstance(item, ReadyFrame) else type(item),
        )
        parts.corrections = CorrectedPoses(
            self,
            engine.scene_map,
            self.ledger,
            lookup=lambda: self.camera and self.camera.lookup,
            submit=parts.map_worker.submit,
            changed=self._refresh,
        )
        sender = Sender(engine.scene_map, answers, parts.publishers, lambda: parts.overlay.flowing)
        parts.overlay = LiveOverlay(
            self, parts.publishers, lambda: sender.answered, self._worker_failed
        )
        parts.send_worker = NewestWorker("sending", sender.process, failed=self._worker_failed)
        parts.services = Services(
            Access(
                node=self,
                scene_map=engine.scene_map,
                answers=answers,
                mapper=mapper,
                publishers=parts.publishers,
                exclusively=self.exclusively,
                forget_counts=self.ledger.reset,
                refresh=self._refresh,
                lookup=lambda: self.camera and self.camera.lookup,
            )
        )
        return parts

    def _take(self, frame: ReadyFrame) -> None:
        """Pass a complete image on: to be looked at, and to be mapped."""
        parts = self.parts
        if parts is None:  # cleaned up while this image was on its way
            self.ledger.drop(frame.token, "deactivated", "the node was cleaned up")
            return
        parts.overlay.offer(frame)
        parts.map_worker.submit(frame)

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
        parts.corrections.destroy()
        timeout = STOP_TIMEOUT if self.context.ok() else QUIT_TIMEOUT
        for worker in (parts.map_worker, parts.send_worker, parts.overlay):
            self.stuck |= not worker.stop(timeout)
        parts.publishers.destroy()

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse what cannot be used; take over what applies live."""
        for parameter in parameters:
            if problem := problem_with(MapperSettings, parameter.name, parameter.value):
                return SetParametersResult(successful=False, reason=problem)
        if self.parts is not None and (problem := too_late(self.settings, parameters)):
            return SetParametersResult(successful=False, reason=problem)
        self.settings = with_live_values(self.settings, parameters)
        if self.parts is not None and self.parts.answers.label_score != self.settings.label_score:
            self.parts.answers.label_score = self.settings.label_score
            self._refresh()
        return SetParametersResult(successful=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it is asked to end; return the exit code."""
    node = None
    keep_few_arenas()
    # Queries and mapping share the interpreter: the default of 5 ms a turn adds up in an answer.
    sys.setswitchinterval(1e-3)
    try:
        rclpy.init(args=arguments)
        node = MapperNode()
        executor = SteadyExecutor(num_threads=EXECUTOR_THREADS)
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except ParameterProblem as error:
        print(f"{topics.NODE}: {error}", file=sys.stderr)
        return 2
    except Exception:
        if rclpy.ok():
            raise
        # Asked to end while the node was being made: nothing of it is there.
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        gc.freeze()
    code = 1 if node is not None and node.start_failed else 0
    if node is not None and (node.loading or node.stuck):
        # Importing torch or a keyframe in work cannot be ended, and Python would wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
