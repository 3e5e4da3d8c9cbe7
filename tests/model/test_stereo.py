import pytest
import torch
import torch.nn.functional as F
from box_room import look_at, trace_rays

from govnesf_model.cameras import feature_grid, pixel_rays, project, to_feature_coordinates
from govnesf_model.field_config import FieldConfig
from govnesf_model.stereo import (
    FARTHEST,
    GROUPS,
    NEAREST,
    StereoDepth,
    Surface,
    choose_sources,
    plane_coordinates,
    settle,
    stereo_loss,
)

WIDTH, HEIGHT = 256, 192
ROWS, COLUMNS = HEIGHT // 4, WIDTH // 4
K_ONE = torch.tensor([[190.0, 0, 127.5], [0, 190.0, 95.5], [0, 0, 1]])
CHANNELS = (6, 10, 12)  # of the backbone's three maps

# The first looks across the box room, the others from beside, above, behind and turned.
EYES = [(1.0, 1.0, 1.3), (1.3, 0.6, 1.3), (0.95, 1.1, 1.8), (0.6, 1.3, 1.2), (1.2, 1.4, 1.1)]
AIMS = [(3.6, 2.4, 0.9), (3.6, 2.3, 0.9), (3.4, 2.5, 1.0), (3.6, 2.3, 0.9), (3.5, 2.2, 0.9)]
POSES = torch.stack(
    [look_at(torch.tensor(eye), torch.tensor(aim)) for eye, aim in zip(EYES, AIMS, strict=True)]
)
K = K_ONE.expand(len(POSES), 3, 3)


def cell_rays(view: int):
    return pixel_rays(feature_grid(ROWS, COLUMNS, 4), K[view], POSES[view])


def cell_points(view: int):
    """Return where the middles of a view's cells see the room, and at which depth."""
    origins, directions = cell_rays(view)
    _, depth, _ = trace_rays(origins, directions)
    return origins + directions * depth.unsqueeze(-1), depth


def oracle(scale: float = 9.0) -> torch.Tensor:
    """Return descriptors that know the world point: alike within a decimetre, unlike beyond."""
    generator = torch.Generator().manual_seed(0)
    waves = scale * torch.randn(3, GROUPS * 16, generator=generator)
    phase = 6.3 * torch.rand(GROUPS * 16, generator=generator)
    maps = []
    for view in range(len(POSES)):
        points, _ = cell_points(view)
        maps.append(torch.cos(points @ waves + phase).permute(2, 0, 1))
    split = torch.stack(maps).unflatten(1, (GROUPS, -1))
    return F.normalize(split, dim=2).flatten(1, 2)


@pytest.fixture(scope="module")
def stereo() -> StereoDepth:
    torch.manual_seed(0)
    config = FieldConfig.small(stereo_planes=48, stereo_width=8, stereo_channels=GROUPS * 16)
    return StereoDepth(config, CHANNELS).eval()


@pytest.fixture(scope="module")
def learned(stereo) -> StereoDepth:
    """One whose last layer says something, as after training."""
    torch.manual_seed(1)
    other = StereoDepth(
        FieldConfig.small(stereo_planes=48, stereo_width=8, stereo_channels=GROUPS * 16), CHANNELS
    ).eval()
    torch.nn.init.normal_(other.leave.weight, std=0.2)
    return other


@pytest.fixture(scope="module")
def matches() -> torch.Tensor:
    return oracle()


def backbone_maps(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [
        torch.randn(count, c, ROWS // s, COLUMNS // s, generator=generator)
        for c, s in zip(CHANNELS, (1, 2, 4), strict=True)
    ]


def logits_of(network, matches, pairs, rows=None) -> torch.Tensor:
    """Return the logits of some views; their maps are the same whoever else is asked for."""
    generator = torch.Generator().manual_seed(4)
    detail = torch.randn(len(POSES), 8, ROWS, COLUMNS, generator=generator)
    rows = [view for view, _ in pairs] if rows is None else rows
    maps = [level[rows] for level in backbone_maps(len(POSES))]
    with torch.no_grad():
        return network(maps, detail[rows], matches, K, POSES, WIDTH, pairs)


def test_planes_are_even_in_the_logarithm(stereo):
    depths = stereo.depths()
    assert float(depths[0]) == pytest.approx(NEAREST)
    assert float(depths[-1]) == pytest.approx(FARTHEST)
    ratio = depths[1:] / depths[:-1]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))


