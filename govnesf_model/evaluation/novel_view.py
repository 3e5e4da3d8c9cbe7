"""Colours and depth of held-back views (Table 3 of the paper).

figures, notes = measure_views(scene, references, models, "govnesf", options)
"""

import numpy as np
import torch
from tqdm import tqdm

from govnesf_model.baselines import NEEDS_DEPTH, masking_of, with_method
from govnesf_model.data.posed_scene import PosedScene
from govnesf_model.evaluation.models import Models
from govnesf_model.evaluation.options import EvaluationOptions
from govnesf_model.evaluation.perceptual import load_lpips
from govnesf_model.evaluation.references import References
from govnesf_model.evaluation.target_rays import camera_of, drawn_pixels, render_pixels
from govnesf_model.map_views import working_image
from govnesf_model.metrics import psnr, ssim

_OPAQUE = 0.5  # rays below have no depth worth comparing


@torch.no_grad()
def measure_views(
    scene: PosedScene,
    references: References,
    models: Models,
    method: str,
    options: EvaluationOptions,
) -> tuple[dict[str, float], list[str]]:
    """Render the target frames and compare them with the images and with measured depth.

    Returns:
        psnr (dB), ssim and lpips, means over views; with depth also depth_median_error (metres,
        over the pixels of all views) and opaque, the share of pixels that it is about. And
        sentences about figures that were left out.
    """
    network = with_method(models.field, method, models.distilled)
    built = references.build(network, method in NEEDS_DEPTH)
    device = built.views.rgb.device
    whole, notes, lpips = options.rays_per_view == 0, [], None
    if whole:
        lpips, note = load_lpips(device)
        notes = [note] if note else []
    else:
        notes.append(
            "ssim and lpips are left out: they need whole views, and --rays-per-view draws pixels"
        )
    rows: dict[str, list[float]] = {"psnr": [], "ssim": [], "lpips": []}
    errors, opaque = [], []
    for index in tqdm(scene.target, desc=f"{scene.name}: {method} nvs", unit="frame", leave=False):
        frame = scene[index]
        rgb, K, depth = working_image(frame, options.target_width)
        height, width = rgb.shape[:2]
        pixel = drawn_pixels(height, width, options.rays_per_view, options.seed, index)
        camera = camera_of(K, frame.T_world_camera, width, height, device)
        seen = render_pixels(network, built, camera, pixel, masking=masking_of(method))
        truth = torch.from_numpy(rgb).to(device).view(-1, 3) / 255.0
        truth = truth if pixel is None else truth[torch.from_numpy(pixel).to(device)]
        color = seen.color.clamp(0, 1)
        rows["psnr"].append(psnr(color.unsqueeze(0), truth.unsqueeze(0)))
        if whole:
            pair = color.view(height, width, 3), truth.view(height, width, 3)
            rows["ssim"].append(ssim(*pair))
            if lpips is not None:
                rows["lpips"].append(lpips(*pair))
        if depth is not None:
            measured = depth.reshape(-1) if pixel is None else depth.reshape(-1)[pixel]
            known = measured > 0
            hit = known & (seen.opacity.cpu().numpy() > _OPAQUE)
            errors.append(np.abs(seen.depth.cpu().numpy() - measured)[hit])
            opaque.append((hit.sum(), known.sum()))
    figures = {name: float(np.mean(values)) for name, values in rows.items() if values}
    if errors and sum(map(len, errors)):
        figures["depth_median_error"] = float(np.median(np.concatenate(errors)))
        hits, known = np.sum(opaque, axis=0)
        figures["opaque"] = float(hits / known)
    return figures, notes
