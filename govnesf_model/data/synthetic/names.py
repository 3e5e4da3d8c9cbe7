"""What things are called: classes, synonyms and which catalogue models belong to them.

The table in objects.csv was made by hand from the catalogues' own names; models whose name stays
unclear are not in it. Columns: class name, where such a thing is placed, synonyms and hypernyms
(";" between them), models ("s:", "b:", "k:" for the three catalogues).
"""

import csv
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CATALOGUES = {"s": "Scopia", "b": "BlendSwap-CC-0", "k": "KatorLegaz"}
SPLITS = ("train", "val", "test", "demo")

# CC0 models that only the demo room shows; their classes are taught by other models.
DEMO_MODELS = frozenset(
    [
        "b:couch",
        "b:sillaBlanca",
        "b:chair",
        "b:table",
        "b:decorativePlant",
        "b:cupboard",
        "b:bookcase",
        "b:modernArmchair",
        "b:led_tv",
        "b:desklamp",
        "b:dustbin",
        "b:speaker3",
    ]
)
# Variants of one design share their fate, so that a held-out model is really unseen.
FAMILIES = [
    "s:beige_sofa",
    "s:wooden_office",
    "s:window_",
    "s:kids_",
    "s:little_lamp",
    "s:kitchen_tool",
    "s:pencil",
    "s:medicoscopia",
    "s:rattan",
    "s:rounded-",
    "s:square-",
    "k:mid-century",
    "k:window-",
    "k:exterior-door",
    "b:winchester",
    "s:electric_water",
    "s:convertible-sofa",
    "s:induction",
    "s:intercom",
    "s:double_door",
]


@dataclass(frozen=True)
class ObjectClass:
    """One row of the table."""

    name: str
    place: str
    synonyms: tuple[str, ...]
    models: tuple[str, ...]


@cache
def object_classes() -> dict[str, ObjectClass]:
    """Return the table, by class name."""
    with (Path(__file__).parent / "objects.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        row["name"]: ObjectClass(
            row["name"], row["place"], _words(row["synonyms"]), _words(row["models"])
        )
        for row in rows
    }


@cache
def model_splits() -> dict[str, str]:
    """Return the split of every model: train, val, test or demo.

    A stable hash orders the families of a class. About a tenth goes to val and a tenth to test, but
    a class with fewer than three families is for training only.
    """
    splits = {}
    for row in object_classes().values():
        families = {}
        for model in row.models:
            if model in DEMO_MODELS:
                splits[model] = "demo"
            else:
                families.setdefault(_family(model), []).append(model)
        order = sorted(families, key=_hash)
        held = 0 if len(order) < 3 else max(1, round(0.12 * len(order)))
        for i, family in enumerate(order):
            split = "val" if i < held else "train"
            if held and len(order) >= 5 and held <= i < 2 * held:
                split = "test"
            splits.update(dict.fromkeys(families[family], split))
    return splits


def models_of(name: str, split: str) -> list[str]:
    """Return the models of a class that rooms of a split may use."""
    splits = model_splits()
    return [m for m in object_classes()[name].models if splits[m] == split]


def _family(model: str) -> str:
    return next((f for f in FAMILIES if model.startswith(f)), model)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _words(cell: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in cell.split(";") if word.strip())
