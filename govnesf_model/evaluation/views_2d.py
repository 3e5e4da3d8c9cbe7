"""2D segmentation of held-back views (Table 1 of the paper).

matrix = label_views(scene, references, models, "govnesf", words, text, options)
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from tqdm import tqdm

from govnesf_model.baselines import LABELS_IMAGES, NEEDS_DEPTH, as_label, masking_of, with_method
from govnesf_model.data.posed_scene import Frame, PosedScene
from govnesf_model.evaluation.models import Models
from govnesf_model.evaluation.options import EvaluationOptions
from govnesf_model.evaluation.protocol import Vocabulary, labelled_targets
from govnesf_model.evaluation.references import Built, References, score_maps
from govnesf_model.evaluation.target_rays import camera_of, drawn_pixels, render_pixels
from govnesf_model.field import GovNesf
from govnesf_model.map_views import working_image
from govnesf_model.metrics import confusion_matrix
from govnesf_model.segmentation import upsample_scores
from govnesf_model.vlm.base import DenseEncoder


@torch.no_grad()
def label_views(
    scene: PosedScene,
    references: References,
    models: Models,
    method: str,
    words: Vocabulary,
    text: Float[Tensor, "t d"],
    options: EvaluationOptions,
) -> Int[np.ndarray, "k k"]:
    """Label the labelled target frames by a method and count against the truth.

    All pixels of the label images are counted, or those that `options.rays_per_view` draws.

    Args:
        scene: with classes and labelled target frames.
        references: of the scene.
        models: fields and encoder.
        method: one of `baselines.METHODS`.
        words: what to choose from.
        text: the features of its prompts.
        options: the protocol.

    Returns:
        The confusion matrix, "other" last.
    """
    network = built = table = None
    if method != "vlm_view":
        network = with_method(models.field, method, models.distilled)
        built = references.build(network, method in NEEDS_DEPTH)
        table = score_maps(built.views, text)
    matrix = np.zeros((len(words.index) + 1,) * 2, np.int64)
    targets = labelled_targets(scene)
    for number in tqdm(targets, desc=f"{scene.name}: {method} 2d", unit="frame", leave=False):
        frame = scene[number]
        pixel = drawn_pixels(*frame.label.shape, options.rays_per_view, options.seed, number)
        if method in LABELS_IMAGES:
            image = _seen_image(frame, options, network, built, text.device)
            scores = image_scores(models.vlm, image, text, frame.label.shape)
            scores = scores if pixel is None else scores[torch.from_numpy(pixel).to(scores.device)]
        elif pixel is None:
            scores = _rendered_scores(frame, options, network, built, table, text, method)
        else:
            # Drawn pixels are rays of the full image: there is nothing to be interpolated.
            camera = camera_of(frame.K, frame.T_world_camera, *frame.label.shape[::-1], text.device)
            scores = render_pixels(
                network, built, camera, pixel, table, text, False, masking_of(method)
            ).scores
        predicted = as_label(scores, list(words.index)).cpu().numpy()
        truth = frame.label.reshape(-1)
        matrix += confusion_matrix(
            truth if pixel is None else truth[pixel],
            predicted,
            words.index,
            scene.ignore,
            scene.other,
        )
    return matrix


def image_scores(
    vlm: DenseEncoder,
    image: UInt8[np.ndarray, "h w 3"] | Float[Tensor, "h w 3"],
    text: Float[Tensor, "t d"],
    shape: tuple[int, int],
) -> Float[Tensor, "n t"]:
    """Return the encoder's scores for an image, at (height, width) `shape`, one row per pixel."""
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(image).to(text.device) / 255.0
    height, width = image.shape[:2]
    maps = vlm.encode_images(image.permute(2, 0, 1).unsqueeze(0))[0]
    scores = upsample_scores(maps.float().permute(1, 2, 0) @ text.T, vlm.stride, width, height)
    return _resized(scores, shape)


def rendered_image(
    frame: Frame, options: EvaluationOptions, network: GovNesf, built: Built, device: torch.device
) -> Float[Tensor, "h w 3"]:
    """Return the colours that a field renders for a frame, at the encoder's working width."""
    rgb, K, _ = working_image(frame, options.target_width)
    height, width = rgb.shape[:2]
    camera = camera_of(K, frame.T_world_camera, width, height, device)
    color = render_pixels(network, built, camera).color.clamp(0, 1).view(height, width, 3)
    if options.target_width == options.width:
        return color
    rows = round(frame.rgb.shape[0] * options.width / frame.rgb.shape[1])
    channels = color.permute(2, 0, 1).unsqueeze(0)
    wide = F.interpolate(channels, (rows, options.width), mode="bilinear", align_corners=False)
    return wide[0].permute(1, 2, 0)


def _seen_image(
    frame: Frame,
    options: EvaluationOptions,
    network: GovNesf | None,
    built: Built | None,
    device: torch.device,
) -> UInt8[np.ndarray, "h w 3"] | Float[Tensor, "h w 3"]:
    if network is None:
        return working_image(frame, options.width)[0]
    return rendered_image(frame, options, network, built, device)


def _rendered_scores(
    frame: Frame,
    options: EvaluationOptions,
    network: GovNesf,
    built: Built,
    table: Float[Tensor, "v hs ws t"],
    text: Float[Tensor, "t d"],
    method: str,
) -> Float[Tensor, "n t"]:
    rgb, K, _ = working_image(frame, options.target_width)
    height, width = rgb.shape[:2]
    camera = camera_of(K, frame.T_world_camera, width, height, text.device)
    seen = render_pixels(
        network, built, camera, None, table, text, want_color=False, masking=masking_of(method)
    )
    return _resized(seen.scores.float().T.reshape(-1, height, width), frame.label.shape)


def _resized(scores: Float[Tensor, "t h w"], shape: tuple[int, int]) -> Float[Tensor, "n t"]:
    """Resize score maps, so that borders run between pixels and not along them."""
    fine = F.interpolate(scores.unsqueeze(0), shape, mode="bilinear", align_corners=False)
    return fine[0].flatten(1).T
