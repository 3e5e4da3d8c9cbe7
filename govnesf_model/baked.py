"""Scores of texts kept in the surface itself, for many images of one map.

    baked = BakedScores(field, views, volume, text_features)
    baked.fill()                                    # optional: what the views see, ahead of time
    image = render_baked(baked, camera)             # image.color, image.depth, image.scores

What a surface means does not depend on where it is looked at from: the semantic weights never see
the viewing direction. So scores are blended once per point of a lattice of a few centimetres, when
a ray first comes by, and an image is density and a look-up. Colours are read from the one view that
looks most alike at each ray's heaviest sample, not blended from several: as sharp as that view,
with seams where two views differ. The scores hold for the very `views`, `volume` and texts that
they were made of; ask `fits` and make new ones when any of them is another.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .blending import Blend, Views, blend_color, blend_semantic, choose_views, project_text
from .cameras import Camera, feature_grid, pixel_rays
from .field import GovNesf, VolumeField
from .rendering import FAR, NEAR, RaySamples, RenderedImage, find_samples
from .sparse_lattice import SparseLattice

SPACING = 0.04  # metres between points of the lattice
FIRST_ROWS = 65536  # points that there is room for at first
RAYS = 4096  # looked for at a time
POINTS = 16384  # blended at a time


class BakedScores:
    """Scores at the points of a lattice over a volume, blended where they are first needed."""

    @torch.no_grad()
    def __init__(
        self,
        field: GovNesf,
        views: Views,
        volume: VolumeField,
        text_features: Float[Tensor, "t d"],
        spacing: float = SPACING,
    ) -> None:
        """Prepare; nothing is blended yet.

        Args:
            field, views, volume: the scene; the views with `ov`.
            text_features: unit features of the texts.
            spacing: metres between points of the lattice.

        Raises:
            ValueError: the field regresses features instead of blending views.
        """
        if not field.config.use_mjf:
            raise ValueError("scores are baked by blending views: this field was built without MJF")
        self.field, self.views, self.volume = field, views, volume
        self._text = text_features
        self._maps = project_text(views, text_features)
        self._lattice = SparseLattice(volume.grid.lower, volume.grid.upper, spacing)
        # Row 0 is of points that nobody asked for.
        self._scores = self._maps.new_zeros(FIRST_ROWS, len(text_features))

    def __len__(self) -> int:
        """Number of points that have scores."""
        return len(self._lattice)

    @property
    def bytes(self) -> int:
        """Memory held beside the scene's own."""
        tables = (self._scores, self._maps)
        held = sum(table.numel() * table.element_size() for table in tables)
        return held + self._lattice.bytes

    def fits(self, views: Views, volume: VolumeField, text_features: Float[Tensor, "t d"]) -> bool:
        """Tell whether the scores are those of these views, this volume and these texts."""
        same = views is self.views and volume is self.volume
        return same and torch.equal(text_features, self._text)

    @torch.no_grad()
    def fill(self, step: int = 4, near: float = NEAR, far: float = FAR) -> int:
        """Bake what the views themselves see, on every so many-th pixel; return how many points."""
        before, views = len(self), self.views
        uv = feature_grid(views.height // step, views.width // step, step, views.K.device)
        for K, pose in zip(views.K, views.T_world_camera, strict=True):
            origins, directions = pixel_rays(uv.reshape(-1, 2), K, pose)
            for o, d in zip(origins.split(RAYS), directions.split(RAYS), strict=True):
                found = find_samples(self.field, self.volume, o, d, near, far)
                self._rows(self._lattice.taps(found.at)[0])
        return len(self) - before

    def scores(self, found: RaySamples, rays: int) -> Float[Tensor, "r t"]:
        """Return the scores of rays; as `render_rays` renders them, up to the lattice."""
        whole = self._scores.new_zeros(rays, self._scores.shape[1])
        if len(found.ray) == 0:
            return whole
        index, weight = self._lattice.taps(found.at)
        rows = self._rows(index)
        weight = (weight * found.weight.unsqueeze(1)).to(self._scores.dtype)
        present, count = torch.unique_consecutive(found.ray, return_counts=True)
        first = (torch.cumsum(count, 0) - count) * rows.shape[1]
        summed = torch.nn.functional.embedding_bag(
            rows.flatten(),
            self._scores,
            first.to(rows.dtype),
            mode="sum",
            per_sample_weights=weight.flatten(),
        )
        return whole.index_copy(0, present, summed)

    def _rows(self, index: Int[Tensor, "n 8"]) -> Int[Tensor, "n 8"]:
        """Return where the scores of lattice points lie; those that lack any are blended."""
        rows = self._lattice.rows(index)
        lacking = rows == 0
        if bool(lacking.any()):
            self._bake(index[lacking].unique())
            rows = self._lattice.rows(index)
        return rows

    def _bake(self, index: Int[Tensor, "m"]) -> None:
        row = 1 + len(self._lattice)
        if row + len(index) > len(self._scores):
            size = max(row + len(index), 2 * len(self._scores))
            more = self._scores.new_zeros(size, self._scores.shape[1])
            more[:row] = self._scores[:row]
            self._scores = more
        for some in index.split(POINTS):
            points = self._lattice.positions(some)
            blend = self.field.blend(points, self.views, self.volume)
            scores = blend_semantic(blend, points, self.views, self._maps)
            self._scores[self._lattice.add(some).long()] = scores


@torch.no_grad()
def render_baked(
    baked: BakedScores,
    camera: Camera,
    near: float = NEAR,
    far: float = FAR,
    want_color: bool = True,
    chunk: int = RAYS,
) -> RenderedImage:
    """Render a view from baked scores; arguments as in `rendering.render_image`.

    Depth and opacity are those of `render_image`; scores are interpolated between lattice points,
    colours come from one view (see above).
    """
    origins, directions = camera.rays()
    parts = []
    for o, d in zip(
        origins.reshape(-1, 3).split(chunk), directions.reshape(-1, 3).split(chunk), strict=True
    ):
        found = find_samples(baked.field, baked.volume, o, d, near, far)
        color = _best_color(baked.views, found, d) if want_color else torch.zeros_like(o)
        parts.append((color, found.depth, found.opacity, baked.scores(found, len(o))))
    color, depth, opacity, scores = (torch.cat(column) for column in zip(*parts, strict=True))
    size = (camera.height, camera.width)
    return RenderedImage(
        color.view(*size, 3), depth.view(size), opacity.view(size), None, scores.view(*size, -1)
    )


def _best_color(
    views: Views, found: RaySamples, directions: Float[Tensor, "r 3"]
) -> Float[Tensor, "r 3"]:
    """Return what the best view of each ray shows where the ray has most of its weight."""
    count = len(directions)
    most = found.weight.new_zeros(count).scatter_reduce_(0, found.ray, found.weight, "amax")
    heavy = (found.weight == most[found.ray]).nonzero().squeeze(1)
    hit, points = found.ray[heavy], found.at[heavy]
    choice = choose_views(points, views, 1, directions[hit])
    one = choice.valid.float()
    seen = blend_color(Blend(choice.view, choice.valid, choice.uv, one, one), points, views)
    seen = torch.where(choice.valid, seen, views.mean_color)
    return seen.new_zeros(count, 3).index_copy_(0, hit, seen)
