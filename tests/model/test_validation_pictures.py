import torch

from govnesf_model.palette import label_colors
from govnesf_model.rendering import RenderedImage
from govnesf_model.validation_pictures import feature_pictures, label_pictures, picture_row


def test_a_row_holds_six_panels_and_black_where_nothing_is_known():
    torch.manual_seed(0)
    color, depth = torch.rand(4, 5, 3), 1 + 3 * torch.rand(4, 5)
    opacity = torch.ones(4, 5)
    opacity[0, 0] = 0.1
    image = RenderedImage(color, depth, opacity, None, None)
    row = picture_row(torch.ones(4, 5, 3), image, None, (None, None))
    assert row.shape == (4, 6 * 5, 3)
    panels = row.reshape(4, 6, 5, 3)
    assert (panels[:, 0] == 255).all()
    assert abs(panels[:, 1].astype(float) - 255 * color.numpy()).max() <= 0.51
    for empty in (2, 4, 5):
        assert (panels[:, empty] == 0).all()
    assert (panels[0, 3, 0] == 0).all()  # transparent: no depth
    assert (panels[:, 3].reshape(-1, 3)[1:].sum(axis=1) > 0).all()


def test_labels_have_the_palette_s_colours():
    labels = torch.tensor([[0, 2], [3, 3]])
    truth, shown = label_pictures(labels, None)
    assert shown is None
    assert (truth == label_colors(3)[labels.numpy()]).all()


def test_features_that_agree_have_the_same_colours_and_others_do_not():
    torch.manual_seed(0)
    truth = torch.nn.functional.normalize(torch.randn(6, 8, 16), dim=-1)
    same, again = feature_pictures(truth, truth)
    assert (same == again).all()
    assert float(same.std()) > 30
    _, other = feature_pictures(truth, truth.flip(0))
    assert (other == same[::-1]).all()
    assert (other != same).mean() > 0.8
