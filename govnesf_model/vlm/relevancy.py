"""`govnesf relevancy`: where in an image are the things that texts name?

    govnesf relevancy kitchen.jpg --text mug --text "red cabinet" --vlm embedded --out out

For every image NAME.npz with `scores` float16 [T, h, w] at the image's resolution, the probability
of each text against the other texts and the contrast words, and NAME.png, the scores over the
image.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from govnesf_model.segmentation import score_features, upsample_scores
from govnesf_model.vlm import VLM_HELP, DenseEncoder, coverage_warning, load_vlm


def relevancy(
    vlm: DenseEncoder,
    rgb: UInt8[np.ndarray, "h w 3"],
    texts: Sequence[str],
    contrast: Sequence[str] = (),
) -> Float[Tensor, "t h w"]:
    """Return the probability of each text at each pixel of an RGB image.

    An image longer than the encoder's `long_side` is scaled down to it before it is encoded.

    Args:
        vlm: the encoder.
        rgb: the image.
        texts: what is looked for; they compete with each other.
        contrast: words to score against besides the encoder's own.
    """
    small = _scaled_down(rgb, vlm.long_side)
    image = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255.0
    features = vlm.encode_images(image)[0].permute(1, 2, 0)  # [hs, ws, d]
    rows = vlm.encode_texts([*texts, *vlm.contrast_for(texts, contrast)])
    wanted, others = rows.split([len(texts), len(rows) - len(texts)])
    scores = score_features(features.flatten(0, 1), wanted, others, vlm.logit_scale)
    scores = scores.unflatten(0, features.shape[:2])
    scores = upsample_scores(scores, vlm.stride, small.shape[1], small.shape[0])
    if small is not rgb:
        shape = rgb.shape[:2]
        scores = F.interpolate(scores[None], shape, mode="bilinear", align_corners=False)[0]
    return scores.cpu()


def overlay(
    rgb: UInt8[np.ndarray, "h w 3"],
    scores: Float[Tensor, "t h w"],
    texts: Sequence[str],
    threshold: float,
) -> UInt8[np.ndarray, "_ _ 3"]:
    """Return a picture (RGB): the image and, beside it, each text's scores over the grey image.

    Pixels above the threshold are outlined in white; the caption names the highest score.
    """
    panels = [_captioned(rgb, "image")]
    gray = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    for text, score in zip(texts, scores.float().numpy(), strict=True):
        heat = cv2.applyColorMap((score.clip(0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
        strength = 0.25 + 0.55 * score.clip(0, 1)[..., None]
        panel = (gray * (1 - strength) + heat[..., ::-1] * strength).astype(np.uint8)
        mask = (score >= threshold).astype(np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(panel, outlines, -1, (255, 255, 255), max(1, len(rgb) // 240))
        panels.append(_captioned(panel, f"{text}  max {score.max():.2f}"))
    columns = min(3, len(panels))
    while len(panels) % columns:
        panels.append(np.zeros_like(panels[0]))
    rows = [np.hstack(panels[i : i + columns]) for i in range(0, len(panels), columns)]
    return np.vstack(rows)


def add_relevancy_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("relevancy", help="score texts in images")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument("--text", action="append", required=True, dest="texts", metavar="T")
    parser.add_argument("--contrast", action="append", default=[], metavar="C")
    parser.add_argument("--vlm", default="embedded", help=VLM_HELP)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--out", type=Path, required=True, help="folder for .npz and .png")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 when every image was scored."""
    vlm = load_vlm(args.vlm, args.device)
    for coverage in vlm.coverage(args.texts):
        warning = coverage_warning(coverage)
        if warning:
            print(f"warning: {warning}", file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    names = _output_names(args.images)
    for path, name in zip(tqdm(args.images, unit="image"), names, strict=True):
        bgr = cv2.imread(str(path)) if path.is_file() else None
        if bgr is None:
            problem = "is no image that can be read" if path.is_file() else "does not exist"
            tqdm.write(f"error: {path} {problem}", file=sys.stderr)
            failed += 1
            continue
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        scores = relevancy(vlm, rgb, args.texts, args.contrast)
        np.savez_compressed(
            args.out / f"{name}.npz",
            scores=scores.half().numpy(),
            texts=np.array(args.texts),
            threshold=np.float32(vlm.default_threshold),
        )
        picture = overlay(rgb, scores, args.texts, vlm.default_threshold)
        cv2.imwrite(str(args.out / f"{name}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return 1 if failed else 0


def _scaled_down(
    rgb: UInt8[np.ndarray, "h w 3"], long_side: int | None
) -> UInt8[np.ndarray, "_ _ 3"]:
    height, width = rgb.shape[:2]
    factor = (long_side or np.inf) / max(height, width)
    if factor >= 1:
        return rgb
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def _output_names(images: Sequence[Path]) -> list[str]:
    """Return the stem of each image, with its folder's name where two would be the same."""
    stems = [path.stem for path in images]
    names: list[str] = []
    for path, stem in zip(images, stems, strict=True):
        name = stem if stems.count(stem) == 1 else f"{path.resolve().parent.name}_{stem}"
        while name in names:
            name += "_"
        names.append(name)
    return names


def _captioned(image: UInt8[np.ndarray, "h w 3"], caption: str) -> UInt8[np.ndarray, "_ _ 3"]:
    height = max(14, len(image) // 14)
    band = np.zeros((height, image.shape[1], 3), np.uint8)
    # OpenCV's fonts know ASCII alone.
    text = caption.encode("ascii", "replace").decode()
    cv2.putText(
        band,
        text,
        (4, int(height * 0.75)),
        cv2.FONT_HERSHEY_SIMPLEX,
        height / 34,
        (255, 255, 255),
        1,
        cv2.LINE_AA,
    )
    return np.vstack([band, image])
