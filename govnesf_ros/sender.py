"""Decides which topics have to be sent again, on a thread of its own.

sender = Sender(scene_map, answers, publishers)
worker = NewestWorker("sending", sender.process)
worker.submit(Refresh())            # something changed: map, query or vocabulary
"""

from collections.abc import Callable
from dataclasses import dataclass

from govnesf_model.query import Query
from govnesf_model.scene_map import SceneMap
from govnesf_ros.answers import Answered, Answers
from govnesf_ros.publishers import Publishers


@dataclass(frozen=True, eq=False)
class Refresh:
    """A wish to bring the topics up to date.

    Attributes:
        found: a fresh answer, which spares asking again.
    """

    found: Answered | None = None


class Sender:
    """Sends the active query's topics and the labelled map when their content has changed."""

    def __init__(
        self,
        scene_map: SceneMap,
        answers: Answers,
        publishers: Publishers,
        overlay_flows: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare to send.

        Args:
            scene_map, answers, publishers: parts of the node.
            overlay_flows: tells whether live images are drawn over and sent at the moment.
        """
        self._map = scene_map
        self._overlay_flows = overlay_flows
        self._answers = answers
        self._publishers = publishers
        self._answered: Answered | None = None
        self._query_sent: tuple[int, Query | None] = (-1, None)
        self._map_sent: tuple | None = None
        self._keyframes_sent = -1  # version of the map

    @property
    def answered(self) -> Answered | None:
        """The newest answer to the active query; None without one."""
        found, active = self._answered, self._answers.active
        return found if found is not None and found.query is active else None

    def process(self, job: Refresh) -> None:
        """Send what differs from what was sent last; the query first, somebody waits for it."""
        snapshot = self._map.snapshot()
        self._answers.prepare(snapshot)
        active = self._answers.active
        if (snapshot.version, active) != self._query_sent:
            self._send_query(active, job.found, snapshot.version)
            self._query_sent = (snapshot.version, active)
        map_state = (snapshot.version, self._answers.vocabulary, self._answers.label_score)
        if map_state != self._map_sent:
            self._publishers.semantic(self._answers.label(snapshot))
            self._map_sent = map_state
        if snapshot.version != self._keyframes_sent:
            self._publishers.keyframes(snapshot)
            self._keyframes_sent = snapshot.version

    def _send_query(self, active: Query | None, found: Answered | None, version: int) -> None:
        if active is None:
            self._answered = None
            if self._query_sent[1] is not None:
                self._publishers.no_answer()
            return
        if found is None or found.query is not active or found.snapshot.version != version:
            found = self._answers.ask_again()
        if found is not None:
            self._answered = found
            # A new question must not leave the picture of the one before.
            fresh = active is not self._query_sent[1]
            self._publishers.answer(found, overlay=fresh or not self._overlay_flows())
