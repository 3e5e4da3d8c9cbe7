"""Validation of the embedded encoder on labelled rooms.

Segmentation: every cell takes the most similar of the names present in its room; IoU over the
names, pooled over rooms, and the share of right cells. Queries: names in view must pass the default
threshold on the thing itself, names of nothing in view must pass nowhere.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from govnesf_model.vlm.embedded import EmbeddedEncoder
from govnesf_model.vlm.train_embedded_rooms import KINDS, STRIDE, Room

MIN_CELLS = 20  # a thing of fewer cells is no fair query


@dataclass
class QueryCounts:
    """Counts of queries by frame.

    Attributes:
        present, found, pointed: names in view; those that passed the threshold on the thing; those
            whose best cell lay on it.
        absent, quiet: names of nothing in view; those that passed nowhere.
        attribute, right: pairs of like things with different attributes; those told apart.
    """

    present: int = 0
    found: int = 0
    pointed: int = 0
    absent: int = 0
    quiet: int = 0
    attribute: int = 0
    right: int = 0

    def rates(self) -> dict[str, float]:
        """Return shares in 0..1; an empty count gives no entry."""
        pairs = {
            "found_when_present": (self.found, self.present),
            "pointing": (self.pointed, self.present),
            "quiet_when_absent": (self.quiet, self.absent),
            "attribute": (self.right, self.attribute),
        }
        return {name: good / total for name, (good, total) in pairs.items() if total}


def evaluate(
    encoder: EmbeddedEncoder, rooms: list[Room], frames: int, seed: int = 0, queries: bool = True
) -> dict:
    """Return metrics over about `frames` images, spread evenly over the rooms.

    Returns:
        miou, oacc (fractions; names present, pooled), room_miou (mean over rooms), per_class
        {name: {iou, cells, confused_with}}, frames, and the rates of `QueryCounts`.
    """
    rng = np.random.default_rng(seed)
    names = sorted({name for room in rooms for name in room.classes.values()})
    index = {name: i for i, name in enumerate(names)}
    texts = encoder.encode_texts(names)
    confusion = np.zeros((len(names), len(names)), np.int64)
    counts = QueryCounts()
    room_miou = []
    total = 0
    per_room = max(1, round(frames / max(len(rooms), 1)))
    for room in tqdm(rooms, desc="validate", unit="room", leave=False):
        picks = np.unique(np.linspace(0, len(room.rgb) - 1, per_room).round().astype(int))
        table = np.full(256, -1)
        for label, name in room.classes.items():
            table[label] = index[name]
        present = np.unique(table[np.unique(room.label)])
        present = present[present >= 0]
        own = np.zeros_like(confusion)
        for frame in picks.tolist():
            features = _features(encoder, room.rgb[frame])  # [hs, ws, d]
            truth = table[room.label[frame][STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]]
            guess = present[(features @ texts[present].T).argmax(-1).cpu().numpy()]
            counted = truth >= 0
            np.add.at(own, (truth[counted], guess[counted]), 1)
            total += 1
            if queries:
                _query_names(encoder, features, truth, names, counts, rng)
                _query_attributes(encoder, features, truth, names, room, frame, counts)
        confusion += own
        room_miou.append(_iou(own)[present].mean())
    return {
        **_summary(confusion, names),
        "room_miou": float(np.mean(room_miou)) if room_miou else 0.0,
        "frames": total,
        **counts.rates(),
    }


def _features(encoder: EmbeddedEncoder, rgb: np.ndarray) -> Float[Tensor, "hs ws d"]:
    image = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float() / 255.0
    return encoder.encode_images(image)[0].permute(1, 2, 0)


def _query_names(
    encoder: EmbeddedEncoder,
    features: Float[Tensor, "hs ws d"],
    truth: Int[np.ndarray, "hs ws"],
    names: list[str],
    counts: QueryCounts,
    rng: np.random.Generator,
) -> None:
    cells = np.bincount(truth[truth >= 0], minlength=len(names))
    in_view = [i for i in np.flatnonzero(cells >= MIN_CELLS)]
    if in_view:
        chosen = int(rng.choice(in_view))
        scores = query_scores(encoder, features, names[chosen])
        best = np.unravel_index(int(scores.argmax()), truth.shape)
        counts.present += 1
        counts.pointed += int(truth[best] == chosen)
        on_thing = scores.numpy()[truth == chosen]
        counts.found += int(on_thing.max() >= encoder.default_threshold)
    meaning = encoder.vocabulary.meaning
    seen = frozenset().union(
        *(meaning.get(names[i].lower(), frozenset()) for i in np.flatnonzero(cells))
    )
    absent = [
        i
        for i in np.flatnonzero(cells == 0)
        if not meaning.get(names[i].lower(), frozenset()) & seen
        and not frozenset({names[i]}) & seen
    ]
    if absent:
        scores = query_scores(encoder, features, names[int(rng.choice(absent))])
        counts.absent += 1
        counts.quiet += int(scores.max() < encoder.default_threshold)


def _query_attributes(
    encoder: EmbeddedEncoder,
    features: Float[Tensor, "hs ws d"],
    truth: Int[np.ndarray, "hs ws"],
    names: list[str],
    room: Room,
    frame: int,
    counts: QueryCounts,
) -> None:
    """Of two things of one name with different colours, the phrase must prefer the right one."""
    instance = room.instance[frame][STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    ids, cells = np.unique(instance[truth >= 0], return_counts=True)
    large = [int(i) for i, n in zip(ids, cells, strict=True) if i > 0 and n >= MIN_CELLS]
    by_name: dict[int, list[int]] = {}
    for thing in large:
        by_name.setdefault(
            int(np.bincount(truth[(instance == thing) & (truth >= 0)]).argmax()), []
        ).append(thing)
    for name, things in by_name.items():
        for kind in KINDS:
            words = {t: room.attributes.get(t, {}).get(kind) for t in things}
            pairs = [
                (a, b)
                for a in things
                for b in things
                if words[a] and words[b] and words[a] != words[b]
            ]
            for right, wrong in pairs[:4]:
                text = encoder.encode_texts([f"{words[right]} {names[name]}"])[0]
                cosine = (features @ text).cpu().numpy()
                counts.attribute += 1
                counts.right += int(
                    cosine[instance == right].mean() > cosine[instance == wrong].mean()
                )


def query_scores(
    encoder: EmbeddedEncoder, features: Float[Tensor, "hs ws d"], text: str
) -> Float[Tensor, "hs ws"]:
    """Return the probability of one text against its contrast words."""
    texts = encoder.encode_texts([text, *encoder.contrast_for([text])])
    return F.softmax(encoder.logit_scale * features @ texts.T, dim=-1)[..., 0].cpu()


def _iou(confusion: Int[np.ndarray, "n n"]) -> Float[np.ndarray, "n"]:
    hit = confusion.diagonal().astype(float)
    union = confusion.sum(0) + confusion.sum(1) - hit
    return np.divide(hit, union, out=np.zeros_like(hit), where=union > 0)


def _summary(confusion: Int[np.ndarray, "n n"], names: list[str]) -> dict:
    cells = confusion.sum(1)
    seen = cells > 0
    iou = _iou(confusion)
    per_class = {}
    for i in np.flatnonzero(seen):
        wrong = confusion[i].copy()
        wrong[i] = 0
        other = names[int(wrong.argmax())] if wrong.any() else None
        per_class[names[i]] = {
            "iou": round(float(iou[i]), 4),
            "cells": int(cells[i]),
            "confused_with": other,
        }
    return {
        "miou": float(iou[seen].mean()) if seen.any() else 0.0,
        "oacc": float(confusion.diagonal().sum() / max(cells.sum(), 1)),
        "per_class": per_class,
    }
