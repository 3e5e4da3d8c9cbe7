"""Baselines: equal weights, the regressing field, and what is refused."""

import pytest
import torch
from box_field import OV_DIM, box_scene, random_points, tiny_field
from furnished_room import ColorEncoder

from govnesf_model.baselines import (
    METHODS,
    as_label,
    check_dimension,
    masking_of,
    with_method,
)


@pytest.fixture(scope="module")
def field():
    return tiny_field()


def test_equal_weights_are_equal_and_leave_the_density_alone(field):
    views, volume = box_scene(field)
    points = random_points(40)
    average = with_method(field, "average_depth")
    blend = average.blend(points, views, volume, masking="depth")
    weights = blend.w_semantic[blend.valid.any(1)]
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)))
    for row, valid in zip(blend.w_semantic, blend.valid, strict=True):
        assert len(torch.unique(row[valid])) <= 1
    assert torch.equal(average.density(points, volume), field.density(points, volume))


def test_methods_choose_their_network(field):
    distilled = tiny_field(use_mjf=False, distill_dim=OV_DIM)
    assert with_method(field, "govnesf") is field
    assert with_method(field, "govnesf_dgm") is field
    assert with_method(field, "distill", distilled) is distilled
    assert with_method(distilled, "distill") is distilled
    assert with_method(distilled, "govnesf") is distilled  # first row of Table 4
    assert {masking_of(method) for method in METHODS} == {"none", "depth"}
    with pytest.raises(ValueError, match="choose one of"):
        with_method(field, "magic")
    with pytest.raises(ValueError, match="--distill-checkpoint"):
        with_method(field, "distill")
    with pytest.raises(ValueError, match="regresses features"):
        with_method(distilled, "average")


def test_a_field_distilled_for_another_encoder_is_refused(field):
    vlm = ColorEncoder()
    check_dimension(field, vlm)
    check_dimension(tiny_field(use_mjf=False, distill_dim=vlm.dim), vlm)
    with pytest.raises(ValueError, match=f"length {OV_DIM}, the encoder color has {vlm.dim}"):
        check_dimension(tiny_field(use_mjf=False, distill_dim=OV_DIM), vlm)


def test_nothing_seen_is_no_class():
    scores = torch.tensor([[0.1, 0.3], [0.0, 0.0]])
    assert as_label(scores, [4, 9]).tolist() == [9, -1]
