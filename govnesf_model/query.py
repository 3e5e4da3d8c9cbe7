"""Asking the map: texts in; boxes, labelled points and sentences out.

    result = answer(scene_map.snapshot(), vlm, Query(texts=("mug", "red cabinet")))
    for text, instances in zip(result.texts, result.instances):
        print(text, [instance.center for instance in instances])

Nothing here touches the map: a snapshot is all that a query reads.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from jaxtyping import Float, Float32, Int, UInt32
from torch import Tensor

from govnesf_model.contrast_totals import ContrastTotals
from govnesf_model.feature_blocks import PerBlock
from govnesf_model.instances import Instance, instances_of_labels
from govnesf_model.keyframes import MapSnapshot
from govnesf_model.segmentation import best_texts
from govnesf_model.vlm.base import DenseEncoder, coverage_warning

MAX_TEXTS = 254  # a label is one byte in a mask: 0 is none, 255 is kept for "ignore"
MAX_TEXT_LENGTH = 256  # characters
DEFAULT_INSTANCES = 10
EMPTY_MAP = "the map is empty: no keyframe has been accepted yet"


class QueryError(ValueError):
    """A query that cannot be answered; the message says which text is wrong and why."""


@dataclass(frozen=True)
class Query:
    """What to look for.

    Attributes:
        texts: one label each; they compete with one another.
        contrast: words for everything else, beside the encoder's own list.
        min_score: probability from which on a point belongs to a text; 0: the encoder's own.
        max_instances: boxes per text; 0: 10.
        only_contrast: use the query's contrast words alone, without the encoder's list.
    """

    texts: tuple[str, ...]
    contrast: tuple[str, ...] = ()
    min_score: float = 0.0
    max_instances: int = 0
    only_contrast: bool = False


@dataclass(frozen=True)
class TextTable:
    """The encoded words of a query.

    Attributes:
        texts: cleaned texts.
        text_features: [t, d].
        contrast: the words for everything else.
        contrast_features: [c, d].
        logit_scale: temperature that belongs to the encoder.
        min_score: threshold in force.
    """

    texts: tuple[str, ...]
    text_features: Float[Tensor, "t d"]
    contrast: tuple[str, ...]
    contrast_features: Float[Tensor, "c d"]
    logit_scale: float
    min_score: float


@dataclass(frozen=True)
class QueryAnswer:
    """What the map holds of each text.

    Attributes:
        texts: as understood: stripped, repeats dropped; label i + 1 belongs to texts[i].
        found: whether there is at least one instance, per text.
        instances: boxes per text, best first.
        best: highest probability anywhere in the map, per text.
        label: uint32 [N], 0 none, i + 1 = texts[i].
        relevancy: float32 [N], probability of the best text at each point.
        message: one sentence per text and warnings, for people.
        warnings: about texts that the encoder was never taught.
        table: the encoded words, for masks of the same query.
        version: of the snapshot that was asked.
        seconds: time taken.
    """

    texts: tuple[str, ...]
    found: tuple[bool, ...]
    instances: tuple[tuple[Instance, ...], ...]
    best: tuple[float, ...]
    label: UInt32[np.ndarray, "n"]
    relevancy: Float32[np.ndarray, "n"]
    message: str
    warnings: tuple[str, ...]
    table: TextTable
    version: int
    seconds: float


def answer(
    snapshot: MapSnapshot,
    vlm: DenseEncoder,
    query: Query,
    totals: ContrastTotals | None = None,
) -> QueryAnswer:
    """Answer a query from a snapshot of the map.

    Args:
        snapshot: the map.
        vlm: that made its features.
        query: what to look for.
        totals: of this snapshot, to be quicker; those of another are not used.

    Raises:
        QueryError: the texts or numbers of the query cannot be used.
    """
    start = perf_counter()
    table = encode_query(vlm, query)
    if totals is not None and totals.version != snapshot.version:
        totals = None
    warnings = tuple(filter(None, map(coverage_warning, vlm.coverage(table.texts))))
    index, score, peak = score_snapshot(snapshot, table, totals)
    relevancy = score.cpu().numpy()
    label = np.where(relevancy >= table.min_score, index.cpu().numpy() + 1, 0).astype(np.uint32)
    label[relevancy <= 0] = 0
    instances = instances_of_labels(
        *(snapshot.xyz, relevancy, label, len(table.texts)),
        max_instances=query.max_instances or DEFAULT_INSTANCES,
        voxel_size=snapshot.voxel_size,
        lattice=None if totals is None else totals.lattice,
    )
    best = tuple(peak.tolist())
    lines = [
        _sentence(text, found, value, table.min_score)
        for text, found, value in zip(table.texts, instances, best, strict=True)
    ]
    if not len(snapshot.xyz):
        lines = [EMPTY_MAP]
    return QueryAnswer(
        texts=table.texts,
        found=tuple(bool(found) for found in instances),
        instances=tuple(map(tuple, instances)),
        best=best,
        label=label,
        relevancy=relevancy,
        message="; ".join([*lines, *warnings]),
        warnings=warnings,
        table=table,
        version=snapshot.version,
        seconds=perf_counter() - start,
    )


def encode_query(vlm: DenseEncoder, query: Query) -> TextTable:
    """Check a query and encode its words.

    Raises:
        QueryError: see `clean_texts`; or a threshold outside 0..1, or a negative count.
    """
    texts = clean_texts(query.texts)
    extra = clean_texts(query.contrast, "contrast word") if query.contrast else ()
    if not 0.0 <= query.min_score <= 1.0:  # also catches NaN
        raise QueryError(f"min_score is {query.min_score}: give a probability from 0 to 1")
    if query.max_instances < 0:
        raise QueryError(f"max_instances is {query.max_instances}: give 0 for the default, or more")
    contrast = extra if query.only_contrast else tuple(vlm.contrast_for(texts, extra))
    features = vlm.encode_texts([*texts, *contrast])
    return TextTable(
        texts=texts,
        text_features=features[: len(texts)],
        contrast=contrast,
        contrast_features=features[len(texts) :],
        logit_scale=vlm.logit_scale,
        min_score=query.min_score or vlm.default_threshold,
    )


def score_snapshot(
    snapshot: MapSnapshot,
    table: TextTable,
    totals: ContrastTotals | None = None,
    kept: PerBlock | None = None,
) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"], Float[Tensor, "t"]]:
    """Return the best text of each point, its probability, and the peak of each text.

    With the totals of this snapshot it is quicker; those of another are not used. With `kept`,
    which belongs to one table of words, only what changed since the last snapshot is scored.
    """
    if totals is not None and totals.version == snapshot.version:
        return totals.best_texts(
            *(snapshot.features, table.text_features, table.contrast, table.contrast_features),
            kept=kept,
        )
    return best_texts(
        snapshot.features, table.text_features, table.contrast_features, table.logit_scale
    )


def clean_texts(texts: Sequence[str], what: str = "text") -> tuple[str, ...]:
    """Return texts stripped, with single spaces and without repeats, in the given order.

    Raises:
        QueryError: no text, too many, an empty or over-long one, control characters or bytes that
            are no Unicode.
    """
    if isinstance(texts, str):
        texts = (texts,)
    if not texts:
        raise QueryError(f"no {what} was given: name at least one thing to look for")
    if len(texts) > MAX_TEXTS:
        raise QueryError(f"{len(texts)} {what}s were given, at most {MAX_TEXTS} are possible")
    return tuple(dict.fromkeys(_clean(text, number, what) for number, text in enumerate(texts)))


def _clean(text: str, number: int, what: str) -> str:
    where = f"{what} {number + 1}"
    if len(text) > MAX_TEXT_LENGTH:
        raise QueryError(
            f"{where} has {len(text)} characters, at most {MAX_TEXT_LENGTH} are possible: "
            f"{_shown(text[:40])}..."
        )
    if any(unicodedata.category(letter) == "Cs" for letter in text):
        raise QueryError(f"{where} is not valid Unicode: {_shown(text)}")
    if any(unicodedata.category(c) == "Cc" and not c.isspace() for c in text):
        raise QueryError(f"{where} holds control characters: {_shown(text)}")
    text = " ".join(text.split())
    if not text:
        raise QueryError(f"{where} is empty: name the thing to look for")
    return text


def _shown(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")


def _sentence(text: str, found: Sequence[Instance], best: float, min_score: float) -> str:
    if found:
        x, y, z = found[0].center
        place = f"({x:.2f}, {y:.2f}, {z:.2f})"
        return f"{text}: {len(found)} found, best at {place}, score {found[0].score:.2f}"
    if best >= min_score:
        return f"{text}: only scattered points above {min_score:.2f} (best {best:.2f})"
    return f"{text}: nothing above {min_score:.2f} (best {best:.2f})"
