"""A training that takes seconds, for tests."""

from pathlib import Path

from govnesf_model.train_config import TrainingConfig, from_dict

TINY = {
    "field": {
        "volume_channels": 8,
        "query_channels": 8,
        "unet_channels": [8, 8, 8],
        "geometry_channels": 8,
        "density_width": 16,
        "fusion_width": 16,
        "voxel_size": 0.3,
        "samples_per_ray": 24,
        "stereo_planes": 8,
        "stereo_width": 8,
        "stereo_channels": 4,
    },
    "sampling": {"size": [64, 48], "rays": 64, "references": [3, 4], "occupancy_points": 512},
    "optimizer": {"warmup": 2, "pretrained": False},
    "run": {"steps": 4, "log_every": 1, "save_every": 2, "validate_every": 2},
}


def tiny_config(**sections: dict[str, object]) -> TrainingConfig:
    """Return the configuration of a tiny run, with settings of some sections changed."""
    values = {name: {**TINY.get(name, {}), **sections.get(name, {})} for name in TINY}
    extra = {name: value for name, value in sections.items() if name not in TINY}
    return from_dict({**values, **extra}, "the test")


def logged(out: Path, name: str = "train/loss") -> dict[int, float]:
    """Return a logged value by step, from all logs of a run; later logs win."""
    found = {}
    for path in sorted((out / "csv").glob("version_*/metrics.csv")):
        # The last line may be half written.
        lines = path.read_text().rpartition("\n")[0].splitlines()
        header = lines[0].split(",") if lines else []
        for line in lines[1:]:
            row = dict(zip(header, line.split(","), strict=False))
            if row.get(name):
                found[int(row["step"])] = float(row[name])
    return found
