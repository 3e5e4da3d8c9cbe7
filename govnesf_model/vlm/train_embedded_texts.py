"""Texts and targets of the embedded encoder's training.

Every step draws one text for every taught name (the name, a synonym, a hypernym) and, for some of
the things in the crops, phrases with their colour or material ("red cabinet") next to wrong ones
("blue cabinet"). For each cell one true text is the positive; the other true ones are left out, so
that "chair", "seat" and "wooden chair" never stand against each other; all others are negatives.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from govnesf_model.vlm.contrast import Vocabulary
from govnesf_model.vlm.text import MiniLM
from govnesf_model.vlm.train_embedded_rooms import KINDS, Room

NOTHING = ("other", "background", "something else")  # true where no text of a query is
NOTHING_SHARE = 0.1  # of the cells learn that "other" wins when the truth is not among the texts
NOTHING_BELOW = 0.5  # cosine; what is nearer to the truth is not among the texts then
PHRASE_SHARE = 0.45  # of the cells with a known attribute have it in their positive
PHRASES = 24  # things a step that get phrases
RIVALS = 5  # wrong colours or materials a phrase
PHRASE_NOUNS = 3  # texts of a name that phrases are made of


@dataclass(frozen=True)
class Columns:
    """Texts of one step.

    Attributes:
        features: [t, d].
        plain: for each text its row in the bank, -1 for phrases and `NOTHING`.
        base: for a phrase the row of its noun, else -1.
        kind: for a phrase 0 color, 1 material, else -1.
        word: for a phrase the index of its word in the bank's `words[kind]`, else -1.
        of_name: for each name the column of its text.
        nothing: columns of `NOTHING`.
    """

    features: Float[Tensor, "t d"]
    plain: np.ndarray
    base: np.ndarray
    kind: np.ndarray
    word: np.ndarray
    of_name: np.ndarray
    nothing: np.ndarray


class TextBank:
    """What the rooms teach: names, their texts, and words for colours and materials."""

    def __init__(self, rooms: list[Room], text: MiniLM) -> None:
        self.text = text
        known: dict[str, dict[str, None]] = {}
        words: dict[str, set[str]] = {kind: set() for kind in KINDS}
        for room in rooms:
            for name in room.classes.values():
                others = known.setdefault(name, {})
                others.update(dict.fromkeys(t for t in room.texts.get(name, ()) if t != name))
            for thing in room.attributes.values():
                for kind, word in thing.items():
                    words[kind].add(word)
        self.names = sorted(known)
        self.synonyms = {name: tuple(sorted(known[name])) for name in self.names}
        self.words = {kind: tuple(sorted(words[kind])) for kind in KINDS}
        everything = {t for name in self.names for t in (name, *self.synonyms[name])}
        self.texts = sorted(everything)
        self.row = {text: row for row, text in enumerate(self.texts)}
        self.features = text.encode([*self.texts, *NOTHING])
        self._phrase_features: dict[str, Tensor] = {}  # they come back, and encoding takes time
        self.truth = np.zeros((len(self.texts), len(self.names)), bool)  # [text, name]
        self.own = np.full(len(self.texts), -1)  # the name that a text is, or -1
        self.rows_of = []
        for index, name in enumerate(self.names):
            rows = [self.row[t] for t in (name, *self.synonyms[name])]
            self.truth[rows, index] = True
            self.own[rows[0]] = index
            self.rows_of.append(rows)

    def vocabulary(self, covered_from: float = 0.9) -> Vocabulary:
        """Return what goes into the checkpoint."""
        return Vocabulary(
            names=self.synonyms,
            attributes=self.words,
            texts=tuple(self.texts),
            features=self.features[: len(self.texts)],
            covered_from=covered_from,
        )

    def room_tables(self, room: Room) -> tuple[np.ndarray, np.ndarray]:
        """Return label -> name index (-1 none), and [kind, instance] -> word index (-1 unknown)."""
        index = {name: i for i, name in enumerate(self.names)}
        labels = np.full(256, -1)
        for label, name in room.classes.items():
            labels[label] = index[name]
        count = max([int(room.instance.max()), *room.attributes, 0]) + 1
        words = np.full((len(KINDS), count), -1)
        for instance, thing in room.attributes.items():
            for k, kind in enumerate(KINDS):
                if kind in thing:
                    words[k, instance] = self.words[kind].index(thing[kind])
        return labels, words

    def draw(
        self,
        name: Int[np.ndarray, "n"],
        word: Int[np.ndarray, "k n"],
        rng: np.random.Generator,
    ) -> Columns:
        """Draw the texts of a step for cells of these names and attribute words."""
        chosen = np.array(
            [rows[0 if rng.random() < 0.5 else rng.integers(len(rows))] for rows in self.rows_of]
        )
        plain, of_name = np.unique(chosen, return_inverse=True)
        phrases = self._phrases(name, word, rng)
        features = torch.cat(
            [
                self.features[plain],
                self.features[len(self.texts) :],
                self._encode_phrases([text for text, *_ in phrases]),
            ]
        )
        none = np.full(len(NOTHING), -1)
        base, kind, index = (
            np.concatenate([np.full(len(plain), -1), none, [p[i] for p in phrases]]).astype(int)
            for i in (1, 2, 3)
        )
        return Columns(
            features=features,
            plain=np.concatenate([plain, none, np.full(len(phrases), -1)]).astype(int),
            base=base,
            kind=kind,
            word=index,
            of_name=of_name.ravel(),
            nothing=len(plain) + np.arange(len(NOTHING)),
        )

    def _encode_phrases(self, texts: list[str]) -> Float[Tensor, "p d"]:
        known = self._phrase_features
        new = [text for text in texts if text not in known]
        known.update(zip(new, self.text.encode(new), strict=True))
        return torch.stack([known[text] for text in texts]) if texts else self.features[:0]

    def _phrases(
        self, name: np.ndarray, word: np.ndarray, rng: np.random.Generator
    ) -> list[tuple[str, int, int, int]]:
        """Return (text, row of the noun, kind, word) of true phrases and their rivals."""
        things = np.unique(np.concatenate([name[None], word]), axis=1).T
        things = things[(things[:, 0] >= 0) & (things[:, 1:] >= 0).any(1)]
        found: dict[str, tuple[str, int, int, int]] = {}
        for thing in things[rng.permutation(len(things))[:PHRASES]]:
            known = np.flatnonzero(thing[1:] >= 0)
            kind = int(known[rng.integers(len(known))])
            # Few nouns: each phrase is a text to encode.
            rows = self.rows_of[thing[0]][:PHRASE_NOUNS]
            row = rows[0 if rng.random() < 0.6 else rng.integers(len(rows))]
            words = self.words[KINDS[kind]]
            rivals = rng.permutation(len(words))[:RIVALS]
            for index in (int(thing[1 + kind]), *(int(rival) for rival in rivals)):
                text = f"{words[index]} {self.texts[row]}"
                found[text] = (text, row, kind, index)
        return list(found.values())

    def targets(
        self,
        columns: Columns,
        name: Int[np.ndarray, "n"],
        word: Int[np.ndarray, "k n"],
        rng: np.random.Generator,
    ) -> tuple[Int[Tensor, "n"], Bool[Tensor, "n t"], Bool[Tensor, "n t"]]:
        """Return for each cell its positive, the columns left out and the columns that are wrong.

        Columns that are neither get a share of the target by their likeness to the positive.
        """
        true, unknown = self._judge(columns, name, word)
        phrase = columns.kind >= 0
        positive = columns.of_name[name].copy()
        # A cell whose colour or material is known has it in its positive now and then.
        options = true & phrase
        candidates = np.flatnonzero(options.any(1) & (rng.random(len(name)) < PHRASE_SHARE))
        noise = rng.random((len(candidates), len(phrase)))
        positive[candidates] = np.where(options[candidates], noise, -1).argmax(1)
        cells = np.arange(len(name))
        # The name of another class ("table") may be a hypernym of this one ("coffee table"). Where
        # the cell's own text is the positive the two compete, else nothing would tell them apart.
        own = np.where(columns.plain >= 0, self.own[columns.plain], -1)
        foreign = (own >= 0)[None] & (own[None] != name[:, None])
        row = columns.plain[positive]
        general = (row >= 0) & (self.truth[row].sum(1) > 1)
        left_out = (true & (~foreign | general[:, None])) | unknown
        wrong = np.zeros_like(true)
        wrong[:, columns.nothing] = True
        applies = self._applies(columns, name)
        wrong |= applies & ~true & ~unknown
        # "Something else" wins where neither the truth nor anything near it is among the texts.
        lost = np.flatnonzero(rng.random(len(name)) < NOTHING_SHARE)
        alike = (columns.features @ columns.features.T).numpy() > NOTHING_BELOW
        left_out[lost] |= true[lost] | alike[positive[lost]]
        positive[lost] = rng.choice(columns.nothing, len(lost))
        left_out[np.ix_(lost, columns.nothing)] = True
        left_out[cells, positive] = False
        wrong[cells, positive] = False
        return torch.from_numpy(positive), torch.from_numpy(left_out), torch.from_numpy(wrong)

    def _applies(self, columns: Columns, name: np.ndarray) -> np.ndarray:
        """Tell where a phrase's noun is true: [n, t]."""
        phrase = columns.kind >= 0
        applies = np.zeros((len(name), len(phrase)), bool)
        applies[:, phrase] = self.truth[columns.base[phrase]][:, name].T
        return applies

    def _judge(
        self, columns: Columns, name: np.ndarray, word: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tell which texts are true of a cell, and of which nobody knows: [n, t] each."""
        true = np.zeros((len(name), len(columns.plain)), bool)
        plain = columns.plain >= 0
        true[:, plain] = self.truth[columns.plain[plain]][:, name].T
        applies = self._applies(columns, name)
        known = word[columns.kind.clip(0)].T  # [n, t] the cell's word of the column's kind
        true |= applies & (known == columns.word)
        return true, applies & (known < 0)
