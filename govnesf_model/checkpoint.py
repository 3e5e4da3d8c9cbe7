"""Fields on disk: one safetensors file that holds the weights and the configuration.

field = load_field("small")                      # the shipped one, or a path
save_field(field, "runs/one/field.safetensors", {"steps": "4000"})
"""

from pathlib import Path

import torch

from .field import FieldConfig, GovNesf
from .onednn import use_onednn
from .resources import resource_dir
from .weights_file import WeightsFormat


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and what to do."""


FORMAT = WeightsFormat(
    "govnesf-field",
    1,
    "a field checkpoint",
    "copy or download it again, or give a file that save_field wrote",
    CheckpointError,
)


def load_field(name_or_path: str | Path = "small", device: str | torch.device = "cpu") -> GovNesf:
    """Load a field in eval mode.

    Args:
        name_or_path: the name of a shipped field ("small") or the path of a .safetensors file.
        device: "cpu", "cuda", ... or "auto" for a GPU when there is one.

    Raises:
        CheckpointError: no such file, or it is damaged, foreign, or from a newer version.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    path = field_path(name_or_path)
    metadata, tensors = FORMAT.read(path)
    try:
        field = GovNesf(FieldConfig.from_json(metadata["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has no usable configuration: {error}") from error
    wanted = field.state_dict()
    missing = sorted(set(wanted) - set(tensors))
    extra = sorted(set(tensors) - set(wanted))
    if missing or extra:
        raise CheckpointError(
            f"{path} does not fit its own configuration: {len(missing)} tensors missing "
            f"({', '.join(missing[:3])}), {len(extra)} too many ({', '.join(extra[:3])}); "
            "save it again with save_field"
        )
    for key, tensor in tensors.items():
        if tensor.shape != wanted[key].shape:
            raise CheckpointError(
                f"{path} holds {key} of shape {tuple(tensor.shape)}, its configuration says "
                f"{tuple(wanted[key].shape)}; save it again with save_field"
            )
    field.load_state_dict(tensors)  # copies into float32 parameters
    field = field.to(device).eval()
    if field.device.type == "cuda":
        # Half precision convolutions of GPUs want channels last.
        field.encoder.to(memory_format=torch.channels_last)
        if field.stereo is not None:
            field.stereo.to(memory_format=torch.channels_last)
        field.unet.to(memory_format=torch.channels_last_3d)
    use_onednn(field)
    return field


def save_field(
    field: GovNesf,
    path: str | Path,
    notes: dict[str, str] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a field; an existing file is replaced in one step.

    Args:
        field: any field.
        path: the .safetensors file to write; its folder is made.
        notes: what to remember with the weights: steps, data, metrics.
        dtype: of the stored floating-point weights; float16 halves the file.
    """
    path = Path(path)
    tensors = {
        key: (value.to(dtype) if value.is_floating_point() else value).cpu()
        for key, value in field.state_dict().items()
    }
    FORMAT.write(path, tensors, {**(notes or {}), "config": field.config.to_json()})
    return path


def read_notes(name_or_path: str | Path) -> dict[str, str]:
    """Return the metadata of a field without building it.

    Raises:
        CheckpointError: as `load_field`.
    """
    return FORMAT.read(field_path(name_or_path))[0]


def field_path(name_or_path: str | Path) -> Path:
    """Return the file of a shipped field by name, or the path itself.

    Raises:
        CheckpointError: there is no such file.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise CheckpointError(f"there is no field checkpoint at {path}: check the path")
    shipped = resource_dir("weights") / f"field_{name_or_path}" / "model.safetensors"
    if not shipped.is_file():
        present = sorted(
            p.parent.name[6:] for p in shipped.parent.parent.glob("field_*/*.safetensors")
        )
        raise CheckpointError(
            f"there is no field checkpoint named {str(name_or_path)!r}: shipped are "
            f"{', '.join(present) or 'none'}; or give the path of a .safetensors file"
        )
    return shipped
