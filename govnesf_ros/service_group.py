"""What all services share: the parts they act on, and answers instead of exceptions.

class MapServices(ServiceGroup):
    def __init__(self, access):
        super().__init__(access)
        self.offer(Trigger, topics.RESET, self._reset, MutuallyExclusiveCallbackGroup())
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.qos import QoSProfile

from govnesf_model.map_files import MapFileError
from govnesf_model.map_lookup import EmptyMap
from govnesf_model.query import QueryError
from govnesf_model.scene_map import SceneMap
from govnesf_ros.answers import Answered, Answers
from govnesf_ros.conversions import BadInput
from govnesf_ros.mapping import Mapper
from govnesf_ros.publishers import Publishers
from govnesf_ros.transforms import TfLookup

REQUESTS_HELD = 10  # requests of a service that may wait; DDS drops the oldest beyond it


class Refusal(ValueError):
    """A request that cannot be met; the message is the answer."""


@dataclass(frozen=True)
class Access:
    """What services act on.

    Attributes:
        node: that they belong to; `settings` are read from it with every request.
        scene_map, answers, mapper, publishers: parts of the node.
        exclusively: runs a function between two keyframes; raises TimeoutError when the mapping
            thread does not come to an end in time.
        forget_counts: sets the counts of frames to zero.
        refresh: asks for the topics to be sent again, without waiting.
        lookup: returns the transforms, None while the node does not listen to them.
    """

    node: Any
    scene_map: SceneMap
    answers: Answers
    mapper: Mapper
    publishers: Publishers
    exclusively: Callable[[Callable[[], Any], float], Any]
    forget_counts: Callable[[], object]
    refresh: Callable[[Answered | None], object]
    lookup: Callable[[], TfLookup | None]


class ServiceGroup:
    """Services with success and message in their answers."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._services: list[Any] = []

    def offer(
        self,
        kind: type,
        name: str,
        answer: Callable[[Any, Any], object],
        group: Any,
        held: int = REQUESTS_HELD,
    ) -> None:
        """Offer a service.

        Args:
            kind: with success and message in its response.
            name: of the service.
            answer: called with request and a response that says success, which it fills; what it
                raises becomes the message of a response that says no.
            group: callback group.
            held: requests that may wait.
        """
        self._services.append(
            self.access.node.create_service(
                kind,
                name,
                lambda request, _: self.answered(kind, name, answer, request),
                callback_group=group,
                qos_profile=QoSProfile(depth=held),
            )
        )

    def answered(
        self, kind: type, name: str, answer: Callable[[Any, Any], object], request: Any
    ) -> Any:
        """Return the response to a request, whatever happens."""
        response = kind.Response(success=True)
        try:
            answer(request, response)
        except (Refusal, QueryError, BadInput, MapFileError, EmptyMap, TimeoutError) as error:
            return kind.Response(success=False, message=str(error))
        except Exception as error:
            message = f"{name.rpartition('/')[2]} failed: {type(error).__name__}: {error}"
            self.access.node.get_logger().error(message)
            return kind.Response(success=False, message=message)
        return response

    def destroy(self) -> None:
        """Take the services down."""
        for service in self._services:
            self.access.node.destroy_service(service)
        self._services.clear()


def refuse_broken_text(texts: Sequence[str], what: str) -> None:
    """Raise where rclpy has put a replacement character for bytes that are no UTF-8."""
    for number, text in enumerate(texts, start=1):
        if "\N{REPLACEMENT CHARACTER}" in text:
            raise Refusal(f"{what} {number} is not valid UTF-8: {text[:60]!a}")
