"""What was found, as files for other programs: clouds and boxes.

write_clouds(folder, "kitchen", snapshot, result)     # cloud.ply, labels.ply
boxes = answer_record(result)                         # for JSON
"""

from pathlib import Path
from typing import Any

from govnesf_model.instances import Instance
from govnesf_model.keyframes import MapSnapshot
from govnesf_model.pictures import tint
from govnesf_model.pointcloud_io import write_ply
from govnesf_model.query import QueryAnswer
from govnesf_model.segmentation import score_features

UNITS = "metres, radians about z; z up; label i is the i-th text"


def write_clouds(out: Path, name: str, snapshot: MapSnapshot, result: QueryAnswer) -> None:
    """Write the map with labels and scores, in photo colours and in those of the labels.

    Args:
        out: folder, which exists.
        name: of the scene, for the header.
        snapshot, result: the map and the answer that was read from it.
    """
    table = result.table
    scores = score_features(
        snapshot.features, table.text_features, table.contrast_features, table.logit_scale
    )
    columns = {"label": result.label, "relevancy": result.relevancy}
    for number, text in enumerate(result.texts):
        columns[f"relevancy_{number + 1}_{text}"] = scores[:, number].cpu().numpy()
    names = [f"label {number}: {text}" for number, text in enumerate(result.texts, start=1)]
    comments = (f"scene {name}, metres, z up", *names)
    write_ply(out / "cloud.ply", snapshot.xyz, snapshot.rgb, columns, comments)
    painted = tint(snapshot.rgb, result.label)
    write_ply(out / "labels.ply", snapshot.xyz, painted, {"label": result.label}, comments)


def answer_record(result: QueryAnswer) -> dict[str, Any]:
    """Return threshold, texts with their boxes, and warnings, ready for JSON."""
    found = [
        {
            "text": text,
            "label": number,
            "best": round(best, 4),
            "instances": [box_record(instance) for instance in instances],
        }
        for number, (text, best, instances) in enumerate(
            zip(result.texts, result.best, result.instances, strict=True), start=1
        )
    ]
    return {
        "units": UNITS,
        "min_score": result.table.min_score,
        "texts": found,
        "warnings": list(result.warnings),
    }


def box_record(instance: Instance) -> dict[str, Any]:
    """Return a box in metres and radians, ready for JSON."""
    return {
        "center": [round(float(v), 4) for v in instance.center],
        "size": [round(float(v), 4) for v in instance.size],
        "yaw": round(instance.yaw, 4),
        "score": round(instance.score, 4),
        "points": instance.count,
    }