@pytest.mark.parametrize("view", [0, 2, 4])
def test_a_cell_at_its_true_depth_falls_on_the_cell_that_shows_the_same_place(view):
    points, depth = cell_points(view)
    near = [other for other in range(len(POSES)) if other != view]
    picked = torch.tensor([[3, 5], [20, 30], [40, 60], [24, 1], [10, 50]])
    depths = depth[picked[:, 0], picked[:, 1]]
    at, seen = plane_coordinates(K, POSES, view, near, depths, ROWS, COLUMNS)
    assert at.shape == (4, 5, ROWS, COLUMNS, 2)
    checked = 0
    for number, (row, column) in enumerate(picked.tolist()):
        for place, source in enumerate(near):
            cell = at[place, number, row, column]
            point = points[row, column]
            uv, z = project(point[None], K[source], POSES[source])
            torch.testing.assert_close(cell, to_feature_coordinates(uv[0], 4), atol=1e-3, rtol=0)
            inside = bool((cell > -0.5).all()) and bool(
                (cell < torch.tensor([COLUMNS - 0.5, ROWS - 0.5])).all()
            )
            assert bool(seen[place, number, row, column]) == (inside and float(z) > 0.05)
            # The room is convex: the source's own ray through that cell ends at the same place.
            u = (4 * cell + 1.5)[None]
            origin, direction = pixel_rays(u, K[source], POSES[source])
            _, met, _ = trace_rays(origin, direction)
            torch.testing.assert_close(
                (origin + direction * met[:, None])[0], point, atol=2e-3, rtol=0
            )
            checked += inside
    assert checked >= 12


def test_a_source_that_looks_away_sees_no_plane():
    poses = POSES[:2].clone()
    poses[1, :3, 0], poses[1, :3, 2] = -poses[1, :3, 0], -poses[1, :3, 2]
    depths = torch.tensor([0.5, 1.0, 2.0, 5.0])
    at, seen = plane_coordinates(K[:2], poses, 0, [1], depths, ROWS, COLUMNS)
    assert not bool(seen[:, 2:].any())
    assert bool(torch.isfinite(at).all())


@pytest.mark.parametrize("near", [[1], [2], [3, 4], [1, 2, 3]])
def test_the_cost_of_descriptors_that_know_the_place_peaks_at_the_true_plane(stereo, matches, near):
    cost, share = stereo._sweep(matches.unflatten(1, (GROUPS, -1)), K, POSES, 0, near)
    assert cost.shape == (GROUPS, 48, ROWS, COLUMNS)
    _, depth = cell_points(0)
    step = (stereo.depths()[1] / stereo.depths()[0]).log()
    plane = (depth / NEAREST).log() / step
    _, seen = plane_coordinates(K, POSES, 0, near, depth.flatten()[::97], ROWS, COLUMNS)
    whole = seen.all(dim=0).all(dim=0)  # cells that no depth of this room throws off the sources
    assert float(whole.float().mean()) > 0.3
    for group in range(GROUPS):
        off = (cost[group].argmax(dim=0) - plane)[whole].abs()
        assert float((off < 1.0).float().mean()) > 0.95
        assert float(off.median()) < 0.5
    best = cost.amax(dim=1)[:, whole]
    assert float(best.median()) > 0.9
    assert float(best.max()) < 1.0 + 1e-4
    assert bool(((share >= 0) & (share <= 1)).all())


