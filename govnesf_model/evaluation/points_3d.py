"""3D segmentation of given surface points (Table 2 of the paper).

xyz, truth = truth_points(scene, frames, voxel=0.05)
matrix = label_points(scene, references, models, "average", words, text, options)
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from govnesf_model.baselines import NEEDS_DEPTH, as_label, masking_of, with_method
from govnesf_model.blending import blend_semantic
from govnesf_model.data.posed_scene import PosedScene
from govnesf_model.evaluation.models import Models
from govnesf_model.evaluation.options import EvaluationOptions
from govnesf_model.evaluation.protocol import Vocabulary, truth_frames
from govnesf_model.evaluation.references import Built, References, score_maps
from govnesf_model.field import GovNesf
from govnesf_model.map_points import points_from_depth, voxel_keys
from govnesf_model.metrics import confusion_matrix

_CHUNK = 8192  # points


@torch.no_grad()
def label_points(
    scene: PosedScene,
    references: References,
    models: Models,
    method: str,
    words: Vocabulary,
    text: Float[Tensor, "t d"],
    options: EvaluationOptions,
) -> Int[np.ndarray, "k k"]:
    """Label the true surface points by a method; arguments and result as in `views_2d`."""
    network = with_method(models.field, method, models.distilled)
    built = references.build(network, method in NEEDS_DEPTH)
    xyz, truth = truth_points(scene, truth_frames(scene, options), options.voxel)
    points = torch.from_numpy(xyz).to(text.device)
    # Text first: the views' maps become score maps, which blend to the same argmax.
    table = score_maps(built.views, text)
    parts = points.split(_CHUNK)
    predicted = [
        as_label(
            point_scores(network, built, part, table, text, method, options.depth_tolerance),
            list(words.index),
        )
        for part in tqdm(parts, desc=f"{scene.name}: {method} 3d", leave=False)
    ]
    prediction = torch.cat(predicted).cpu().numpy()
    return confusion_matrix(truth, prediction, words.index, scene.ignore, scene.other)


def point_scores(
    field: GovNesf,
    built: Built,
    points: Float[Tensor, "n 3"],
    table: Float[Tensor, "v hs ws t"],
    text: Float[Tensor, "t d"],
    method: str,
    tolerance: float,
) -> Float[Tensor, "n t"]:
    """Return text scores of points; zero where no view sees a point.

    With depth, a point that every view is masked for still gets the answer without masking.
    """
    views, volume = built.views, built.volume
    if not field.config.use_mjf:
        return field.distill(points, views, volume)[1].float() @ text.T
    masking = masking_of(method)
    blend = field.blend(points, views, volume, masking=masking, tolerance=tolerance)
    scores = blend_semantic(blend, points, views, table=table)
    lost = (~blend.valid.any(dim=1)).nonzero().squeeze(1)
    if masking == "depth" and len(lost):
        again = field.blend(points[lost], views, volume)
        scores[lost] = blend_semantic(again, points[lost], views, table=table)
    return scores


def truth_points(
    scene: PosedScene, frames: Sequence[int], voxel: float
) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, "n"]]:
    """Return the surface points of frames with depth and labels, and their classes.

    One point per voxel of the given edge in metres: the mean position of those that carry the label
    which most pixels in the voxel have.
    """
    positions, labels = [], []
    for index in tqdm(frames, desc=f"{scene.name}: true points", unit="frame", leave=False):
        frame = scene[index]
        triple = np.repeat(frame.label[..., None], 3, axis=2)
        xyz, label = points_from_depth(
            triple,
            frame.depth,
            frame.K.astype(np.float32),
            frame.T_world_camera.astype(np.float32),
            step=2,
            near=0.05,
            far=20.0,
        )
        positions.append(xyz)
        labels.append(label[:, 0].astype(np.int64))
    xyz, label = np.concatenate(positions), np.concatenate(labels)
    kept = ~np.isin(label, list(scene.ignore))
    xyz, label = xyz[kept], label[kept]
    # One vote per pixel for (voxel, label); the pair with most votes wins its voxel.
    _, cell = np.unique(voxel_keys(xyz, voxel), return_inverse=True)
    pair, member, votes = np.unique(
        cell.reshape(-1) * 256 + label, return_inverse=True, return_counts=True
    )
    order = np.lexsort((-votes, pair // 256))
    winners = order[np.unique(pair[order] // 256, return_index=True)[1]]
    member = member.reshape(-1)
    sums = [np.bincount(member, weights=xyz[:, i], minlength=len(pair)) for i in range(3)]
    mean = np.stack(sums, axis=1) / votes[:, None]
    return mean[winners].astype(np.float32), pair[winners] % 256
