"""The encoder that is always there: small, offline, trained on rendered rooms.

    vlm = load_vlm("embedded")                    # the shipped checkpoint
    vlm = load_vlm("embedded:my/model.safetensors")

Images go through EfficientNet-Lite0 with a decoder at stride 4 (embedded_network.py), texts
through all-MiniLM-L6-v2 (text.py); both end in MiniLM's 384 dimensions. One safetensors file holds
the network in half precision, the taught words, and in its metadata all else that goes with them.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from govnesf_model.onednn import use_onednn
from govnesf_model.vlm.base import TextCoverage, as_images, encoder_key, tensors_digest
from govnesf_model.vlm.contrast import Vocabulary
from govnesf_model.vlm.embedded_network import STRIDE, EmbeddedConfig, EmbeddedNetwork
from govnesf_model.vlm.text import MiniLM
from govnesf_model.weights_file import WeightsFormat


class CheckpointError(ValueError):
    """A file that is no checkpoint of the embedded encoder, or a damaged one."""


FORMAT = WeightsFormat(
    "govnesf-embedded",
    1,
    "a checkpoint of the embedded encoder",
    "give a file that `govnesf vlm train embedded` wrote",
    CheckpointError,
)


@dataclass(frozen=True)
class EmbeddedSettings:
    """What belongs to trained weights besides the network.

    Attributes:
        logit_scale: inverse temperature of the scores.
        default_threshold: probability from which on a text counts as found.
        default_contrast: words that stand for "something else".
        covered_from: cosine to a taught text from which on a query is covered.
        training: free-form record of how the weights came about.
    """

    logit_scale: float = 20.0
    default_threshold: float = 0.5
    default_contrast: tuple[str, ...] = ("wall", "floor", "ceiling", "other", "background")
    covered_from: float = 0.9
    training: dict | None = None


class EmbeddedEncoder:
    """A `DenseEncoder` (base.py) on the CPU or a GPU."""

    stride = STRIDE
    long_side = 480

    def __init__(
        self,
        network: EmbeddedNetwork,
        vocabulary: Vocabulary,
        settings: EmbeddedSettings,
        device: torch.device | str = "cpu",
        name: str = "embedded",
    ) -> None:
        self.device = torch.device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)
        use_onednn(self.network)
        self.vocabulary = vocabulary
        self.settings = settings
        self.text = MiniLM()
        self.name = name
        self.key = encoder_key(name, tensors_digest(network.state_dict()), asdict(network.config))
        self.dim = network.config.dim
        self.logit_scale = settings.logit_scale
        self.default_threshold = settings.default_threshold
        self.default_contrast = settings.default_contrast

    @torch.no_grad()
    def encode_images(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hs ws"]:
        """Return unit-norm features at stride 4 of RGB images in 0..1, of any size.

        Objects look as in training when the image is about 320 pixels wide; scale larger ones down.
        """
        return F.normalize(self.network(as_images(rgb, self.device)), dim=1)

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """Return unit-norm features of texts, on the encoder's device."""
        return self.text.encode(texts).to(self.device)

    def coverage(self, texts: Sequence[str]) -> list[TextCoverage]:
        """Return the nearest taught text of each text ("red cabinet" is asked as "cabinet")."""
        return self.vocabulary.coverage(texts, self.text.encode)

    def contrast_for(self, texts: Sequence[str], extra: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the words to score texts against: see contrast.py."""
        return self.vocabulary.contrast(texts, self.default_contrast, extra, self.text.encode)


def load_embedded(path: str | Path, device: torch.device | str = "cpu") -> EmbeddedEncoder:
    """Load a checkpoint.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: damaged, of another kind, or of a version that this code does not know.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"no checkpoint of the embedded encoder at {path}: give the path of a .safetensors "
            "file that `govnesf vlm train embedded` wrote"
        )
    metadata, tensors = FORMAT.read(path)
    try:
        encoder = _assemble(metadata, tensors, device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not fit the network it describes: {error}") from error
    encoder.network.fuse()  # after its key was taken from the weights as they are stored
    return encoder


def save_embedded(
    path: str | Path, network: EmbeddedNetwork, vocabulary: Vocabulary, settings: EmbeddedSettings
) -> None:
    """Write a checkpoint in half precision, under another name first.

    Raises:
        ValueError: a weight is not finite in half precision.
    """
    tensors = {"taught.features": vocabulary.features.half()}
    for name, value in network.state_dict().items():
        if not value.is_floating_point():
            continue  # counters of the norms
        half = value.detach().cpu().half()
        if not half.isfinite().all():
            raise ValueError(f"weight {name} is not finite in half precision: training diverged")
        tensors[f"network.{name}"] = half
    metadata = {
        "text_encoder": "all-MiniLM-L6-v2",
        "config": json.dumps(asdict(network.config)),
        "settings": json.dumps(asdict(settings)),
        "names": json.dumps({name: list(texts) for name, texts in vocabulary.names.items()}),
        "attributes": json.dumps({kind: list(w) for kind, w in vocabulary.attributes.items()}),
        "texts": json.dumps(list(vocabulary.texts)),
    }
    FORMAT.write(Path(path), tensors, metadata)


def _assemble(
    metadata: dict[str, str], tensors: dict[str, Tensor], device: torch.device | str
) -> EmbeddedEncoder:
    network = EmbeddedNetwork(EmbeddedConfig(**json.loads(metadata["config"])))
    features = tensors.pop("taught.features").float()
    state = {name.removeprefix("network."): value.float() for name, value in tensors.items()}
    for name, value in network.state_dict().items():
        if not value.is_floating_point():
            state[name] = value
    network.load_state_dict(state, strict=True)
    settings = json.loads(metadata["settings"])
    settings["default_contrast"] = tuple(settings["default_contrast"])
    settings = EmbeddedSettings(**settings)
    texts = tuple(json.loads(metadata["texts"]))
    if features.shape != (len(texts), network.config.dim):
        raise ValueError(f"{len(texts)} taught texts but features of shape {tuple(features.shape)}")
    vocabulary = Vocabulary(
        names={name: tuple(others) for name, others in json.loads(metadata["names"]).items()},
        attributes={kind: tuple(w) for kind, w in json.loads(metadata["attributes"]).items()},
        texts=texts,
        features=F.normalize(features, dim=-1),
        covered_from=settings.covered_from,
    )
    return EmbeddedEncoder(network, vocabulary, settings, device)
