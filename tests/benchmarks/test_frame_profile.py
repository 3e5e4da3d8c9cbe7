import pytest
from matplotlib.colors import to_hex

from benchmarks.charts import FAST, OTHER
from benchmarks.frame_profile import GROUPS, REST, group_of, longest_first, matrix_speed, operators


@pytest.mark.parametrize(
    ("operator", "group"),
    [
        ("aten::addmm", "matrix products of the networks"),
        ("aten::addmm_", "matrix products of the networks"),
        ("aten::add_", "sums and differences"),
        ("aten::exp", "activations"),
        ("aten::expand", REST),
        ("aten::logical_and", REST),
        ("aten::_softmax", "activations"),
        ("aten::_to_copy", "copies and concatenation"),
        ("aten::_index_put_impl_", "gathers from maps and voxels"),
        ("aten::_embedding_bag_forward_only", "gathers from maps and voxels"),
        ("aten::_scaled_dot_product_flash_attention", "attention across views"),
        ("aten::minimum", REST),
    ],
)
def test_operators_are_grouped_by_what_they_do(operator, group):
    assert group_of(operator) == group
    assert group in {*GROUPS, REST}


def test_bars_are_the_groups_from_the_longest_to_the_floor():
    seconds = {"activations": 0.5, "choice of views": 0.25, REST: 1.25}
    (axes,) = operators(seconds, 37e9, 0.3, "one thread").axes
    groups, floor = axes.containers
    assert [bar.get_width() for bar in groups] == [1.25, 0.5, 0.25]
    assert [bar.get_width() for bar in floor] == [0.3]
    assert axes.yaxis_inverted()
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == f"{REST}, 62%"
    assert names[-1].startswith("floor: 37 GFLOP")
    assert [text.get_text() for text in axes.texts] == ["1.25 s", "500 ms", "250 ms", "300 ms"]
    assert {text.get_text() for text in axes.figure.texts} == {
        "Where a frame's 2 s go",
        "one thread",
    }
    colors = [{to_hex(bar.get_facecolor()) for bar in bars} for bars in (groups, floor)]
    assert colors == [{FAST}, {OTHER}]


def test_sorting_keeps_every_group():
    assert list(longest_first({"a": 1.0, "b": 3.0, "c": 2.0}).items()) == [
        ("b", 3.0),
        ("c", 2.0),
        ("a", 1.0),
    ]


def test_a_processor_multiplies_faster_than_a_calculator():
    assert 1e8 < matrix_speed(size=128, repeats=2) < 1e15
