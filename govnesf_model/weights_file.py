"""Our own weight files: safetensors with a format, a version and a description in the metadata.

FORMAT = WeightsFormat("govnesf-field", 1, "a field", "save it again", CheckpointError)
FORMAT.write(path, tensors, {"config": ...})
metadata, tensors = FORMAT.read(path)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from govnesf_model.atomic_file import replacing


@dataclass(frozen=True)
class WeightsFormat:
    """One kind of file.

    Attributes:
        name: stated in every file of the kind.
        version: the newest that this code reads; it writes this one.
        holds: what such a file is, with its article, for messages.
        remedy: what to do about a file that is none, for messages.
        error: what reading raises.
    """

    name: str
    version: int
    holds: str
    remedy: str
    error: type[ValueError]

    def read(self, path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
        """Return metadata and tensors.

        Raises:
            ValueError: `error`; the file is damaged, of another kind or from a newer version.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                self._check(path, metadata)  # before tensors of who knows what size are read
                return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise self.error(
                f"{path} is damaged or no safetensors file ({error}): {self.remedy}"
            ) from error

    def write(self, path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        """Write a file; one that is there is replaced in one step, its folder is made."""
        stated = {**metadata, "format": self.name, "version": str(self.version)}
        contiguous = {name: value.contiguous() for name, value in tensors.items()}
        with replacing(path) as temporary:
            save_file(contiguous, temporary, metadata=stated)
            temporary.chmod(0o644)  # it was made for its owner's eyes alone

    def _check(self, path: Path, metadata: Mapping[str, str]) -> None:
        found = metadata.get("format")
        if found != self.name:
            stated = "not stated" if found is None else repr(found)
            raise self.error(
                f"{path} is not {self.holds} (its format is {stated}, expected {self.name!r}): "
                f"{self.remedy}"
            )
        version = metadata.get("version", "")
        if not version.isdigit() or int(version) > self.version:
            raise self.error(
                f"{path} has format version {version or 'unknown'}, this code reads up to "
                f"{self.version}: update govnesf_model, or {self.remedy}"
            )
