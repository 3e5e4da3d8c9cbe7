"""Other ways to give a point its feature, with the same views and the same density as ours.

    field = with_method(field, "average")       # OpenScene-2D: the mean over all views that see it

`average` is a field whose blending weights are all equal, so everything that takes a field
(rendering, labelling) runs it unchanged and differences are those of the weights alone.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from govnesf_model.blending import Blend, Views, choose_views
from govnesf_model.field import GovNesf, VolumeField

METHODS = {
    "govnesf": "learned blending, colours and poses only",
    "govnesf_dgm": "learned blending with depth-guided masking",
    "average": "mean over the views that a point projects into (OpenScene-2D without depth)",
    "average_depth": "mean over the views whose depth agrees (OpenScene-2D)",
    "vlm_view": "the encoder on the true image of the view itself",
    "vlm_rendered": "the encoder on the image that the field renders",
}
NEEDS_DEPTH = ("govnesf_dgm", "average_depth")


class AverageField(GovNesf):
    """A field that weighs all views that see a point alike; everything else is the field's."""

    def __init__(self, field: GovNesf) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(field.__dict__)  # the same layers, not a copy of them

    def blend(
        self,
        points: Float[Tensor, "n 3"],
        views: Views,
        volume: VolumeField,
        k: int | None = None,
        directions: Float[Tensor, "n 3"] | None = None,
        masking: str = "none",
        tolerance: float | None = None,
    ) -> Blend:
        """Return equal weights; arguments as in `GovNesf.blend`, but all views are taken."""
        tolerance = self.config.dgm_tolerance if tolerance is None else tolerance
        choice = choose_views(points, views, 0, None, masking, tolerance)
        even = choice.valid / choice.valid.sum(dim=1, keepdim=True).clamp_min(1)
        w_color = even if directions is not None else None
        return Blend(choice.view, choice.valid, choice.uv, w_color, even)


def with_method(field: GovNesf, method: str) -> GovNesf:
    """Return what to render and label with for a method.

    Raises:
        ValueError: no such method.
    """
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}: choose one of {', '.join(METHODS)}")
    return AverageField(field) if method.startswith("average") else field


def masking_of(method: str) -> str:
    """Return the masking of views that belongs to a method."""
    return "depth" if method in NEEDS_DEPTH else "none"


def as_label(scores: Float[Tensor, "*n t"], classes: list[int]) -> Tensor:
    """Return the class index with the highest score, -1 where nothing was seen."""
    best = torch.tensor(classes, device=scores.device)[scores.argmax(dim=-1)]
    return torch.where(scores.abs().sum(dim=-1) > 0, best, -1)
