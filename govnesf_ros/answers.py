"""Questions to the map: one at a time by service, and one that stays active.

    answers = Answers(scene_map, vlm, vocabulary)
    found = answers.ask(Query(texts=("mug",)))        # any thread
    labelled = answers.label(scene_map.snapshot())    # for the semantic cloud

Reads snapshots only; nothing here waits for the mapping thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import cv2
import numpy as np

from govnesf_model.contrast_totals import ContrastTotals
from govnesf_model.feature_blocks import PerBlock
from govnesf_model.keyframes import Keyframe, MapSnapshot
from govnesf_model.palette import legend, overlay
from govnesf_model.query import (
    Query,
    QueryAnswer,
    TextTable,
    answer,
    encode_query,
    score_snapshot,
)
from govnesf_model.scene_map import SceneMap
from govnesf_model.segmentation import mask_of_keyframe
from govnesf_model.vlm.base import DenseEncoder, coverage_warning


@dataclass(frozen=True, eq=False)
class Answered:
    """An answer with what it was read from.

    Attributes:
        query: as asked.
        answer: of the model.
        snapshot: that was asked.
        keyframe: newest in the snapshot, None in an empty map.
        mask: uint8 [H, W] in the keyframe's source image, None in an empty map.
        milliseconds: from request to answer.
    """

    query: Query
    answer: QueryAnswer
    snapshot: MapSnapshot
    keyframe: Keyframe | None
    mask: np.ndarray | None
    milliseconds: float


@dataclass(frozen=True, eq=False)
class Labelled:
    """The map in the words of the vocabulary.

    Attributes:
        label: uint32 [N], 0 none, i + 1 = texts[i].
        confidence: float32 [N], probability of the label.
    """

    snapshot: MapSnapshot
    texts: tuple[str, ...]
    threshold: float
    label: np.ndarray
    confidence: np.ndarray


class Answers:
    """Keeps the vocabulary and the active query.

    Args:
        scene_map: its snapshots are read.
        vlm: encodes texts.
        vocabulary: default words of the semantic cloud.
        label_score: see `encode_query`; 0 for the encoder's default.

    Raises:
        QueryError: the vocabulary cannot be used.
    """

    def __init__(
        self,
        scene_map: SceneMap,
        vlm: DenseEncoder,
        vocabulary: Sequence[str],
        label_score: float = 0.0,
    ) -> None:
        self._map = scene_map
        self._vlm = vlm
        self._default = tuple(vocabulary)
        self._prepared: tuple[MapSnapshot, ContrastTotals] | None = None
        self._oldest = 0  # version before which a prepared snapshot is of a map that was reset
        self._active: Query | None = None
        self.last_milliseconds = 0.0
        self.label_score = label_score
        # With the labels of what did not change in the map: they belong to these words.
        self._vocabulary = (self._encode_vocabulary(self._default), PerBlock())

    @property
    def active(self) -> Query | None:
        """The query that is answered again with every new keyframe."""
        return self._active

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words of the semantic cloud."""
        return self._vocabulary[0].texts

    def ask(self, query: Query) -> Answered:
        """Answer a query and make it the active one.

        Raises:
            QueryError: the query cannot be used; the active query stays.
        """
        found = self._answer(query)
        self._active = query
        self.last_milliseconds = found.milliseconds
        return found

    def ask_again(self) -> Answered | None:
        """Answer the active query from the newest snapshot; None without one."""
        query = self._active
        return None if query is None else self._answer(query)

    def end(self) -> None:
        """End the active query."""
        self._active = None

    def set_vocabulary(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Change the words of the semantic cloud; none for the default.

        Returns:
            Warnings about words that the encoder was never taught.

        Raises:
            QueryError: the words cannot be used; the vocabulary stays.
        """
        table = self._encode_vocabulary(tuple(texts) or self._default)
        self._vocabulary = (table, PerBlock())
        return tuple(filter(None, map(coverage_warning, self._vlm.coverage(table.texts))))

    def encode(self, query: Query) -> TextTable:
        """Check and encode the words of a query that does not become the active one.

        Raises:
            QueryError: the query cannot be used.
        """
        return encode_query(self._vlm, query)

    def label(self, snapshot: MapSnapshot) -> Labelled:
        """Label every point of a snapshot with the vocabulary."""
        table, kept = self._vocabulary
        threshold = self.label_score or table.min_score
        index, score, _ = score_snapshot(snapshot, table, self._totals_of(snapshot), kept)
        found = (score > 0) & (score >= threshold)
        label = ((index + 1) * found).cpu().numpy().astype(np.uint32)
        return Labelled(snapshot, table.texts, threshold, label, score.cpu().numpy())

    def prepare(self, snapshot: MapSnapshot) -> None:
        """Make queries of a snapshot quick; until it is done they read the one before."""
        if self._totals_of(snapshot) is None:
            before = self._prepared and self._prepared[1]
            self._prepared = (snapshot, ContrastTotals.of(snapshot, self._vlm, before))

    def forget(self) -> None:
        """Read nothing older than the map's own snapshot: it was reset."""
        self._oldest = self._map.snapshot().version

    def _totals_of(self, snapshot: MapSnapshot) -> ContrastTotals | None:
        prepared = self._prepared
        return prepared[1] if prepared and prepared[0] is snapshot else None

    def _encode_vocabulary(self, texts: tuple[str, ...]) -> TextTable:
        return encode_query(self._vlm, Query(texts=texts))

    def _answer(self, query: Query) -> Answered:
        begin = perf_counter()
        prepared = self._prepared
        if prepared is None or prepared[0].version < self._oldest or not len(prepared[0].xyz):
            prepared = (self._map.snapshot(), None)
        snapshot, totals = prepared
        found = answer(snapshot, self._vlm, query, totals)
        keyframe = snapshot.keyframes[-1] if snapshot.keyframes else None
        mask = None if keyframe is None else keyframe_mask(keyframe, found.table)
        elapsed = 1e3 * (perf_counter() - begin)
        return Answered(query, found, snapshot, keyframe, mask, elapsed)


def keyframe_mask(keyframe: Keyframe, table: TextTable) -> np.ndarray:
    """Return a mask in a keyframe's source image, uint8 [H, W], 0 none, i + 1 = texts[i].

    From the image's own features: reading the fused map costs more time than a query may take.
    """
    return mask_of_keyframe(
        keyframe,
        table.text_features,
        table.contrast_features,
        table.logit_scale,
        table.min_score,
        size=keyframe.source_size,
    )


def overlay_picture(found: Answered) -> np.ndarray:
    """Return the keyframe's image with its mask and a legend, uint8 [H, W, 3]."""
    rgb = cv2.resize(found.keyframe.rgb, found.keyframe.source_size, interpolation=cv2.INTER_CUBIC)
    return overlay_of(rgb, found.mask, found)


def overlay_of(rgb: np.ndarray, mask: np.ndarray, found: Answered) -> np.ndarray:
    """Return an image with a mask of an answer and a legend, uint8 [H, W, 3]."""
    picture = overlay(rgb, mask)
    notes = [f"{best:.2f}" for best in found.answer.best]
    return np.vstack([picture, legend(list(found.answer.texts), picture.shape[1], notes)])
