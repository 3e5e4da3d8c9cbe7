"""What can be asked of the node: query, set_vocabulary, reset, pause.

Everything advertised here works. A request that cannot be met gets success=false and a sentence.
"""

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from govnesf_model.query import Query, QueryError
from govnesf_ros import topics
from govnesf_ros.answers import Answered, Answers
from govnesf_ros.mapping import Mapper
from govnesf_ros.publishers import Publishers
from govnesf_ros.srv import QueryText, SetVocabulary

RESET_TIMEOUT = 30.0  # seconds that a reset waits for the keyframe in work


class Services:
    """The node's services and `~/query_text`.

    Args:
        node: that they belong to; its settings give the defaults of a query.
        answers, mapper, publishers: what the services act on.
        reset: forgets the map; raises TimeoutError when the mapper does not come to an end.
        refresh: asks for the topics to be sent again, without waiting.
    """

    def __init__(
        self,
        node: Any,
        answers: Answers,
        mapper: Mapper,
        publishers: Publishers,
        reset: Callable[[float], object],
        refresh: Callable[[Answered | None], object],
    ) -> None:
        self._node = node
        self._answers = answers
        self._mapper = mapper
        self._publishers = publishers
        self._reset_map = reset
        self._refresh = refresh
        # Queries run beside each other and beside everything else; the rest one after the other.
        queries = ReentrantCallbackGroup()
        control = MutuallyExclusiveCallbackGroup()
        self._services = [
            node.create_service(kind, name, callback, callback_group=group)
            for kind, name, callback, group in (
                (QueryText, topics.QUERY, self._query, queries),
                (SetVocabulary, topics.SET_VOCABULARY, self._set_vocabulary, control),
                (Trigger, topics.RESET, self._reset, control),
                (SetBool, topics.PAUSE, self._pause, control),
            )
        ]
        self._subscription = node.create_subscription(
            String, topics.QUERY_TEXT, self._query_text, 10, callback_group=queries
        )

    def destroy(self) -> None:
        """Take the services down."""
        self._node.destroy_subscription(self._subscription)
        for service in self._services:
            self._node.destroy_service(service)
        self._services.clear()

    def _query(
        self, request: QueryText.Request, response: QueryText.Response
    ) -> QueryText.Response:
        try:
            if not request.texts:
                response.message = self._end_query()
                response.success = True
                return response
            found = self._answers.ask(self._query_of(request))
        except QueryError as error:
            response.message = str(error)
            return response
        except Exception as error:
            response.message = f"the query failed: {type(error).__name__}: {error}"
            self._node.get_logger().error(response.message)
            return response
        response.success = True
        response.message = found.answer.message
        response.texts = list(found.answer.texts)
        response.detections = self._publishers.detections(found)
        if request.return_cloud:
            response.cloud = self._publishers.cloud(found)
        if request.return_mask:
            response.mask = self._publishers.mask(found)
        self._refresh(found)
        return response

    def _query_of(self, request: QueryText.Request) -> Query:
        _refuse_broken_text(request.texts, "text")
        _refuse_broken_text(request.contrast, "contrast word")
        settings = self._node.settings
        return Query(
            texts=tuple(request.texts),
            contrast=tuple(request.contrast) or settings.contrast,
            min_score=request.min_score or settings.min_score,
            max_instances=request.max_instances or settings.max_instances,
        )

    def _query_text(self, message: String) -> None:
        """The same as a query, for people: texts separated by commas; none ends the query."""
        texts = [text for text in map(str.strip, message.data.split(",")) if text]
        answered = self._query(QueryText.Request(texts=texts), QueryText.Response())
        log = self._node.get_logger()
        (log.info if answered.success else log.warning)(answered.message)

    def _end_query(self) -> str:
        had = self._answers.active
        self._answers.end()
        self._refresh(None)
        return "the active query has ended" if had else "there was no active query"

    def _set_vocabulary(
        self, request: SetVocabulary.Request, response: SetVocabulary.Response
    ) -> SetVocabulary.Response:
        try:
            _refuse_broken_text(request.texts, "text")
            warnings = self._answers.set_vocabulary(request.texts)
        except QueryError as error:
            response.message = str(error)
            return response
        response.success = True
        response.texts = list(self._answers.vocabulary)
        response.message = "; ".join([f"{len(response.texts)} words", *warnings])
        self._refresh(None)
        return response

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            self._reset_map(RESET_TIMEOUT)
        except TimeoutError as error:
            response.message = f"the map was not reset: {error}"
            return response
        self._answers.forget()
        response.success = True
        response.message = "the map is empty; the vocabulary and the active query stay"
        self._refresh(None)
        return response

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._mapper.pause(request.data)
        response.success = True
        response.message = (
            "mapping is paused; queries are answered from the map as it is"
            if request.data
            else "mapping goes on"
        )
        return response


def _refuse_broken_text(texts: Sequence[str], what: str) -> None:
    """Raise where rclpy has put a replacement character for bytes that are no UTF-8."""
    for number, text in enumerate(texts, start=1):
        if "\N{REPLACEMENT CHARACTER}" in text:
            raise QueryError(f"{what} {number} is not valid UTF-8: {text[:60]!a}")
