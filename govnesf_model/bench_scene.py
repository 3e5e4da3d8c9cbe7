"""The scene that a benchmark measures on: a posed folder, or a room rendered for it.

with prepared(None, wanted=95, seed=7) as scene:          # renders a room
    bench = BenchScene.load(field, vlm, scene, wanted=95, measured=False)
    part = bench.part(30)                                 # views and volume of 30 views
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from .blending import Views
from .cameras import Camera, pixel_grid, unproject
from .cost_volume import VolumeGrid
from .data.posed_scene import PosedScene, open_scene
from .evidence import measured_surface
from .field import GovNesf, VolumeField
from .image_encoder import ImageFeatures
from .scene_tensors import SceneTensors, load_scene, spread
from .scene_volume import SceneVolume
from .stereo import Surface
from .surfaces import stereo_surfaces
from .train_data import seen_bounds
from .vlm.base import DenseEncoder

SIZE = (320, 240)
MARGIN = 0.2  # metres around what the views see that the volume covers as well
TEXTS = (
    "chair",
    "table",
    "sofa",
    "bed",
    "cabinet",
    "shelf",
    "lamp",
    "plant",
    "rug",
    "picture",
    "door",
    "window",
    "wall",
    "floor",
    "ceiling",
    "mug",
    "book",
    "bottle",
    "laptop",
    "cushion",
)


@dataclass
class Part:
    """The field of some of the views."""

    views: Views
    scene: SceneVolume
    volume: VolumeField


@dataclass
class BenchScene:
    """Views of a scene with all that encoders make of them.

    Attributes:
        field, vlm: that made it.
        source: where the images are from.
        tensors: the reference views.
        maps: the field's maps per view.
        surface: what each view believes to see.
        ov: open-vocabulary maps, float16, channel-last.
        grid: that holds what the views see.
        camera: of the view that is rendered, which is none of the reference views.
        truth: its image, 0..1.
        texts: twenty, the names of the scene's classes among them.
        text: their features.
        labels: number of the text that each pixel of the rendered view shows, -1 unknown; None
            where the scene has no labels.
        text_of: number of the text that stands for each of the scene's classes, -1 for none.
    """

    field: GovNesf
    vlm: DenseEncoder
    source: PosedScene
    tensors: SceneTensors
    maps: ImageFeatures
    surface: Surface | None
    ov: Float[Tensor, "v hs ws d"]
    grid: VolumeGrid
    camera: Camera
    truth: Float[Tensor, "H W 3"]
    texts: tuple[str, ...]
    text: Float[Tensor, "t d"]
    labels: Int[Tensor, "H W"] | None
    text_of: Int[Tensor, "classes"] | None = None

    @classmethod
    @torch.no_grad()
    def load(
        cls,
        field: GovNesf,
        vlm: DenseEncoder,
        source: PosedScene,
        wanted: int,
        measured: bool,
        size: tuple[int, int] = SIZE,
    ) -> "BenchScene":
        """Encode views of a scene.

        Args:
            field, vlm: the networks, on one device.
            source: the scene; one of its frames is held back, to be rendered.
            wanted: reference views at most, evenly spread.
            measured: take the scene's depth, where it has any, instead of matching views.
            size: width and height that images are brought to.

        Raises:
            ValueError: the scene has fewer than three frames.
        """
        if len(source) < 3:
            raise ValueError(f"{source.name} has {len(source)} frames: a benchmark needs three")
        chosen = spread(range(len(source)), wanted + 1)
        held = chosen[len(chosen) // 2]
        tensors = load_scene(source, size, [i for i in chosen if i != held]).to(field.device)
        target = load_scene(source, size, [held]).to(field.device)
        colors = tensors.colors()
        parts, ov = [], []
        for image in tqdm(colors.split(1), desc="encode", leave=False):
            parts.append(field.encode_images(image))
            ov.append(vlm.encode_images(image).permute(0, 2, 3, 1).half())
        surface = None
        if field.config.evidence_split and measured and tensors.depth is not None:
            surface = measured_surface(tensors.depth)
        elif field.stereo is not None:
            K, poses = tensors.K, tensors.T_world_camera
            surface = stereo_surfaces(field, colors, None, K, poses)
        lower, upper = seen_bounds(tensors, surface)
        texts, text_of = _texts_of(source, target)
        return cls(
            field,
            vlm,
            source,
            tensors,
            ImageFeatures(
                torch.cat([part.volume for part in parts]),
                torch.cat([part.query for part in parts]),
            ),
            surface,
            torch.cat(ov).contiguous(),
            VolumeGrid.around(lower - MARGIN, upper + MARGIN, field.config.voxel_size),
            Camera(target.K[0], target.T_world_camera[0], *size),
            target.colors()[0].permute(1, 2, 0),
            texts,
            vlm.encode_texts(texts).to(field.device),
            None if text_of is None else text_of[target.label[0].long()],
            text_of,
        )

    @torch.no_grad()
    def part(self, count: int) -> Part:
        """Return the field that so many of the views make."""
        rows = spread(range(len(self.tensors)), count)
        some = self.tensors.subset(rows)
        surface = None if self.surface is None else self.surface[rows]
        scene = self.field.empty_volume(self.grid)
        for row in rows:
            scene.add_view(*self.view_arguments(row))
        views = Views(
            rgb=some.colors(),
            query=self.maps.query[rows],
            K=some.K,
            T_world_camera=some.T_world_camera,
            depth=some.depth,
            ov=self.ov[rows],
            ov_stride=self.vlm.stride,
            surface=surface,
        )
        return Part(views, scene, self.field.volume_features(scene))

    def view_arguments(self, row: int) -> tuple:
        """Return what `SceneVolume.add_view` takes for a view."""
        return (
            self.maps.volume[row],
            self.tensors.K[row],
            self.tensors.T_world_camera[row],
            self.tensors.width,
            self.tensors.height,
            None if self.surface is None else self.surface[row : row + 1],
        )

    def surface_points(self, count: int, seed: int = 0) -> Float[Tensor, "n 3"]:
        """Return points that lie where the views believe a surface, drawn at random."""
        return self.labelled_points(count, seed)[0]

    def labelled_points(
        self, count: int, seed: int = 0
    ) -> tuple[Float[Tensor, "n 3"], Int[Tensor, "n"]]:
        """Return such points and the number of the text that each shows, -1 unknown."""
        device = self.tensors.K.device
        clouds, shown = [], []
        for view in range(len(self.tensors)):
            depth = self.tensors.depth[view] if self.surface is None else self.surface.depth[view]
            stride = round(self.tensors.width / depth.shape[1])
            pixel = pixel_grid(*depth.shape, device).reshape(-1, 2)
            uv = pixel * stride + (stride - 1) / 2
            flat = depth.reshape(-1).float()
            at = unproject(uv, flat, self.tensors.K[view], self.tensors.T_world_camera[view])
            clouds.append(at[flat > 0])
            label = torch.full_like(flat, -1, dtype=torch.long)
            if self.text_of is not None and self.tensors.label is not None:
                column, line = uv.long().unbind(1)
                label = self.text_of[self.tensors.label[view][line, column].long()]
            shown.append(label[flat > 0])
        cloud, label = torch.cat(clouds), torch.cat(shown)
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randint(len(cloud), (count,), generator=generator).to(device)
        jitter = 0.01 * torch.randn(count, 3, generator=generator).to(device)
        return cloud[rows] + jitter, label[rows]


def _texts_of(
    source: PosedScene, target: SceneTensors
) -> tuple[tuple[str, ...], Int[Tensor, "classes"] | None]:
    """Return the texts to score, and which of them stands for each class of the scene."""
    if target.label is None:
        return TEXTS, None
    shown = target.label[0].long()
    # Of many classes those that are seen: the others could only be mistaken for them.
    count = torch.bincount(shown.reshape(-1), minlength=256)
    numbers = [
        n for n in count.argsort(descending=True).tolist() if count[n] and n in source.classes
    ]
    numbers = [n for n in numbers if n not in source.ignore][: len(TEXTS)]
    names = [source.classes[n] for n in numbers]
    texts = tuple(dict.fromkeys([*names, *TEXTS]))[: len(TEXTS)]
    text_of = torch.full((256,), -1, dtype=torch.long, device=shown.device)
    text_of[numbers] = torch.arange(len(numbers), device=shown.device)
    return texts, text_of


@contextmanager
def prepared(folder: Path | None, wanted: int, seed: int = 7) -> Iterator[PosedScene]:
    """Open a scene, or render a room of as many views as are wanted, and one to hold back.

    Args:
        folder: any posed scene; None renders one into a temporary folder.
        wanted: reference views.
        seed: of the room.
    """
    if folder is not None:
        yield open_scene(folder)
        return
    # Rendering needs packages that a posed scene does not.
    from .data.synthetic.generate import Settings, generate_scene

    settings = Settings(views=wanted + 1, width=SIZE[0], height=SIZE[1], assets="procedural")
    with TemporaryDirectory(prefix="govnesf_bench_") as temporary:
        yield open_scene(generate_scene(Path(temporary) / "room", seed, "test", settings))
