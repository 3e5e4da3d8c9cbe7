"""What an evaluation measures and how; the same for `govnesf evaluate` and `govnesf tables`.

add_options(parser)
options = EvaluationOptions.from_arguments(parser.parse_args(), task="3d")
"""

import argparse
from dataclasses import asdict, dataclass, fields

TASKS = ("2d", "3d", "nvs")


@dataclass(frozen=True)
class EvaluationOptions:
    """Everything beside scene and method that decides a figure."""

    task: str
    """One of `TASKS`."""
    vlm: str = "embedded"
    """Open-vocabulary encoder."""
    checkpoint: str = "small"
    """Field: a name or a file."""
    distill_checkpoint: str = ""
    """Field of the method `distill`: a file."""
    prompts: str = "names"
    """Words that a prediction chooses from, see `protocol.vocabulary`."""
    reference_views: int = 0
    """At most so many reference frames, evenly spread; 0 takes all."""
    with_targets: bool = False
    """Let the task 3d use the target frames as references as well."""
    width: int = 320
    """Width of the images that the encoders see, pixels."""
    render_width: int = 0
    """Width of rendered target views, pixels; 0: `width`."""
    rays_per_view: int = 0
    """Measure at so many pixels of a target view, drawn by `seed`; 0 takes all."""
    voxel: float = 0.05
    """Spacing of the true 3D points, metres."""
    depth_tolerance: float = 0.05
    """Relative depth difference that masks a view of a 3D point, for methods with depth."""
    seed: int = 0
    """Of the drawn pixels."""
    keep_features: bool = False
    """Take the encoder's features of reference frames from the cache of `govnesf extract`, and
    keep there what is missing; the figures are the same."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"there is no task {self.task!r}: choose one of {', '.join(TASKS)}")
        if self.width < 16 or self.target_width < 16:
            raise ValueError(
                f"--width {self.width} and --render-size {self.render_width} are widths in pixels: "
                "at least 16"
            )
        if min(self.rays_per_view, self.reference_views) < 0:
            raise ValueError("--rays-per-view and --reference-views are counts: 0 or more")
        if self.voxel <= 0 or self.depth_tolerance <= 0:
            raise ValueError("--voxel and --depth-tolerance must be positive")

    @property
    def target_width(self) -> int:
        """Width of rendered views, pixels."""
        return self.render_width or self.width

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace, task: str) -> "EvaluationOptions":
        """Take the options from a parsed command line."""
        names = {item.name for item in fields(cls)} - {"task"}
        return cls(task=task, **{name: getattr(arguments, name) for name in names})

    def settings(self) -> dict[str, object]:
        """Return the options as JSON can hold them."""
        return asdict(self)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser, but the task."""
    default = EvaluationOptions("2d")
    parser.add_argument("--vlm", default=default.vlm, help="encoder (`govnesf vlm list`)")
    parser.add_argument("--checkpoint", default=default.checkpoint, help="field: a name or a file")
    parser.add_argument(
        "--distill-checkpoint", default="", metavar="FILE", help="field of the method distill"
    )
    parser.add_argument(
        "--prompts",
        default=default.prompts,
        metavar="SET",
        help="names, scene, scannet, matterport or a JSON file (docs/evaluation.md)",
    )
    parser.add_argument(
        "--reference-views", type=int, default=0, metavar="N", help="evenly spread; 0: all"
    )
    parser.add_argument(
        "--with-targets", action="store_true", help="3d: target frames are references as well"
    )
    parser.add_argument("--width", type=int, default=default.width, help="of images, pixels")
    parser.add_argument(
        "--render-size",
        dest="render_width",
        type=int,
        default=0,
        metavar="W",
        help="width of rendered target views, pixels; 0: as --width",
    )
    parser.add_argument(
        "--rays-per-view",
        type=int,
        default=0,
        metavar="N",
        help="measure at N pixels of each target view, drawn by --seed; 0: all",
    )
    parser.add_argument("--voxel", type=float, default=default.voxel, help="of 3D points, metres")
    parser.add_argument(
        "--depth-tolerance",
        type=float,
        default=default.depth_tolerance,
        help="3d, methods with depth: relative difference that masks a view (the paper: 0.25)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the drawn pixels")
    parser.add_argument(
        "--keep-features",
        action="store_true",
        help="share the encoder's features with other runs (the cache of govnesf extract)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
