"""Questions in words: query, query_text, set_vocabulary."""

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from std_msgs.msg import String

from govnesf_model.query import Query
from govnesf_ros import topics
from govnesf_ros.qos import subscription
from govnesf_ros.service_group import Access, ServiceGroup, refuse_broken_text
from govnesf_ros.srv import QueryText, SetVocabulary

QUERIES_HELD = 1000  # small, and many clients may ask at once


class QueryServices(ServiceGroup):
    """Queries run one after another, beside everything else.

    One uses all cores. Side by side they would only take all threads of the executor, and images
    would wait for their transform until it is too late.
    """

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        queries = MutuallyExclusiveCallbackGroup()
        control = MutuallyExclusiveCallbackGroup()
        self.offer(QueryText, topics.QUERY, self._query, queries, QUERIES_HELD)
        self.offer(SetVocabulary, topics.SET_VOCABULARY, self._set_vocabulary, control)
        self._subscription = subscription(
            access.node, String, topics.QUERY_TEXT, self._query_text, 10, queries
        )

    def destroy(self) -> None:
        """Take services and subscription down."""
        self.access.node.destroy_subscription(self._subscription)
        super().destroy()

    def _query(self, request: QueryText.Request, response: QueryText.Response) -> None:
        access = self.access
        if not request.texts:
            response.message = self._end_query()
            return
        found = access.answers.ask(self._query_of(request))
        response.message = found.answer.message
        response.texts = list(found.answer.texts)
        response.detections = access.publishers.detections(found)
        if request.return_cloud:
            response.cloud = access.publishers.cloud(found)
        if request.return_mask:
            response.mask = access.publishers.mask(found)
        access.refresh(found)

    def _query_of(self, request: QueryText.Request) -> Query:
        refuse_broken_text(request.texts, "text")
        refuse_broken_text(request.contrast, "contrast word")
        settings = self.access.node.settings
        return Query(
            texts=tuple(request.texts),
            contrast=tuple(request.contrast) or settings.contrast,
            min_score=request.min_score or settings.min_score,
            max_instances=request.max_instances or settings.max_instances,
        )

    def _query_text(self, message: String) -> None:
        """The same as a query, for people: texts separated by commas; none ends the query."""
        texts = [text for text in map(str.strip, message.data.split(",")) if text]
        request = QueryText.Request(texts=texts)
        answered = self.answered(QueryText, topics.QUERY_TEXT, self._query, request)
        log = self.access.node.get_logger()
        if answered.success:
            log.info(answered.message)
        else:  # a line of its own: rclpy raises when the severity of a line changes
            log.warning(answered.message)

    def _end_query(self) -> str:
        answers = self.access.answers
        had = answers.active
        answers.end()
        self.access.refresh(None)
        return "the active query has ended" if had else "there was no active query"

    def _set_vocabulary(
        self, request: SetVocabulary.Request, response: SetVocabulary.Response
    ) -> None:
        answers = self.access.answers
        refuse_broken_text(request.texts, "text")
        warnings = answers.set_vocabulary(request.texts)
        response.texts = list(answers.vocabulary)
        response.message = "; ".join([f"{len(response.texts)} words", *warnings])
        self.access.refresh(None)
