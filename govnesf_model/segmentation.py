"""From open-vocabulary features to scores, labels and masks.

    scores = score_features(features, vlm.encode_texts(texts), contrast, vlm.logit_scale)   # [n, t]
    label, confidence = label_features(features, text_features, contrast, vlm.logit_scale)

A score is the probability of a text among all texts and the contrast words, the words that stand
for everything else: raw cosines of unrelated words are far from zero and differ from word to word,
so a threshold on them means nothing.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor

from govnesf_model.cameras import unproject
from govnesf_model.feature_blocks import FeatureBlocks
from govnesf_model.fitting_chunks import FittingChunks
from govnesf_model.keyframes import Keyframe, MapSnapshot
from govnesf_model.map_points import voxel_keys

NO_LABEL = 0  # what no text explains; text i has label i + 1
_CHUNK = 2048  # rows scored at once: stays in the cache, and bounds memory for many texts


def score_features(
    features: Float[Tensor, "n d"] | FeatureBlocks,
    text_features: Float[Tensor, "t d"],
    contrast_features: Float[Tensor, "c d"],
    logit_scale: float,
) -> Float[Tensor, "n t"]:
    """Return the probability of each text for each feature.

    Args:
        features: unit vectors, any float type; a zero row stands for "never seen" and scores 0.
        text_features: unit vectors of the texts that were asked for.
        contrast_features: unit vectors of the words for everything else, may be empty.
        logit_scale: softmax temperature that belongs to the encoder.

    Returns:
        float32 probabilities; a row sums to one only together with its contrast words.
    """
    scores = [
        part for _, part in _score_chunks(features, text_features, contrast_features, logit_scale)
    ]
    if not scores:
        return torch.zeros(0, len(text_features), device=features.device)
    return torch.cat(scores)


def best_texts(
    features: Float[Tensor, "n d"] | FeatureBlocks,
    text_features: Float[Tensor, "t d"],
    contrast_features: Float[Tensor, "c d"],
    logit_scale: float,
) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"], Float[Tensor, "t"]]:
    """Return only the winners, so that memory does not grow with the number of texts.

    Returns:
        Index of the best text per row, its probability, and the highest probability that each text
        reaches anywhere (0 without rows).
    """
    count, device = len(features), features.device
    index = torch.zeros(count, dtype=torch.long, device=device)
    score = torch.zeros(count, device=device)
    peak = torch.zeros(len(text_features), device=device)
    for rows, part in _score_chunks(features, text_features, contrast_features, logit_scale):
        score[rows], index[rows] = part.max(dim=1)
        peak = torch.maximum(peak, part.amax(dim=0))
    return index, score, peak


def label_features(
    features: Float[Tensor, "n d"],
    text_features: Float[Tensor, "t d"],
    contrast_features: Float[Tensor, "c d"],
    logit_scale: float,
    min_score: float = 0.0,
) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"]]:
    """Return the label of each feature (0 none, i + 1 = text i) and its probability.

    With `min_score` 0 every feature that was seen gets the best text, whether or not a contrast
    word explains it better; that is what a closed vocabulary wants.
    """
    index, score, _ = best_texts(features, text_features, contrast_features, logit_scale)
    label = torch.where((score > 0) & (score >= min_score), index + 1, NO_LABEL)
    return label, score


def upsample_scores(
    scores: Float[Tensor, "h w t"], stride: int, width: int, height: int
) -> Float[Tensor, "t H W"]:
    """Resize a score map at a stride to its image, bilinear, pixel centres at integers.

    Scores are interpolated, not labels: the border between two labels then runs where their
    probabilities cross and not along the cells of the map.
    """
    rows, columns = scores.shape[:2]
    fine = F.interpolate(
        scores.permute(2, 0, 1).unsqueeze(0).float(),
        size=(rows * stride, columns * stride),
        mode="bilinear",
        align_corners=False,
    )
    return fine[0, :, :height, :width]


def mask_of_keyframe(
    keyframe: Keyframe,
    text_features: Float[Tensor, "t d"],
    contrast_features: Float[Tensor, "c d"],
    logit_scale: float,
    min_score: float = 0.5,
    size: tuple[int, int] | None = None,
    snapshot: MapSnapshot | None = None,
) -> UInt8[np.ndarray, "H W"]:
    """Return which pixels of a keyframe show which text: 0 none, i + 1 = text i.

    Args:
        keyframe: from a snapshot of the map.
        text_features, contrast_features, logit_scale: as in `score_features`; at most 254 texts.
        min_score: probability from which on a pixel belongs to a text.
        size: width and height of the mask, the keyframe's own by default. `keyframe.source_size`
            gives the mask of the image as the camera sent it.
        snapshot: pixels whose depth leads to a point of this map are scored by the point, for which
            many views speak; the others, and all without it, by the keyframe's own features.
    """
    rows, columns, _ = keyframe.ov.shape
    flat = score_features(keyframe.ov.flatten(0, 1), text_features, contrast_features, logit_scale)
    scores = upsample_scores(
        flat.view(rows, columns, -1), keyframe.ov_stride, keyframe.width, keyframe.height
    )
    if snapshot is not None and keyframe.depth is not None and len(snapshot.xyz):
        pixel, point = _points_at_pixels(keyframe, snapshot)
        shown, member = np.unique(point, return_inverse=True)
        fused = score_features(
            snapshot.features.take(shown), text_features, contrast_features, logit_scale
        )
        member = torch.from_numpy(member.reshape(-1)).to(scores.device)
        pixel = torch.from_numpy(pixel).to(scores.device)
        scores = scores.flatten(1).index_copy(1, pixel, fused[member].T)
        scores = scores.view(-1, keyframe.height, keyframe.width)
    if size is not None and size != (keyframe.width, keyframe.height):
        shape = (size[1], size[0])
        scores = F.interpolate(scores.unsqueeze(0), shape, mode="bilinear", align_corners=False)[0]
    best, index = scores.max(dim=0)
    return torch.where(best >= min_score, index + 1, NO_LABEL).to(torch.uint8).cpu().numpy()


def _points_at_pixels(
    keyframe: Keyframe, snapshot: MapSnapshot
) -> tuple[Int64[np.ndarray, "m"], Int64[np.ndarray, "m"]]:
    """Return the pixels (row-major) whose depth meets an occupied voxel, and the voxels' points."""
    pixel = np.flatnonzero(keyframe.depth > 0)
    v, u = np.divmod(pixel, keyframe.width)
    xyz = unproject(
        torch.from_numpy(np.stack([u, v], axis=1).astype(np.float32)),
        torch.from_numpy(keyframe.depth.reshape(-1)[pixel]),
        torch.from_numpy(keyframe.K),
        torch.from_numpy(keyframe.T_world_camera),
    ).numpy()
    held = voxel_keys(snapshot.xyz, snapshot.voxel_size)
    order = np.argsort(held)
    wanted = voxel_keys(xyz, snapshot.voxel_size)
    at = np.searchsorted(held[order], wanted).clip(max=len(held) - 1)
    hit = held[order[at]] == wanted
    return pixel[hit], order[at[hit]]


