"""The encoder `lseg:PATH`: LSeg ViT-L/16 with the weights that its authors publish.

    vlm = load_lseg("lseg.safetensors?recipe=openscene&stride=2", "cuda")
    vlm = load_lseg("demo_e200.ckpt", "cpu")

Options, after the path:

recipe = plain | openscene
    How the network is run over an image: see lseg_recipe.py. `plain` is for a robot, `openscene`
    for features like those that OpenScene distils, 12 times the work at 320x240 and more above.
stride = 4
    Pixels of the image per cell; a multiple of the recipe's own (plain 2, openscene 1). Cells of
    the recipe are averaged and brought to unit norm again. A map keeps tens of images, and with 512
    channels in half precision one of 640x480 takes 19.7 MB at stride 4, 78.6 MB at stride 2 and
    315 MB at stride 1.
prompt = bare | scene
    What is made of a text: itself, as LSeg's training fed its labels, or "a ... in a scene", as
    OpenScene evaluates; "other" always stays bare.
precision = fp32 | bf16 | fp16
    Of the image network's products, by autocast; features are single precision always. fp16 needs a
    GPU. In fp32 on a GPU, convolutions use TF32 unless torch.backends.cudnn.allow_tf32 is False.

The default threshold and contrast words are reasoned, not measured with trained weights: the
network was trained with exactly this softmax at this temperature, so that 0.5 means "more likely
than all else together".
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from govnesf_model.vlm.base import TextCoverage, all_covered, as_images, encoder_key
from govnesf_model.vlm.lseg_checkpoint import HOW_TO_GET, LSegWeights, read_weights
from govnesf_model.vlm.lseg_recipe import RECIPES, pool
from govnesf_model.vlm.lseg_text import tokenize
from govnesf_model.vlm.open_contrast import contrast_words
from govnesf_model.vlm.prompted_texts import PromptedTexts
from govnesf_model.vlm.spec import parse_spec

REVISION = 1  # of how images and texts are prepared here; part of the key
OPTIONS = {"recipe": "plain", "stride": 4, "prompt": "bare", "precision": "fp32"}
PROMPTS = {"bare": "{}", "scene": "a {} in a scene"}
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LOGIT_SCALE = 1 / 0.07  # a constant of the published network: it is not in the checkpoint
LONG_SIDE = 640  # pixels; trained on images of 520, and time and memory grow fast beyond
CONTRAST = ("other", "wall", "floor", "ceiling")


class LSegEncoder:
    """A `DenseEncoder` (base.py).

    Args:
        weights: see lseg_checkpoint.py.
        device: where the networks run.
        recipe, stride, prompt, precision: see the head of this file.

    Raises:
        ValueError: an option's value that does not exist or does not fit the others.
    """

    name = "lseg"
    long_side = LONG_SIDE
    logit_scale = LOGIT_SCALE
    default_threshold = 0.5
    default_contrast = CONTRAST

    def __init__(
        self,
        weights: LSegWeights,
        device: torch.device | str = "cpu",
        recipe: str = "plain",
        stride: int = 4,
        prompt: str = "bare",
        precision: str = "fp32",
    ) -> None:
        self.device = torch.device(device)
        _check_options(recipe, stride, prompt, precision, self.device)
        self.dim = weights.config.dim
        self.stride = stride
        self.recipe = RECIPES[recipe]
        self.precision = PRECISIONS[precision]
        self.network, text = weights.build(self.device)
        self.key = encoder_key(
            self.name, REVISION, weights.digest, recipe, stride, prompt, precision
        )
        self._template = PROMPTS[prompt]
        # Prompts are made here, because "other" has none; texts are cached by their whole sentence.
        cache = f"lseg-{weights.digest[:16]}"
        self._texts = PromptedTexts(text, tokenize, ("{}",), self.dim, cache)

    @torch.no_grad()
    def encode_images(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hs ws"]:
        """Return unit-norm features of RGB images in 0..1, of any size.

        OpenScene's sum of two unit features is brought to unit norm here, as everything that uses
        an encoder expects; lseg_recipe.py has the sum itself.
        """
        images = as_images(rgb, self.device)
        # One by one: the activations of an image are large, and a batch gains nothing from a
        # network of this size.
        return torch.cat([self._encode(image[None]) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """Return unit-norm features of texts, on the encoder's device."""
        return self._texts.encode([self._sentence(text) for text in texts]).to(self.device)

    def coverage(self, texts: Sequence[str]) -> list[TextCoverage]:
        """Return "covered" for every text: CLIP's text tower has no list of words."""
        return all_covered(texts)

    def contrast_for(self, texts: Sequence[str], extra: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the words to score texts against: see open_contrast.py."""
        return contrast_words(texts, extra, self.default_contrast)

    def _encode(self, image: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 d hs ws"]:
        with torch.autocast(
            self.device.type, dtype=self.precision, enabled=self.precision != torch.float32
        ):
            features = self.recipe.run(self.network, image)
        return F.normalize(pool(features.float(), self.stride // self.recipe.stride), dim=1)

    def _sentence(self, text: str) -> str:
        text = " ".join(text.split())
        return text if text.lower() == "other" else self._template.replace("{}", text)


def load_lseg(argument: str, device: torch.device | str = "cpu") -> LSegEncoder:
    """Load the encoder.

    Args:
        argument: path of the published checkpoint or of what `govnesf vlm convert lseg` made of it,
            with options behind it.
        device: where the networks run.

    Raises:
        FileNotFoundError: no such file; the message says where to get it.
        ValueError: no path, a wrong file, or an unknown option.
    """
    path, options = parse_spec(argument, OPTIONS)
    if not path:
        raise ValueError(f"lseg: needs the path of its weights: {HOW_TO_GET}")
    # Told before a gigabyte is read.
    _check_options(**options, device=torch.device(device))
    return LSegEncoder(read_weights(Path(path).expanduser()), device, **options)


def _check_options(
    recipe: str, stride: int, prompt: str, precision: str, device: torch.device
) -> None:
    for name, value, known in (
        ("recipe", recipe, RECIPES),
        ("prompt", prompt, PROMPTS),
        ("precision", precision, PRECISIONS),
    ):
        if value not in known:
            raise ValueError(f"lseg: there is no {name} {value!r}: choose {' or '.join(known)}")
    own = RECIPES[recipe].stride
    if stride < own or stride % own:
        raise ValueError(
            f"lseg: stride {stride} does not fit recipe {recipe}, whose own is {own}: choose a "
            f"multiple of {own}"
        )
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("lseg: precision fp16 needs a GPU: choose fp32 or bf16 on a CPU")
