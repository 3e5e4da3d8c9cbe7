"""From `MODEL/PRETRAINED` to a loaded open_clip model.

PRETRAINED is a tag of open_clip (downloaded by it into its own cache when asked for) or the path of
a file. Files are read by this module, never by a free unpickler: `.safetensors`, or what
`torch.load(weights_only=True)` reads.
"""

import difflib
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

import govnesf_model.torchvision_guard  # noqa: F401  open_clip imports torchvision

# isort: split
from govnesf_model.vlm.base import tensors_digest

WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".npz")
EXAMPLE = "open_clip:ViT-B-16/laion2b_s34b_b88k"

# What OpenAI's archives hold besides weights; only these were written, and with QuickGELU.
OPENAI_EXTRAS = ("input_resolution", "context_length", "vocab_size")

# What readers raise on bytes that are not theirs.
_DAMAGED = (
    *(SafetensorError, OSError, RuntimeError, EOFError, LookupError),
    *(TypeError, ValueError, AttributeError),
)

Normalization = tuple[tuple[float, ...], tuple[float, ...]]

# Mean and standard deviation of the colours that published weights were trained with.
NORMALIZATIONS: dict[str, Normalization] = {
    "openai": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


@dataclass(frozen=True)
class Pretrained:
    """Where a model's weights come from and what belongs to them.

    Attributes:
        model: open_clip's name of the architecture.
        file: the weights, None until they are downloaded.
        tag: open_clip's entry for a tag, else None.
        label: the tag or the path, for messages.
        quick_gelu: the weights were trained with OpenAI's approximation of GELU.
        normalization: mean and standard deviation of the colours that they were trained with,
            None where nothing states them.
    """

    model: str
    file: Path | None
    tag: Mapping | None
    label: str
    quick_gelu: bool
    normalization: Normalization | None


def find_pretrained(argument: str) -> Pretrained:
    """Understand `MODEL/TAG` or `MODEL/PATH`; downloads nothing.

    Raises:
        ValueError: no such model, or no such tag.
        FileNotFoundError: no file at the path.
    """
    import open_clip

    model, _, weights = argument.partition("/")
    if not model:
        raise ValueError(f"open_clip: needs a model and its weights: write it like {EXAMPLE}")
    known = open_clip.list_models()
    if model not in known:
        lower = {name.lower(): name for name in known}
        near = [lower[n] for n in difflib.get_close_matches(model.lower(), lower, n=5, cutoff=0.4)]
        raise ValueError(
            f"open_clip has no model {model!r}: "
            + (f"did you mean {', '.join(near)}?" if near else f"write it like {EXAMPLE}")
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    tag = open_clip.get_pretrained_cfg(model, weights) if weights else {}
    file = None
    if not tag:
        file = Path(weights).expanduser()
        if not weights or (not file.exists() and not _looks_like_path(weights)):
            found = f"no weights {weights!r}" if weights else "to be told which weights"
            raise ValueError(
                f"{model} {'has' if weights else 'needs'} {found}: write "
                f"open_clip:{model}/TAG with one of the tags {', '.join(tags) or '(none)'}, or "
                f"open_clip:{model}/PATH with the path of a .safetensors, .pt or .bin file"
            )
        if not file.is_file():
            raise FileNotFoundError(
                f"there is no file {file} with weights of {model}: {_where_to_get(model, tags)}"
            )
        normalization, quick_gelu = _stated_beside(file)
    else:
        normalization, quick_gelu = _normalization(tag), bool(tag.get("quick_gelu"))
    return Pretrained(model, file, tag or None, weights, quick_gelu, normalization)


def download(pretrained: Pretrained) -> Pretrained:
    """Let open_clip fetch the weights of a tag into its cache, unless they are there.

    Raises:
        FileNotFoundError: they cannot be had; the sentence says what to get.
    """
    if pretrained.file is not None:
        return pretrained
    from open_clip.pretrained import download_pretrained

    try:
        return replace(pretrained, file=Path(download_pretrained(dict(pretrained.tag))))
    except Exception as error:  # whatever network, disk or hub client come up with
        reason = " ".join(str(error).split())[:200]
        raise FileNotFoundError(
            f"the weights {pretrained.label!r} of {pretrained.model} are not in open_clip's cache "
            f"and could not be downloaded ({type(error).__name__}: {reason}): "
            f"{_where_to_get(pretrained.model, [pretrained.label])}"
        ) from error


def build(model: str, quick_gelu: bool) -> tuple[nn.Module, dict]:
    """Return open_clip's model with random weights, and its configuration.

    Raises:
        ValueError: a kind of model that cannot be used, or that needs what is not installed.
    """
    import open_clip

    config = open_clip.get_model_config(model)
    if "multimodal_cfg" in config:
        raise ValueError(
            f"{model} cannot give dense features: it is a CoCa, whose attentional pooler mixes all "
            "places before the projection. Use a ViT with a class token such as ViT-B-16"
        )
    quick_gelu = quick_gelu or config.get("quick_gelu", False)
    arguments = {**config, "quick_gelu": quick_gelu}
    custom_text = arguments.pop("custom_text", False) or "hf_model_name" in config["text_cfg"]
    # Nothing but the weights asked for may be fetched.
    if "hf_model_name" in config["text_cfg"]:
        arguments["text_cfg"] = {**config["text_cfg"], "hf_model_pretrained": False}
    try:
        network = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**arguments)
    except (OSError, RuntimeError, ImportError) as error:
        raise ValueError(
            f"{model} cannot be built: {' '.join(str(error).split())[:300]}. Its text side may "
            "need a file from a model hub; ViT-B-16 and its like need none"
        ) from error
    return network.eval().requires_grad_(False), {**config, "quick_gelu": quick_gelu}


def tokenizer_of(model: str) -> Callable[[list[str]], Tensor]:
    """Return the model's tokenizer.

    Raises:
        FileNotFoundError: it has to come from a model hub and could not.
    """
    import open_clip

    try:
        return open_clip.get_tokenizer(model)
    except Exception as error:
        text = open_clip.get_model_config(model)["text_cfg"]
        raise FileNotFoundError(
            f"the tokenizer of {model}, {text.get('hf_tokenizer_name')!r} of the Hugging Face hub, "
            f"is not in its cache and could not be downloaded ({type(error).__name__}): connect "
            "once to a network, copy that cache here, or use a model such as ViT-B-16, whose "
            "tokenizer comes with open_clip"
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name, of OpenCLIP's training checkpoints too.

    Raises:
        ValueError: not a file of weights, damaged, or one that only a free unpickler could read.
    """
    if path.suffix == ".npz":
        raise ValueError(f"{path} is of big_vision's format: get the .safetensors of these weights")
    if path.suffix != ".safetensors" and _is_torchscript(path):
        raise ValueError(
            f"{path} is a TorchScript archive, as OpenAI published its weights: loading one runs "
            "code from the file. Convert it once, if you trust where it comes from: "
            'python -c "import torch; from safetensors.torch import save_file; save_file({k: '
            f"v.contiguous() for k, v in torch.jit.load('{path.name}', 'cpu').state_dict()"
            f".items()}}, '{path.stem}.safetensors')\""
        )
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors (or is damaged) and is not opened, since that could "
            "run code from the file: get the .safetensors of these weights"
        ) from error
    except _DAMAGED as error:
        raise ValueError(
            f"{path} is damaged or no file of weights "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    tensors = content if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"{path} holds no weights by name: expected a state dict of open_clip")
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def fill(network: nn.Module, state: dict[str, Tensor], pretrained: Pretrained) -> str:
    """Load weights strictly; return a digest of them, 64 hex digits.

    Raises:
        ValueError: they belong to another architecture.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    state = {name: value for name, value in state.items() if name not in OPENAI_EXTRAS}
    try:
        state = convert_state_dict(network, state)
        if not hasattr(network, "positional_embedding"):
            state = convert_to_custom_text_state_dict(state)
        for name in ("logit_scale", "logit_bias"):
            own = getattr(network, name, None)
            if own is not None and name in state:
                state[name] = state[name].reshape(own.shape)
        network.load_state_dict(state, strict=True)
    except (RuntimeError, KeyError) as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        raise ValueError(
            f"the weights {pretrained.file} do not fit {pretrained.model}: {lines[0][:160]}"
            f"{f' (and {len(lines) - 1} more)' if len(lines) > 1 else ''}: name the architecture "
            f"that they were trained for, like open_clip:ViT-L-14/{pretrained.label}"
        ) from error
    return tensors_digest(network.state_dict())


def _looks_like_path(text: str) -> bool:
    return "/" in text or text.startswith(("~", ".")) or text.lower().endswith(WEIGHT_SUFFIXES)


def _where_to_get(model: str, tags: list[str]) -> str:
    """Say where the weights of a model can be had and how to name the file."""
    import open_clip

    for tag in tags:
        entry = open_clip.get_pretrained_cfg(model, tag)
        if entry.get("hf_hub"):
            repository, _, name = entry["hf_hub"].rpartition("/")
            name = name or "open_clip_model.safetensors"
            source = f"{name} from https://huggingface.co/{repository}"
        elif entry.get("url"):
            source = entry["url"]
        else:
            continue
        # Of a file alone, activation and normalization cannot be told.
        quick = entry.get("quick_gelu") and f"{model}-quickgelu" in open_clip.list_models()
        stated = _normalization(entry)
        named = [name for name, known in NORMALIZATIONS.items() if known == stated]
        option = f"?normalization={named[0]}" if named and named[0] != "openai" else ""
        return (
            f"get {source} ({tag}) on a machine with a network, put it anywhere here and give "
            f"--vlm open_clip:{model}{'-quickgelu' if quick else ''}/PATH{option}"
        )
    return f"give the path of a .safetensors, .pt or .bin file as open_clip:{model}/PATH"


def _stated_beside(file: Path) -> tuple[Normalization | None, bool]:
    """Return normalization and QuickGELU of the open_clip_config.json that weights come with."""
    config = file.parent / "open_clip_config.json"
    if not config.is_file():
        return None, False
    try:
        content = json.loads(config.read_text())
        quick_gelu = bool(content.get("model_cfg", {}).get("quick_gelu"))
        return _normalization(content["preprocess_cfg"]), quick_gelu
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise ValueError(
            f"{config} cannot be read ({type(error).__name__}: {error}): mend it, or move the "
            "weights away from it"
        ) from error


def _normalization(entry: Mapping) -> Normalization | None:
    if not (entry.get("mean") and entry.get("std")):
        return None
    mean, std = (tuple(float(value) for value in entry[name]) for name in ("mean", "std"))
    return mean, std


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
