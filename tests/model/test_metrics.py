"""Metrics against values worked out by hand."""

import numpy as np
import pytest
import torch

from govnesf_model.metrics import confusion_matrix, mean_of, psnr, segmentation_scores, ssim


def test_confusion_matrix_and_scores_by_hand():
    truth = np.array([1, 1, 1, 1, 2, 2, 3, 0, 255])
    guess = np.array([1, 1, 1, 2, 2, 1, 3, 2, 1])
    matrix = confusion_matrix(truth, guess, classes=[1, 2, 3], ignore={255}, other=0)
    assert matrix.tolist() == [[3, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]]
    scores = segmentation_scores(matrix, {1: "table", 2: "mug", 3: "chair"})
    assert scores["per_class"] == pytest.approx({"table": 3 / 5, "mug": 1 / 4, "chair": 1.0})
    assert scores["per_class_acc"] == pytest.approx({"table": 3 / 4, "mug": 1 / 2, "chair": 1.0})
    assert scores["miou"] == pytest.approx((3 / 5 + 1 / 4 + 1) / 3)
    assert scores["macc"] == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert scores["oacc"] == pytest.approx(5 / 7)  # "other" has no accuracy of its own


def test_without_an_other_class_its_pixels_do_not_count():
    truth, guess = np.array([1, 0, 0]), np.array([1, 1, 1])
    assert confusion_matrix(truth, guess, [1], other=None).sum() == 1
    assert confusion_matrix(truth, guess, [1], other=0).tolist() == [[1, 0], [2, 0]]


def test_predicting_nothing_is_a_miss_not_an_error():
    matrix = confusion_matrix(np.array([[1, 2]]), np.array([[-1, 7]]), [1, 2])
    assert matrix.tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert segmentation_scores(matrix, ["a", "b"])["miou"] == 0.0


def test_predicting_nothing_is_not_the_last_class():
    matrix = confusion_matrix(np.array([2, 2, 1]), np.array([-1, 2, -1]), [1, 2])
    assert matrix.tolist() == [[0, 0, 1], [0, 1, 1], [0, 0, 0]]


def test_absent_classes_count_for_no_mean():
    matrix = confusion_matrix(np.array([1, 1]), np.array([1, 2]), [1, 2, 3])
    scores = segmentation_scores(matrix, ["a", "b", "c"])
    assert scores["per_class"] == {"a": 0.5}
    assert scores["miou"] == 0.5
    nothing = segmentation_scores(np.zeros((3, 3), np.int64), ["a", "b"])
    assert (nothing["miou"], nothing["per_class"]) == (None, {})


def test_matrices_add_up():
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 5, 1000), rng.integers(0, 5, 1000)
    whole = confusion_matrix(truth, guess, [1, 2, 3, 4], other=0)
    halves = [
        confusion_matrix(truth[part], guess[part], [1, 2, 3, 4], other=0)
        for part in (slice(None, 500), slice(500, None))
    ]
    np.testing.assert_array_equal(whole, halves[0] + halves[1])
    assert whole.sum() == 1000


def test_psnr_by_hand():
    image = torch.full((4, 5, 3), 0.5)
    assert psnr(image, image + 0.1) == pytest.approx(20.0, abs=1e-4)
    assert psnr(image, image) == 100.0


def test_ssim_is_one_for_equal_and_falls_with_noise():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(32, 40, 3, generator=generator)
    noise = torch.randn(image.shape, generator=generator)
    assert ssim(image, image) == pytest.approx(1.0, abs=1e-5)
    little, much = (ssim((image + s * noise).clamp(0, 1), image) for s in (0.05, 0.3))
    assert 1.0 > little > much > 0.0
    # A constant shift of a flat image: (2 a b + c1) / (a^2 + b^2 + c1) by the definition.
    flat = torch.full((32, 32, 3), 0.4)
    expected = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    assert ssim(flat, flat + 0.2) == pytest.approx(expected, abs=1e-3)


def test_mean_over_scenes():
    mean = mean_of({"a": {"miou": 0.2, "peak_mib": 10, "per_class": {}}, "b": {"miou": 0.4}})
    assert mean == {"miou": pytest.approx(0.3), "peak_mib": 10.0}