def _score_chunks(
    features: Tensor | FeatureBlocks,
    text_features: Tensor,
    contrast_features: Tensor,
    logit_scale: float,
) -> Iterator[tuple[slice, Tensor]]:
    device, texts = features.device, len(text_features)
    table = torch.cat([text_features, contrast_features]).float().T.to(device) * logit_scale
    size = _CHUNK if device.type == "cpu" else 32 * _CHUNK
    chunks = FittingChunks(size)
    buffer = torch.empty(0, features.shape[1], device=device)

    def score(some: Tensor) -> Tensor:
        nonlocal buffer
        # One buffer for all chunks: converting half precision into fresh memory costs more than
        # the product itself.
        if len(buffer) < len(some):
            buffer = buffer.new_empty(len(some), features.shape[1])
        part = buffer[: len(some)].copy_(some)
        logits = part @ table  # [rows, texts + contrast]
        scores = torch.softmax(logits, dim=1)[:, :texts]
        # Only a row without any logit can be a zero row; looking at all features would cost more.
        flat = (logits.abs().amax(dim=1) == 0).nonzero().squeeze(1)
        if len(flat):
            scores[flat[~part[flat].any(dim=1)]] = 0.0
        return scores

    for start, block in features if isinstance(features, FeatureBlocks) else [(0, features)]:
        for rows, scores in chunks.run(len(block), lambda rows, block=block: score(block[rows])):
            yield slice(start + rows.start, start + rows.stop), scores
