"""Contrast words of encoders that no list of words was taught: `open_clip:` and `lseg:`.

The rules are those of contrast.py. There "the same thing" is told by the cosine of two texts; in
CLIP's space that says little, for "a photo of a dog" and "a photo of a cat" are about as alike as
two synonyms. Here it is told by the words: the same word in another form, or an entry of `NAMES`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from govnesf_model.vlm.contrast import Vocabulary

# Structure that fills most of a view, and words that are true of anything: an answer has to be more
# like the query than like these.
DEFAULT_CONTRAST = (
    "wall",
    "floor",
    "ceiling",
    "object",
    "things",
    "stuff",
    "texture",
    "background",
)

# Contrast word -> other words for it, and words that include it.
NAMES = {
    "wall": ("room wall", "partition", "wallpaper", "surface", "room", "building", "structure"),
    "floor": (
        *("ground", "flooring", "floorboard", "parquet", "carpet", "tile"),
        *("surface", "room", "building", "structure"),
    ),
    "ceiling": ("roof", "surface", "room", "building", "structure"),
    "object": ("thing", "stuff", "item", "something", "anything", "everything"),
    "texture": ("pattern", "surface"),
    "background": ("backdrop", "scene", "room", "everything"),
}

ATTRIBUTES = {
    "color": (
        *("black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple"),
        *("pink", "brown"),
    ),
    "material": ("wooden", "metal", "plastic", "glass", "leather", "fabric", "stone", "ceramic"),
}


def contrast_words(
    texts: Sequence[str],
    extra: Sequence[str] = (),
    default: Sequence[str] = DEFAULT_CONTRAST,
) -> tuple[str, ...]:
    """Return the words to score texts against, conflicts removed; see contrast.py.

    Args:
        texts: what is looked for.
        extra: words that the user adds.
        default: the words to begin with; those that `NAMES` does not know clash with forms of
            themselves alone.
    """
    asked = {_normal(text) for text in texts}
    default = [word for word in default if _normal(word) not in asked]
    return _VOCABULARY.contrast(texts, default, extra, _same_word)


def _normal(text: str) -> str:
    words = text.lower().split()
    if len(words) > 1 and words[0] in ("a", "an", "the"):
        words = words[1:]
    text = " ".join(words)
    return text[:-1] if len(text) > 3 and text.endswith("s") and not text.endswith("ss") else text


_FORMS = tuple(sorted({text for name, others in NAMES.items() for text in (name, *others)}))
_TEXTS = tuple(dict.fromkeys((*_FORMS, *DEFAULT_CONTRAST)))
_INDEX = {form: index for index, form in enumerate(dict.fromkeys(_normal(t) for t in _TEXTS))}


def _same_word(texts: Sequence[str]) -> Float[Tensor, "t n"]:
    """Return one row a text: 1 at the word that it is a form of, else all 0."""
    rows = torch.zeros(len(texts), len(_INDEX))
    for row, text in zip(rows, texts, strict=True):
        index = _INDEX.get(_normal(text))
        if index is not None:
            row[index] = 1
    return rows


# Every form of a taught text, so that "things" means what "thing" means.
_NAMES = {
    name: tuple(t for t in _TEXTS if _normal(t) in {_normal(o) for o in (name, *others)})
    for name, others in NAMES.items()
}
_VOCABULARY = Vocabulary(_NAMES, ATTRIBUTES, _TEXTS, _same_word(_TEXTS))
