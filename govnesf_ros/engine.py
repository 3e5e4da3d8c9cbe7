"""The models and the map behind the node, loaded with a word about each step.

engine = load_engine(settings, log=node.get_logger().info)
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import govnesf_model  # noqa: F401, before torch: it tells OpenMP's threads how to wait
from govnesf_ros.parameters import MapperSettings

if TYPE_CHECKING:
    from govnesf_model.scene_map import SceneMap
    from govnesf_model.vlm import DenseEncoder


@dataclass(frozen=True)
class Engine:
    """What is loaded.

    Attributes:
        model: names of field and encoder, for people.
        device: where they run.
    """

    scene_map: "SceneMap"
    vlm: "DenseEncoder"
    model: str
    device: str


def load_engine(settings: MapperSettings, log: Callable[[str], object]) -> Engine:
    """Load torch, the field and the encoder; import them here, so that the node starts at once.

    Raises:
        ValueError, FileNotFoundError: weights that are missing or cannot be used; the message says
            which and what to do.
    """
    with _Step(log, "importing torch"):
        import torch

        from govnesf_model.checkpoint import load_field
        from govnesf_model.scene_map import MapConfig, SceneMap
        from govnesf_model.vlm import load_vlm
    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)
    device = pick_device(settings.device)
    with _Step(log, f"loading the field '{settings.checkpoint}' on {device}"):
        field = load_field(settings.checkpoint, device)
    with _Step(log, f"loading the encoder '{settings.vlm}' on {device}"):
        vlm = load_vlm(settings.vlm, device)
        vlm.encode_texts(["warm-up"])
    config = MapConfig(
        max_keyframes=settings.max_keyframes,
        memory_mib=float(settings.memory_mib),
        min_translation=settings.min_translation,
        min_rotation=settings.min_rotation,
        min_interval=settings.min_interval,
        image_width=settings.image_width,
        voxel_size=settings.voxel_size,
        max_depth=settings.max_depth,
        use_depth=settings.depth != "off",
    )
    scene_map = SceneMap(field, vlm, config, device)
    return Engine(scene_map, vlm, f"{settings.checkpoint} + {settings.vlm}", device)


def pick_device(wanted: str) -> str:
    """Return a torch device for auto, cpu, cuda or cuda:N.

    Raises:
        ValueError: no such device here.
    """
    import torch

    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ValueError(
            f"parameter 'device' is '{wanted}', expected auto, cpu or cuda:N"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"parameter 'device' is '{wanted}', but torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} GPUs: use device:=auto or install a CUDA build of torch"
        )
    return wanted


class _Step:
    """Logs what begins and how long it took."""

    def __init__(self, log: Callable[[str], object], what: str) -> None:
        self._log, self._what = log, what

    def __enter__(self) -> None:
        self._log(f"{self._what} ...")
        self._begin = perf_counter()

    def __exit__(self, failed: object, *_: object) -> None:
        if not failed:
            self._log(f"{self._what}: {perf_counter() - self._begin:.1f} s")
