"""The networks of an evaluation, loaded once per process.

models = load_models(options, ("govnesf", "distill"))
models.field, models.distilled, models.vlm
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from govnesf_model.baselines import check_dimension, with_method
from govnesf_model.checkpoint import field_path, load_field
from govnesf_model.evaluation.options import EvaluationOptions
from govnesf_model.field import GovNesf
from govnesf_model.vlm import load_vlm
from govnesf_model.vlm.base import DenseEncoder


@dataclass(frozen=True)
class Models:
    """Field, encoder and, for the method "distill", its field."""

    field: GovNesf
    vlm: DenseEncoder
    distilled: GovNesf | None = None


def load_models(options: EvaluationOptions, methods: Sequence[str]) -> Models:
    """Load what methods need.

    Raises:
        ValueError, FileNotFoundError: a model is not there, cannot be used or does not fit.
    """
    field = _field(options.checkpoint, _file_key(options.checkpoint), options.device)
    distilled = None
    if "distill" in methods and options.distill_checkpoint:
        name = options.distill_checkpoint
        distilled = _field(name, _file_key(name), options.device)
        if distilled.config.use_mjf:
            raise ValueError(
                f"{name} is a field that blends views, no Distill baseline: that one is trained "
                "with use_mjf off"
            )
    models = Models(field, _encoder(options.vlm, str(field.device)), distilled)
    for method in methods:
        check_dimension(with_method(field, method, distilled), models.vlm)
    return models


def models_key(models: Models, options: EvaluationOptions, method: str) -> list[str]:
    """Return texts that change whenever the networks behind a method do."""
    key = [_file_key(options.checkpoint), models.vlm.key]
    if method == "distill" and options.distill_checkpoint:
        key.append(_file_key(options.distill_checkpoint))
    return key


@lru_cache(maxsize=8)
def _field(name: str, key: str, device: str) -> GovNesf:
    # The key is here for the cache: a file that was written anew is loaded anew.
    return load_field(name, device)


@lru_cache(maxsize=2)
def _encoder(spec: str, device: str) -> DenseEncoder:
    return load_vlm(spec, device)


def _file_key(name: str) -> str:
    return _digest(field_path(name), Path(field_path(name)).stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _digest(path: Path, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
