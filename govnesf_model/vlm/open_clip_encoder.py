"""`open_clip:MODEL/PRETRAINED`: an OpenCLIP model as a dense encoder.

    vlm = load_vlm("open_clip:ViT-B-16/laion2b_s34b_b88k")
    vlm = load_vlm("open_clip:ViT-B-16/weights/vitb16.safetensors?attention=naclip&window=448")

How places get features: open_clip_towers.py; how files are found and read: open_clip_weights.py.
docs/encoders.md tells users about the options.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from govnesf_model.cameras import sample_map
from govnesf_model.vlm.base import (
    TextCoverage,
    all_covered,
    as_images,
    digest_of,
    encoder_key,
)
from govnesf_model.vlm.open_clip_towers import Tower, tower_of
from govnesf_model.vlm.open_clip_weights import (
    NORMALIZATIONS,
    OPENAI_EXTRAS,
    Normalization,
    build,
    download,
    fill,
    find_pretrained,
    read_weights,
    tokenizer_of,
)
from govnesf_model.vlm.open_contrast import DEFAULT_CONTRAST, contrast_words
from govnesf_model.vlm.prompted_texts import PromptedTexts
from govnesf_model.vlm.prompts import templates
from govnesf_model.vlm.sliding_window import encode_in_windows
from govnesf_model.vlm.spec import parse_spec

RECIPE = 1  # raise it when the same options and weights would give other features
LONG_SIDE = 640  # pixels; windows of a few hundred pixels still show whole things in it
MAX_SIDE = 8192  # pixels after resizing; beyond it a slip of the pen, not an image


@dataclass(frozen=True)
class OpenClipOptions:
    """What may follow the argument as `?option=value&option=value`.

    Attributes:
        attention: maskclip, naclip, sclip or clearclip: open_clip_attention.py.
        block: residual and feed-forward part of the last block: "whole" keeps them, "bare" leaves
            them out, "auto" does as the attention's paper.
        window: side of the sliding window in pixels, "auto" (the training size, at least 336) or
            "none" (images are encoded as a whole).
        overlap: least share that neighbouring windows have in common.
        resize: short side, in pixels, that images are scaled to before encoding; 0 keeps them.
        stride: pixels of the given image per cell of the answer; 0 is the model's own.
        templates: none, photo, small or imagenet: prompts.py.
        precision: "auto" (fp16 on a GPU, fp32 on a CPU), "fp32", "fp16", "bf16".
        normalization: "auto" (what the tag, or an open_clip_config.json beside the file, states;
            else OpenAI's), or one of NORMALIZATIONS.
        logit_scale: inverse temperature of the scores; 0 is the model's own.
    """

    attention: str = "maskclip"
    block: str = "auto"
    window: str = "auto"
    overlap: float = 0.33
    resize: int = 0
    stride: int = 0
    templates: str = "small"
    precision: str = "auto"
    normalization: str = "auto"
    logit_scale: float = 0.0

    def __post_init__(self) -> None:
        if self.window not in ("auto", "none") and not (
            self.window.isascii() and self.window.isdigit() and int(self.window) > 0
        ):
            raise ValueError(f"window={self.window} must be auto, none or a number of pixels")
        if not 0 <= self.overlap <= 0.9:
            raise ValueError(f"overlap={self.overlap} must lie between 0 and 0.9")
        if not 0 <= self.resize <= MAX_SIDE:
            raise ValueError(f"resize={self.resize} must lie between 0 and {MAX_SIDE} pixels")
        if self.stride < 0:
            raise ValueError(f"stride={self.stride} must be 0 (the model's own) or more")
        if not 0 <= self.logit_scale < float("inf"):
            raise ValueError(f"logit_scale={self.logit_scale} must be 0 (the model's own) or more")
        if self.normalization != "auto" and self.normalization not in NORMALIZATIONS:
            raise ValueError(
                f"there is no normalization={self.normalization}: choose one of auto, "
                f"{', '.join(NORMALIZATIONS)}"
            )


class OpenClipEncoder:
    """A `DenseEncoder` (base.py)."""

    default_threshold = 0.5  # more likely than all contrast words together
    default_contrast = DEFAULT_CONTRAST

    def __init__(
        self,
        name: str,
        key: str,
        tower: Tower,
        texts: PromptedTexts,
        options: OpenClipOptions,
        normalization: Normalization,
        logit_scale: float,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.name = name
        self.key = key
        self.tower = tower
        self.texts = texts
        self.options = options
        self.dim = texts.dim
        self.stride = options.stride or tower.stride
        # With `resize` images are scaled here, from all their pixels.
        self.long_side = None if options.resize else LONG_SIDE
        self.logit_scale = options.logit_scale or logit_scale
        self.dtype = dtype
        self.device = device
        self._mean, self._std = (
            torch.tensor(values, device=device).view(3, 1, 1) for values in normalization
        )

    @torch.no_grad()
    def encode_images(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hs ws"]:
        """Return unit-norm features of RGB images in 0..1, of any size, at `stride`.

        Borders are replicated, right and below, up to a whole cell.
        """
        height, width = rgb.shape[-2:]
        images = self._scaled(as_images(rgb, self.device))
        scaled = images.shape[-2:]
        below, right = (-side % self.tower.stride for side in scaled)
        images = F.pad((images - self._mean) / self._std, (0, right, 0, below), mode="replicate")
        with self._cast():
            features = encode_in_windows(
                self.tower, images, self.tower.stride, self._window(images), self.options.overlap
            )
        if scaled == (height, width) and self.stride == self.tower.stride:
            return features
        return self._at_stride(features, (height, width), scaled)

    @torch.no_grad()
    def encode_whole(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Return one unit-norm feature an image, as open_clip's `encode_image` gives it.

        Args:
            rgb: images in 0..1 whose sides are multiples of the model's own stride.
        """
        images = (rgb.to(self.device, torch.float32) - self._mean) / self._std
        with self._cast():
            return F.normalize(self.tower.global_feature(images).float(), dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """Return unit-norm features of texts, the mean over the templates."""
        return self.texts.encode(texts).to(self.device)

    def coverage(self, texts: Sequence[str]) -> list[TextCoverage]:
        """Return that every text is covered: there is no list of taught names."""
        return all_covered(texts)

    def contrast_for(self, texts: Sequence[str], extra: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the words to score texts against: see open_contrast.py."""
        return contrast_words(texts, extra)

    def _scaled(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 hr wr"]:
        if not self.options.resize:
            return images
        height, width = images.shape[-2:]
        factor = self.options.resize / min(height, width)
        size = [max(1, round(side * factor)) for side in (height, width)]
        if size == [height, width]:
            return images
        if max(size) > MAX_SIDE:
            raise ValueError(
                f"resize={self.options.resize} makes {width}x{height} pixels {size[1]}x{size[0]}: "
                f"no side may be longer than {MAX_SIDE}"
            )
        # Bicubic with antialiasing, as in CLIP's own preprocessing; it overshoots.
        images = F.interpolate(images, size=size, mode="bicubic", antialias=True)
        return images.clamp(0, 1)

    def _window(self, images: Float[Tensor, "b 3 h w"]) -> int:
        if self.options.window == "none" or (
            self.options.window == "auto" and self.tower.native is None
        ):
            return max(images.shape[-2:])
        if self.options.window == "auto":
            return max(self.tower.native, 336)
        return int(self.options.window)

    def _at_stride(
        self, features: Float[Tensor, "b d hp wp"], size: tuple[int, int], scaled: Sequence[int]
    ) -> Float[Tensor, "b d hs ws"]:
        """Sample a map of the scaled image at the cells that are promised for the given image.

        Cell i lies at u = s i + (s - 1) / 2, which is (u + 0.5) scaled / size - 0.5 in the scaled
        image.
        """
        s = self.stride
        rows, columns = (
            (torch.arange(-(-full // s), device=features.device) + 0.5) * s * part / full - 0.5
            for full, part in zip(size, scaled, strict=True)
        )
        v, u = torch.meshgrid(rows, columns, indexing="ij")
        uv = torch.stack([u, v], dim=-1).flatten(0, 1).expand(len(features), -1, -1)
        sampled = sample_map(features, uv, self.tower.stride)  # [b, n, d]
        sampled = sampled.transpose(1, 2).unflatten(-1, (len(rows), len(columns)))
        return F.normalize(sampled, dim=1)

    def _cast(self) -> AbstractContextManager:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def load_open_clip(argument: str, device: torch.device | str = "cpu") -> OpenClipEncoder:
    """Load `MODEL/PRETRAINED?options`.

    Args:
        argument: PRETRAINED is a tag of open_clip or a path; options are OpenClipOptions.
        device: where it runs.

    Raises:
        ValueError: no such model, tag or option; a model without dense features; weights that do
            not fit or cannot be read safely.
        FileNotFoundError: weights that are not there or could not be downloaded.
    """
    defaults = {field.name: field.default for field in fields(OpenClipOptions)}
    path, values = parse_spec(argument, defaults)
    options = OpenClipOptions(**values)
    device = torch.device(device)
    dtype = _dtype(options.precision, device)
    chosen = templates(options.templates)

    pretrained = find_pretrained(path)
    state = read_weights(pretrained.file) if pretrained.file is not None else {}
    quick_gelu = pretrained.quick_gelu or OPENAI_EXTRAS[0] in state
    model, config = build(pretrained.model, quick_gelu)
    # Whether the model can be used is known before its weights are downloaded.
    tower = tower_of(pretrained.model, model.visual, options.attention, options.block)
    tokenizer = tokenizer_of(pretrained.model)
    if pretrained.file is None:
        pretrained = download(pretrained)
        state = read_weights(pretrained.file)
    weights = fill(model, state, pretrained)
    model.to(device)

    stated = pretrained.normalization or NORMALIZATIONS["openai"]
    normalization = NORMALIZATIONS.get(options.normalization, stated)
    of_texts = digest_of(weights, config, chosen)
    return OpenClipEncoder(
        name=f"open_clip:{argument}",
        key=encoder_key("open_clip", RECIPE, of_texts, normalization, str(dtype), asdict(options)),
        tower=tower,
        texts=PromptedTexts(
            model, tokenizer, chosen, config["embed_dim"], f"open_clip-{of_texts[:16]}"
        ),
        options=options,
        normalization=normalization,
        logit_scale=float(model.logit_scale.exp()),
        dtype=dtype,
        device=device,
    )


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    known = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    if precision == "auto":
        # fp16 keeps three bits more than bf16: scores multiply cosines by about 100. What could
        # overflow, the sums along the blocks, stays fp32 under autocast.
        return torch.float16 if device.type == "cuda" else torch.float32
    if precision not in known:
        raise ValueError(f"there is no precision={precision}: choose auto, {', '.join(known)}")
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision=fp16 needs a GPU: leave the option away to compute in fp32")
    return known[precision]
