"""How good an encoder is on labelled rooms: `govnesf vlm measure`, and training's validation.

Segmentation: every cell takes the most similar of the names present in its room; IoU over the
names, pooled over rooms, and the share of right cells. Queries: names in view must pass the default
threshold on the thing itself, names of nothing in view must pass nowhere.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from govnesf_model.vlm.base import DenseEncoder
from govnesf_model.vlm.train_embedded_rooms import KINDS, STRIDE, Room

SURFACES = {"wall", "floor", "ceiling", "skirting board"}  # no things to tell apart by colour
MIN_CELLS = 20  # a thing of fewer cells is no fair query
QUIET = 0.93  # share of frames in which a name of nothing in view must pass the threshold nowhere


@dataclass
class Queries:
    """What queries scored, one frame at a time.

    Attributes:
        present: highest score on the thing, for names in view.
        pointed: whether the highest score of all lay on the thing, for the same names.
        absent: highest score anywhere, for names of nothing in view.
        told_apart: for pairs of like things with different attributes, whether the query of the
            phrase scored the right one higher, on average over its cells.
    """

    present: list[float] = field(default_factory=list)
    pointed: list[bool] = field(default_factory=list)
    absent: list[float] = field(default_factory=list)
    told_apart: list[bool] = field(default_factory=list)

    def rates(self, threshold: float) -> dict[str, float]:
        """Return shares in 0..1; what was never asked gives no entry."""
        shares = {
            "found_when_present": np.array(self.present) >= threshold,
            "pointing": np.array(self.pointed),
            "quiet_when_absent": np.array(self.absent) < threshold,
            "attribute": np.array(self.told_apart),
        }
        return {name: float(right.mean()) for name, right in shares.items() if len(right)}

    def best_threshold(self) -> float:
        """Return the lowest threshold at which absent names stay quiet often enough."""
        for threshold in np.arange(0.1, 0.71, 0.02):
            if self.rates(threshold).get("quiet_when_absent", 1.0) >= QUIET:
                return round(float(threshold), 2)
        return 0.7


def evaluate(
    encoder: DenseEncoder, rooms: list[Room], frames: int, seed: int = 0, queries: bool = True
) -> dict:
    """Return metrics over about `frames` images, spread evenly over the rooms.

    Returns:
        miou, oacc (fractions; names present, pooled), room_miou (mean over rooms), per_class
        {name: {iou, cells, confused_with}}, frames, and with queries the rates of `Queries` and the
        best_threshold for them.
    """
    rng = np.random.default_rng(seed)
    names = sorted({name for room in rooms for name in room.classes.values()})
    index = {name: i for i, name in enumerate(names)}
    texts = encoder.encode_texts(names)
    confusion = np.zeros((len(names), len(names)), np.int64)
    asked = Queries()
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
                _query_names(encoder, features, truth, names, asked, rng)
                _query_attributes(encoder, features, truth, names, room, frame, asked)
        confusion += own
        room_miou.append(_iou(own)[present].mean())
    return {
        **_summary(confusion, names),
        "room_miou": float(np.mean(room_miou)) if room_miou else 0.0,
        "frames": total,
        **(asked.rates(encoder.default_threshold) if queries else {}),
        **({"best_threshold": asked.best_threshold()} if queries else {}),
    }


def _features(encoder: DenseEncoder, rgb: np.ndarray) -> Float[Tensor, "hs ws d"]:
    image = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float() / 255.0
    return encoder.encode_images(image)[0].permute(1, 2, 0)


def _query_names(
    encoder: DenseEncoder,
    features: Float[Tensor, "hs ws d"],
    truth: Int[np.ndarray, "hs ws"],
    names: list[str],
    asked: Queries,
    rng: np.random.Generator,
) -> None:
    cells = np.bincount(truth[truth >= 0], minlength=len(names))
    in_view = [i for i in np.flatnonzero(cells >= MIN_CELLS)]
    if in_view:
        chosen = int(rng.choice(in_view))
        scores = query_scores(encoder, features, names[chosen])
        best = np.unravel_index(int(scores.argmax()), truth.shape)
        asked.present.append(float(scores.numpy()[truth == chosen].max()))
        asked.pointed.append(bool(truth[best] == chosen))
    # Where the encoder says what its words mean, "furniture" is not absent beside a chair.
    vocabulary = getattr(encoder, "vocabulary", None)
    meaning = vocabulary.meaning if vocabulary else {}
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
        asked.absent.append(float(scores.max()))


def _query_attributes(
    encoder: DenseEncoder,
    features: Float[Tensor, "hs ws d"],
    truth: Int[np.ndarray, "hs ws"],
    names: list[str],
    room: Room,
    frame: int,
    asked: Queries,
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
        for kind in KINDS if names[name] not in SURFACES else ():
            words = {t: room.attributes.get(t, {}).get(kind) for t in things}
            pairs = [
                (a, b)
                for a in things
                for b in things
                if words[a] and words[b] and words[a] != words[b]
            ]
            for right, wrong in pairs[:4]:
                scores = query_scores(encoder, features, f"{words[right]} {names[name]}").numpy()
                told = scores[instance == right].mean() > scores[instance == wrong].mean()
                asked.told_apart.append(bool(told))


def query_scores(
    encoder: DenseEncoder, features: Float[Tensor, "hs ws d"], text: str
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