def test_cells_fall_where_they_fall_also_in_half_precision(stereo, matches):
    """Under autocast products are rounded to three digits: positions must not be."""
    split = matches.unflatten(1, (GROUPS, -1))
    exact, _ = stereo._sweep(split, K, POSES, 0, [1, 2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, _ = stereo._sweep(split, K, POSES, 0, [1, 2])
    torch.testing.assert_close(rough.float(), exact, atol=0.02, rtol=0)


def test_untrained_it_says_what_the_matches_say(stereo, matches):
    surface = settle(4 * logits_of(stereo, matches, [(0, [1, 2, 3])]), stereo.depths())
    _, depth = cell_points(0)
    off = (surface.depth[0] / depth - 1).abs()
    assert float(off.median()) < 0.015  # planes lie 7.7 % apart
    assert float((off < 0.08).float().mean()) > 0.98
    # Where sources show other places nothing fits, and the doubt grows.
    strange = torch.cat([matches[:1], matches[1:].flip(2)])
    lost = settle(4 * logits_of(stereo, strange, [(0, [1, 2, 3])]), stereo.depths())
    assert float(lost.spread.median()) > 3 * float(surface.spread.median())


def test_the_order_of_sources_does_not_matter(learned, matches):
    one = logits_of(learned, matches, [(0, [1, 2, 3])])
    two = logits_of(learned, matches, [(0, [3, 1, 2])])
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
    fewer = logits_of(learned, matches, [(0, [3])])
    assert float((one - fewer).abs().max()) > 0.1


def test_a_view_does_not_depend_on_who_else_is_asked_for(learned, matches):
    pairs = [(0, [1, 2]), (3, []), (2, [4, 0, 1])]
    whole = logits_of(learned, matches, pairs)
    for number, pair in enumerate(pairs):
        alone = logits_of(learned, matches, [pair])
        torch.testing.assert_close(whole[number : number + 1], alone, atol=1e-4, rtol=1e-4)


def test_without_a_source_it_guesses_from_the_image_alone(learned, stereo, matches):
    logits = logits_of(learned, matches, [(0, [])])
    assert bool(torch.isfinite(logits).all())
    other = logits_of(learned, matches.flip(0), [(0, [])])
    torch.testing.assert_close(logits, other, atol=0, rtol=0)
    blank = settle(logits_of(stereo, matches, [(0, [])]), stereo.depths())
    assert bool((blank.depth > NEAREST).all())
    # It knows nothing and says so: planes as likely as each other stray by a quarter of the range.
    assert float(blank.spread.min()) > 0.5


def test_a_description_does_not_see_the_brightness(stereo):
    torch.manual_seed(0)
    rgb = torch.rand(2, 3, HEIGHT, WIDTH)
    maps = backbone_maps(2)
    with torch.no_grad():
        one = stereo.describe(rgb, maps)
        two = stereo.describe(0.6 * rgb + 0.1, maps)
        alone = stereo.describe(rgb[1:], [level[1:] for level in maps])
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one[1][1:], alone[1], atol=1e-5, rtol=1e-5)
    length = one[1].unflatten(1, (GROUPS, -1)).norm(dim=2)
    torch.testing.assert_close(length, torch.ones_like(length))


def test_a_black_image_has_a_finite_description(stereo):
    with torch.no_grad():
        detail, match = stereo.describe(torch.zeros(1, 3, HEIGHT, WIDTH), backbone_maps(1))
    assert bool(torch.isfinite(detail).all())
    assert bool(torch.isfinite(match).all())


def peak(at: float, planes: int = 48, sharp: float = 2.0) -> torch.Tensor:
    return -sharp * (torch.arange(planes) - at).square()


def test_settle_returns_depths_between_planes(stereo):
    depths = stereo.depths()
    step = (depths[1] / depths[0]).log()
    places = torch.linspace(5.0, 40.0, 36)
    logits = torch.stack([peak(float(at)) for at in places], dim=1).view(1, 48, 6, 6)
    surface = settle(logits, depths)
    found = (surface.depth[0].flatten() / NEAREST).log() / step
    torch.testing.assert_close(found, places, atol=0.02, rtol=0)
    between = settle(torch.stack([peak(10.5)], dim=1).view(1, 48, 1, 1), depths)
    torch.testing.assert_close(
        between.depth.flatten(), (depths[10] * depths[11]).sqrt().view(1), rtol=1e-3, atol=0
    )


def test_settle_takes_one_of_two_peaks_never_the_air_between(stereo):
    depths = stereo.depths()
    for share in (0.35, 0.5, 0.51, 0.7):
        two = share * peak(12).exp() + (1 - share) * peak(30).exp()
        surface = settle((two + 1e-9).log().view(1, 48, 1, 1), depths)
        off = (surface.depth.flatten() / depths[[12, 30]]).log().abs().amin()
        assert float(off) < 0.02
        if share != 0.5:
            likelier = depths[12 if share > 0.5 else 30]
            assert float(surface.depth) == pytest.approx(float(likelier), rel=0.02)
        # The doubt knows of the other one: 18 planes off, with its share.
        step = float((depths[1] / depths[0]).log())
        other = min(share, 1 - share) if share != 0.5 else 0.5
        assert float(surface.spread) == pytest.approx(18 * step * other, rel=0.15, abs=0.04)


def test_sharper_peaks_have_less_doubt(stereo):
    spreads = [
        float(settle(peak(20, sharp=sharp).view(1, 48, 1, 1), stereo.depths()).spread)
        for sharp in (0.02, 0.1, 0.5, 5.0)
    ]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] < 0.01


