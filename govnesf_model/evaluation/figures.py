"""Qualitative figures: what was there, what is rendered, and what it is taken for (Figure 4).

    picture = draw_scene(FigureJob("rooms/test/0001", options, views=2))      # uint8 [H, W, 3]

A row per target view: its colours, the rendered colours, rendered depth, our semantics, those of
the encoder on the true image, and the truth; a legend below.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8

from govnesf_model.baselines import as_label, with_method
from govnesf_model.data.posed_scene import PosedScene, open_scene
from govnesf_model.evaluation.models import Models, load_models
from govnesf_model.evaluation.options import EvaluationOptions
from govnesf_model.evaluation.protocol import (
    Vocabulary,
    labelled_targets,
    reference_frames,
    scored_classes,
    spread,
    vocabulary,
)
from govnesf_model.evaluation.references import References, score_maps
from govnesf_model.evaluation.target_rays import camera_of, render_pixels
from govnesf_model.evaluation.views_2d import image_scores
from govnesf_model.map_views import working_image
from govnesf_model.palette import colorize, heat_colors, legend, text_line

PANELS = ("colour", "rendered", "depth", "semantics", "encoder on the view", "truth")
_FAR = 5.0  # metres: the dark end of the depth colours
_WIDTH = 240  # of a panel, pixels


@dataclass(frozen=True)
class FigureJob:
    """A scene and how many of its target views to draw."""

    path: str
    options: EvaluationOptions
    views: int


def draw_scene(job: FigureJob) -> UInt8[np.ndarray, "h w 3"]:
    """Load what a job needs and draw its scene."""
    scene = open_scene(job.path)
    return draw_views(scene, load_models(job.options, ("govnesf",)), job.options, job.views)


@torch.no_grad()
def draw_views(
    scene: PosedScene, models: Models, options: EvaluationOptions, views: int
) -> UInt8[np.ndarray, "h w 3"]:
    """Return a picture of a scene's target views, labelled ones first where there are some.

    Raises:
        ValueError: the scene has no target frames, or classes that fit no prompts.
    """
    targets = labelled_targets(scene) or list(scene.target)
    if not targets:
        raise ValueError(f"scene {scene.root} has no target frames to draw (scene.json: target)")
    network = with_method(models.field, "govnesf")
    indices = reference_frames(scene, options)
    references = References(scene, indices, models.vlm, options.width, options.keep_features)
    built = references.build(network, use_depth=False)
    device = built.views.rgb.device
    words = table = text = None
    if scored_classes(scene):
        words = vocabulary(scene, options.prompts)
        text = models.vlm.encode_texts(list(words.prompts)).to(device)
        table = score_maps(built.views, text)
    rows: list[list[np.ndarray]] = []
    maps: list[list[np.ndarray | None]] = []
    for index in spread(targets, max(1, views)):
        frame = scene[index]
        rgb, K, _ = working_image(frame, options.target_width)
        shape = rgb.shape[:2]
        camera = camera_of(K, frame.T_world_camera, shape[1], shape[0], device)
        seen = render_pixels(network, built, camera, None, table, text)
        color = (seen.color.clamp(0, 1) * 255).round().byte().view(*shape, 3).cpu().numpy()
        depth = (seen.depth * (seen.opacity > 0.5)).view(shape).cpu().numpy()
        rows.append([rgb, color, depth_colors(depth)])
        labels: list[np.ndarray | None] = [None, None, None]
        if words is not None:
            own = working_image(frame, options.width)[0]
            scores = image_scores(models.vlm, own, text, shape)
            labels[0] = _places(as_label(seen.scores, list(words.index)).cpu().numpy(), words)
            labels[1] = _places(as_label(scores, list(words.index)).cpu().numpy(), words)
            if frame.label is not None:
                small = cv2.resize(frame.label, shape[::-1], interpolation=cv2.INTER_NEAREST)
                labels[2] = _places(small.reshape(-1).astype(np.int64), words)
        maps.append([None if label is None else label.reshape(shape) for label in labels])
    return _sheet(rows, maps, words)


def depth_colors(depth: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return colours for depth, near is bright; black where there is none."""
    colors = heat_colors(1 - np.clip(depth / _FAR, 0, 1))
    colors[depth <= 0] = 0
    return colors


def _places(label: Integer[np.ndarray, "n"], words: Vocabulary) -> Integer[np.ndarray, "n"]:
    """Return the place of each class in the vocabulary, counted from 1; 0 for all else."""
    table = np.zeros(max(max(words.index), 255) + 2, np.int64)  # the last entry is for -1
    table[list(words.index)] = np.arange(1, len(words.index) + 1)
    return table[label]


def _sheet(
    rows: list[list[np.ndarray]], maps: list[list[np.ndarray | None]], words: Vocabulary | None
) -> UInt8[np.ndarray, "h w 3"]:
    # Colours go to the classes that are seen at all, so that they differ and the legend is short.
    found = [label for labels in maps for label in labels if label is not None]
    present = sorted({int(place) for label in found for place in np.unique(label)} - {0})
    compact = np.zeros(1 + max(present, default=0), np.int64)
    compact[present] = np.arange(1, len(present) + 1)
    lines = []
    for panels, labels in zip(rows, maps, strict=True):
        blank = np.full_like(panels[0], 28)
        pictures = [blank if label is None else colorize(compact[label]) for label in labels]
        tiles = []
        for name, picture in zip(PANELS, [*panels, *pictures], strict=True):
            height = round(picture.shape[0] * _WIDTH / picture.shape[1])
            tile = cv2.resize(picture, (_WIDTH, height), interpolation=cv2.INTER_AREA)
            text_line(tile, f"no {name}" if picture is blank else name, (6, 16))
            tiles.append(tile)
        lines.append(np.concatenate(tiles, axis=1))
    if words is not None:
        names = [words.names[place - 1] for place in present]
        lines.append(legend(names, lines[0].shape[1]))
    return np.concatenate(lines)
