"""What decides a training run: presets and files in YAML, single settings on top.

    config = load_config("small", ["sampling.rays=256", "loss.distortion=0.02"])
    config = load_config("runs/mine.yaml")            # may begin with `extends: paper`

A file names sections and settings of `TrainingConfig`; what it leaves out keeps the default. The
presets `small`, `base` and `paper` lie in train_presets/.
"""

import dataclasses
import difflib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from .field_config import FieldConfig

PRESETS = Path(__file__).resolve().parent / "train_presets"


@dataclass(frozen=True)
class SamplingConfig:
    """What one step sees."""

    size: tuple[int, int] = (320, 240)
    """Width and height that images are brought to."""
    views_per_scene: int = 100
    """At most this many views of a scene are used, evenly spread along it."""
    references: tuple[int, int] = (3, 10)
    """Least and most reference views per step."""
    targets: int = 2
    """Held-back views per step that the rays are drawn from."""
    rays: int = 512
    """Rays per step, over all targets."""
    occupancy_points: int = 12288
    """Points drawn for the occupancy loss per step."""
    max_cells: int = 28800
    """Most voxels of a step's grid; a larger room gets a part of its floor."""
    stretches: float = 0.5
    """Share of the steps whose references are a stretch of the path, as a robot has it; those of
    the others lie anywhere in the scene."""
    measured: float = 0.4
    """Share of the steps in which the field is built with depth, made as inexact as a camera's;
    those of the others know colours and poses alone."""
    stereo_views: int = 2
    """References per step whose depth is matched, for `loss.stereo`."""
    pose_noise: tuple[float, float] = (0.005, 0.15)
    """Standard deviation of poses in stereo, metres and degrees: those of a robot are not exact."""
    jitter: bool = True
    """Change exposure and white balance of every scene, and slightly of every view."""
    unsteady: float = 0.0
    """Share of the scenes that an unsteady camera took: exposure and white balance that change from
    view to view, blur, noise, JPEG, and poses off by up to 1 cm and 0.3 degrees
    (`unsteady_camera.py`). What targets should show stays steady."""
    ov_dim: int = 32
    """Width of the stand-in features, which are used without a vision-language model."""
    scenes_in_memory: int = 400
    """Scenes kept in memory, 10 to 40 MB each."""
    workers: int = 0
    """Processes that draw problems ahead; each keeps its share of the scenes in memory. 0 draws in
    the training process, which is best on a CPU."""

    def __post_init__(self) -> None:
        least, most = self.references
        if not 2 <= least <= most:
            raise ValueError(
                f"sampling.references is {least} to {most}: at least 2 views, and the smaller "
                "number first"
            )
        if self.rays < self.targets or self.targets < 1:
            raise ValueError(
                f"sampling.rays is {self.rays} for {self.targets} targets: every target needs a ray"
            )


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms; 0 leaves a term out. Those below `ov` are not in the paper."""

    color: float = 2.0
    """Weight of L_color (eq. 9a)."""
    ov: float = 0.5
    """alpha, the weight of L_ov (eq. 9b) relative to L_color's."""
    depth: float = 0.2
    """Absolute error of rendered depth. Needs depth images, as all down to `free` do."""
    surface: float = 0.1
    """Gathers the rays' weight at the measured surface."""
    surface_width: tuple[float, float] = (0.2, 0.08)
    """Half width of the band around it in metres, at the start and at the end of the run."""
    occupancy: float = 1.0
    """Cross entropy of density at points that depth shows to be solid or free."""
    stereo: float = 0.0
    """Cross entropy of the planes that the stereo network chooses from."""
    free: float = 0.1
    """Opacity of rays that leave the grid."""
    distortion: float = 0.01
    """Spread of the weights along a ray (mip-NeRF 360), metres. Needs no depth."""
    entropy: float = 0.0
    """Entropy of the weights along a ray, nats: how many samples share it. Needs no depth."""
    hard_surface: float = 0.0
    """Weights that are neither 0 nor 1. Needs no depth; wants rays that something stops."""

    @property
    def renders(self) -> bool:
        """Whether any term looks at the field itself, not at the stereo network alone."""
        return any(
            value
            for name, value in dataclasses.asdict(self).items()
            if name not in ("ov", "stereo", "surface_width")
        )


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a linear warm-up and a cosine."""

    learning_rate: float = 1.5e-3
    """Peak of the schedule."""
    warmup: int = 50
    """Steps of linear warm-up."""
    final: float = 0.02
    """Share of the peak at the end."""
    weight_decay: float = 1e-2
    """Of AdamW."""
    clip: float = 1.0
    """Largest gradient norm."""
    average: float = 0.99
    """Decay of the running average of the weights, which is what is validated and exported."""
    accumulate: int = 1
    """Problems per step and process whose gradients are averaged."""
    precision: str = "auto"
    """"32", "bf16" for the networks (geometry always computes in float32), or "auto": bf16 on a
    GPU that has it."""
    pretrained: bool = True
    """Start from a backbone that knows ImageNet."""
    start: str = ""
    """Start from the tensors of this field that have the same name and shape."""
    frozen: tuple[str, ...] = ()
    """Parts of the field that do not learn, such as stereo."""

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "32", "bf16"):
            raise ValueError(f"optimizer.precision is {self.precision!r}: it is auto, 32 or bf16")


@dataclass(frozen=True)
class RunConfig:
    """How long, and what is written when."""

    steps: int = 20000
    """Length of the run in steps; the schedule follows it."""
    minutes: float = 0.0
    """Length in minutes instead, pauses not counted; such a run cannot be repeated exactly. 0: the
    steps decide."""
    seed: int = 0
    """Of weights and problems: step n of a seed is the same whenever it is computed."""
    log_every: int = 10
    """Steps between log lines."""
    save_every: int = 100
    """Steps between checkpoints; a killed run loses at most this many."""
    validate_every: int = 1000
    """Steps between validations."""
    validation_scenes: int = 8
    """At most this many scenes are validated on."""
    validation_targets: int = 2
    """Views rendered per validated scene."""


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a run, besides the data."""

    field: FieldConfig = dataclasses.field(default_factory=FieldConfig)
    """Shape of the network; stored with its weights."""
    sampling: SamplingConfig = SamplingConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    run: RunConfig = RunConfig()

    def to_dict(self) -> dict[str, dict[str, object]]:
        """Return sections of settings, of plain types."""
        plain = dataclasses.asdict(self)
        return {
            section: {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
            for section, values in plain.items()
        }


def load_config(name_or_path: str | Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read a preset or a file and change single settings.

    Args:
        name_or_path: "small", "base", "paper", or a YAML file.
        overrides: "section.setting=value" with the value in YAML.

    Raises:
        ValueError: an unknown section or setting, or a value of the wrong type.
        FileNotFoundError: there is no such preset or file.
    """
    values = _read(name_or_path)
    for text in overrides:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not equals or not dot:
            raise ValueError(
                f"the setting {text!r} is not of the form section.setting=value, "
                "such as loss.depth=0.1"
            )
        values.setdefault(section, {})[key] = _parse(value, f"the setting {text!r}")
    return from_dict(values, str(name_or_path))


def from_dict(values: Mapping[str, Mapping[str, object]], source: str) -> TrainingConfig:
    """Build a configuration from sections of settings; `source` is named in errors.

    Raises:
        ValueError: an unknown section or setting, or a value of the wrong type.
    """
    sections = {item.name: item for item in dataclasses.fields(TrainingConfig)}
    built = {}
    for section, settings in values.items():
        if section not in sections:
            raise ValueError(
                f"{source} has a section {section!r}, which does not exist: "
                f"sections are {', '.join(sections)}"
            )
        built[section] = _section(sections[section].type, section, settings, source)
    return TrainingConfig(**built)


def preset_names() -> list[str]:
    """Return the names of the shipped presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _read(name_or_path: str | Path) -> dict[str, dict[str, object]]:
    """Return the settings of a preset or file on top of those of what it extends."""
    path = Path(name_or_path)
    if not path.suffix and not path.is_file():
        path = PRESETS / f"{name_or_path}.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no training configuration {str(name_or_path)!r}: "
            f"presets are {', '.join(preset_names())}; or give a .yaml file"
        )
    content = _parse(path.read_text(), str(path)) or {}
    if not isinstance(content, dict) or not all(
        isinstance(value, dict) for key, value in content.items() if key != "extends"
    ):
        raise ValueError(f"{path} must hold sections of settings, such as `loss: {{depth: 0.1}}`")
    base = content.pop("extends", None)
    values = {} if base is None else _read(str(base))
    for section, settings in content.items():
        values[section] = {**values.get(section, {}), **settings}
    return values


def _parse(text: str, where: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error


def _section(kind: type, section: str, settings: Mapping[str, object], source: str) -> object:
    kinds = typing.get_type_hints(kind)
    known = [item.name for item in dataclasses.fields(kind)]
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {section}.{near[0]}" if near else f"it has {', '.join(known)}"
            raise ValueError(f"{source} sets {section}.{key}, which does not exist: {hint}")
    return kind(
        **{key: _convert(value, kinds[key], f"{section}.{key}") for key, value in settings.items()}
    )


def _convert(value: object, kind: object, name: str) -> object:
    """Return a YAML value as the type that a setting has."""
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)
        if inner[1:] == (...,) and isinstance(value, (list, tuple)):
            inner = inner[:1] * len(value)
        if not isinstance(value, (list, tuple)) or len(value) != len(inner):
            raise ValueError(f"{name} is {value!r}: it takes a list of {len(inner)} values")
        return tuple(_convert(v, k, name) for v, k in zip(value, inner, strict=True))
    if kind is str:
        return str(value)
    wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
    if kind is bool and isinstance(value, bool):
        return value
    if kind is not bool and not isinstance(value, bool):
        try:
            number = float(value)  # YAML reads 1e-3 as text
            if kind is float or number == int(number):
                return kind(number)
        except (TypeError, ValueError, OverflowError):
            pass
    raise ValueError(f"{name} is {value!r}: it takes {wanted}")