def test_the_loss_is_smallest_at_the_truth(stereo):
    depths = stereo.depths()
    truth = torch.full((1, 2, 2), 2.0)
    true_plane = float((truth[0, 0, 0] / depths[0]).log() / (depths[1] / depths[0]).log())

    def loss(at: float, target: torch.Tensor = truth) -> float:
        logits = peak(at, sharp=0.5).view(1, 48, 1, 1).expand(1, 48, 2, 2)
        return float(stereo_loss(logits, depths, target))

    values = {off: loss(true_plane + off) for off in (-5.0, -1.0, -0.5, 0.0, 0.5, 1.0, 5.0)}
    assert min(values, key=values.get) == 0.0
    assert values[-5.0] > values[-1.0] > values[-0.5]
    assert values[5.0] > values[1.0] > values[0.5]
    # On a plane it is the plain cross entropy.
    on = peak(17).view(1, 48, 1, 1)
    expected = -on.log_softmax(dim=1)[0, 17, 0, 0]
    assert float(stereo_loss(on, depths, depths[17].view(1, 1, 1))) == pytest.approx(
        float(expected), abs=2e-3
    )
    holes = truth.clone()
    holes[0, 0, 0] = 0.0
    assert loss(9.0, holes) == pytest.approx(loss(9.0), rel=1e-6)


def test_unknown_depth_has_no_loss_and_no_gradient(stereo):
    depths = stereo.depths()
    logits = torch.randn(1, 48, 2, 3, requires_grad=True)
    truth = torch.tensor([[[0.0, 0.1, 2.0], [0.0, 50.0, 3.0]]])
    stereo_loss(logits, depths, truth).backward()
    told = logits.grad.abs().sum(dim=1)[0] > 0
    assert told.tolist() == [[False, False, True], [False, False, True]]
    nothing = stereo_loss(logits, depths, torch.zeros(1, 2, 3))
    assert float(nothing.detach()) == 0.0


def beside(*offsets: float, turn: float = 0.0) -> torch.Tensor:
    """Return poses that look along z, at places along x; the last one turned about y."""
    poses = torch.eye(4).repeat(len(offsets) + 1, 1, 1)
    poses[1:, 0, 3] = torch.tensor(offsets)
    angle = torch.tensor(turn).deg2rad()
    poses[-1, 0, 0] = poses[-1, 2, 2] = angle.cos()
    poses[-1, 0, 2], poses[-1, 2, 0] = angle.sin(), -angle.sin()
    return poses


def chosen(poses: torch.Tensor, count: int = 3, **options) -> list[int]:
    return choose_sources(poses, K_ONE.expand(len(poses), 3, 3), WIDTH, HEIGHT, 0, count, **options)


def test_a_quarter_metre_beside_is_the_best_source():
    assert chosen(beside(0.05, 0.8, 0.25, 0.5), count=4) == [3, 4, 2, 1]
    assert chosen(beside(0.05, 0.8, 0.25, 0.5), count=1) == [3]
    assert chosen(beside(0.05, 0.8, 0.25, 0.5), among=[0, 1, 2]) == [2, 1]


def test_sources_without_parallax_or_overlap_are_refused():
    assert chosen(beside(0.0, 0.02)) == []
    assert chosen(beside(9.0)) == []
    assert chosen(beside(0.25, turn=60.0)) == []
    assert chosen(beside(0.25, turn=180.0)) == []
    assert chosen(beside(0.25, turn=15.0)) == [1]
    assert chosen(beside()) == []
    # The same place seen straight on is better than the same distance turned away.
    assert chosen(beside(0.25, -0.25, turn=20.0)) == [1, 2]


def test_the_order_of_views_does_not_change_which_are_chosen():
    poses = beside(0.05, 0.8, 0.25, 0.5, -0.3)
    first = chosen(poses)
    order = torch.tensor([0, 5, 3, 1, 4, 2])
    again = [int(order[row]) for row in chosen(poses[order])]
    assert again == first


def test_some_views_of_a_surface():
    surface = Surface(torch.rand(3, 4, 5), torch.rand(3, 4, 5))
    assert surface.width == 5
    assert torch.equal(surface[[2, 0]].depth, surface.depth[[2, 0]])
    assert torch.equal(surface[1:].spread, surface.spread[1:])
