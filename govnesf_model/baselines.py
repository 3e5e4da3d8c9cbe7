"""Ways to give a point its feature, with the same views and the same features as ours.

    network = with_method(field, "average")     # OpenScene-2D: the mean over all views that see it
    image = render_rays(network, views, volume, ..., masking=masking_of("average"))
    network = with_method(field, "distill", distilled)

`average` is a field whose blending weights are all equal, so everything that takes a field
(rendering, labelling) runs it unchanged and differences are those of the weights alone.

`distill` is the paper's Distill baseline (section 4.1): "the basic framework design" without joint
fusion. A point's feature is regressed by an MLP from the mean and variance of its image features
over the views and from the volume feature; nothing is blended. It has to be trained for one
encoder, whose features it learns to put out (`FieldConfig(use_mjf=False, distill_dim=...)`); no
scene is ever fitted, and it is another checkpoint than ours.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from govnesf_model.blending import Blend, Views, choose_views
from govnesf_model.field import GovNesf, VolumeField
from govnesf_model.vlm.base import DenseEncoder

METHODS = {
    "govnesf": "learned blending, colours and poses only",
    "govnesf_dgm": "learned blending with depth-guided masking",
    "average": "mean over the views that a point projects into (OpenScene-2D without depth)",
    "average_depth": "mean over the views whose depth agrees (OpenScene-2D)",
    "distill": "feature regressed from image and volume features (needs --distill-checkpoint)",
    "vlm_view": "the encoder on the true image of the view itself",
    "vlm_rendered": "the encoder on the image that the field renders",
}
NEEDS_DEPTH = ("govnesf_dgm", "average_depth")
LABELS_IMAGES = ("vlm_view", "vlm_rendered")


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


def with_method(field: GovNesf, method: str, distilled: GovNesf | None = None) -> GovNesf:
    """Return what to render and label with for a method.

    Args:
        field: ours.
        method: one of `METHODS`.
        distilled: the field of the method "distill".

    Raises:
        ValueError: no such method, or "distill" without its field.
    """
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}: choose one of {', '.join(METHODS)}")
    if method == "distill":
        if not field.config.use_mjf:
            return field
        if distilled is None:
            raise ValueError(
                "the method distill is a network of its own, trained to put out the encoder's "
                "features (use_mjf off): name its file with --distill-checkpoint"
            )
        return distilled
    if field.config.use_mjf:
        return AverageField(field) if method.startswith("average") else field
    if method.startswith("average") or method in NEEDS_DEPTH:
        raise ValueError(
            f"the method {method} blends views, and this field regresses features (use_mjf off): "
            "give another --checkpoint"
        )
    return field


def check_dimension(field: GovNesf, vlm: DenseEncoder) -> None:
    """Refuse a field that regresses features of another length than the encoder's.

    Raises:
        ValueError: the lengths differ.
    """
    dim = field.config.distill_dim
    if not field.config.use_mjf and dim != vlm.dim:
        raise ValueError(
            f"this field regresses features of length {dim}, the encoder {vlm.name} has {vlm.dim}: "
            "it was trained for another encoder"
        )


def masking_of(method: str) -> str:
    """Return the masking of views that belongs to a method."""
    return "depth" if method in NEEDS_DEPTH else "none"


def as_label(scores: Float[Tensor, "*n t"], classes: list[int]) -> Tensor:
    """Return the class index with the highest score, -1 where nothing was seen."""
    best = torch.tensor(classes, device=scores.device)[scores.argmax(dim=-1)]
    return torch.where(scores.abs().sum(dim=-1) > 0, best, -1)
