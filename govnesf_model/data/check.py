"""What is right and wrong with a scene: poses, intrinsics, depth, and whether they agree.

    report = check_scene(open_scene("room"))
    report.problems   # sentences; empty when nothing is wrong

The strongest test is reprojection: points of one frame's depth, moved into the next frame by the
poses and projected by the intrinsics, must lie where that frame's depth says that there is a
surface. Without depth, points matched between images must lie on their epipolar lines. Where they
do not, the usual mistakes are tried one by one; the one that helps is named.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from govnesf_model.data.check_views import MIN_BASELINE, view_agreement
from govnesf_model.data.posed_scene import Frame, PosedScene, SceneError
from govnesf_model.data.readers.gravity import tilt_warning, uprightness

MIN_AGREEMENT = 0.6  # share of projected depth; poses that drift by centimetres keep above 0.8
TOLERANCE = (0.03, 0.03)  # metres, and share of the depth
MAX_PAIRS = 40
MIN_EPIPOLAR = 0.4  # share of matched points; good poses keep 0.65 to 0.8, wrong ones below 0.25
MAX_MATCHED_PAIRS = 12
MIN_MATCHED_POINTS = 60
GRID_STEP = 4  # pixels between those that are projected, at 320 wide
MAX_STEP = (1.0, 60.0)  # metres and degrees between neighbours; beyond it is a jump
USUAL_FIELD_OF_VIEW = (25.0, 140.0)  # degrees

# Mistakes that are made with poses: what would have to be done to each pose to undo it.
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
MISTAKES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the poses are world-to-camera: invert them (T_world_camera is camera to world)": (
        lambda T: np.linalg.inv(T)
    ),
    "the cameras have OpenGL axes (y up, looking along -z): negate the second and third column": (
        lambda T: T @ _FLIP
    ),
    "the poses are world-to-camera with OpenGL axes: invert them, negate columns two and three": (
        lambda T: np.linalg.inv(T) @ _FLIP
    ),
    "lengths of the poses are in millimetres: divide their translations by 1000": (
        lambda T: _scaled(T, 0.001)
    ),
}


@dataclass
class Report:
    """What was found.

    Attributes:
        problems: sentences on what makes the scene unfit; empty is good.
        warnings: sentences on what is unusual.
        facts: sentences on what is there, in order.
        figures: the numbers behind them.
        shares: class name -> share of labelled pixels.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)


def check_scene(
    scene: PosedScene,
    frames: int = 0,
    progress: Callable[[Sequence[int]], Sequence[int]] = lambda indices: indices,
) -> Report:
    """Check a scene.

    Args:
        scene: any opened scene.
        frames: how many frames to read, evenly spread; 0: all.
        progress: wraps the indices of the frames that are read, as tqdm does.
    """
    report = Report()
    _check_split(scene, report)
    report.warnings += [note for note in scene.notes if "skipped" in note or "no depth" in note]
    report.facts += [note for note in scene.notes if note not in report.warnings]
    _check_intrinsics(scene, report)
    _check_poses(scene, report)
    count = len(scene)
    chosen = range(count)
    if 0 < frames < count:
        chosen = sorted(set(np.linspace(0, count - 1, frames).round().astype(int).tolist()))
    _check_images(scene, chosen, report, progress)
    if not report.figures.get("unreadable"):
        (_check_agreement if scene.has_depth else _check_views)(scene, report)
    return report


def agreement(
    source: Frame, other: Frame, fix: Callable[[np.ndarray], np.ndarray] = lambda T: T
) -> tuple[int, int, int, int]:
    """Project a frame's depth into another frame and compare.

    Args:
        source, other: frames with depth.
        fix: changes both poses, to try what is wrong with them.

    Returns:
        Numbers of pixels of `source` that were projected and, of those with a known depth where
        they land in `other`: all, those that agree, and those that contradict it, because they
        float before the surface that it sees. The rest is hidden behind it.
    """
    height, width = source.depth.shape
    step = max(1, round(GRID_STEP * width / 320))
    v, u = np.mgrid[step // 2 : height : step, step // 2 : width : step].reshape(2, -1)
    z = source.depth[v, u].astype(np.float64)
    v, u, z = v[z > 0], u[z > 0], z[z > 0]
    x = (u - source.K[0, 2]) / source.K[0, 0] * z
    y = (v - source.K[1, 2]) / source.K[1, 1] * z
    T = np.linalg.inv(fix(other.T_world_camera)) @ fix(source.T_world_camera)
    points = T[:3, :3] @ np.stack([x, y, z]) + T[:3, 3:]
    points = points[:, points[2] > 0.05]
    at = other.K @ points
    column, row = np.rint(at[:2] / at[2]).clip(-1, 1e6).astype(int)
    height, width = other.depth.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen = other.depth[row[inside], column[inside]].astype(np.float64)
    depth = points[2, inside][seen > 0]
    seen = seen[seen > 0]
    allowed = TOLERANCE[0] + TOLERANCE[1] * seen
    agree = np.abs(depth - seen) <= allowed
    return len(z), len(seen), int(agree.sum()), int((depth < seen - allowed).sum())


def neighbours(scene: PosedScene, limit: int = MAX_PAIRS) -> list[tuple[int, int]]:
    """Return pairs of frames that follow each other, evenly spread, that did move apart."""
    pairs = []
    for index in range(len(scene) - 1):
        step = np.linalg.norm(scene.poses[index + 1, :3, 3] - scene.poses[index, :3, 3])
        if step > 1e-4 or _angle(scene.poses[index], scene.poses[index + 1]) > 0.1:
            pairs.append((index, index + 1))
    if len(pairs) > limit:
        pairs = [pairs[i] for i in np.linspace(0, len(pairs) - 1, limit).round().astype(int)]
    return pairs


def _check_split(scene: PosedScene, report: Report) -> None:
    reference, target = set(scene.reference), set(scene.target)
    report.facts.append(
        f"{len(scene)} frames of {scene.width}x{scene.height}: {len(reference)} references, "
        f"{len(target)} targets" + (f"; source: {scene.source}" if scene.source else "")
    )
    report.figures |= {"frames": len(scene), "references": len(reference), "targets": len(target)}
    both = sorted(reference & target)
    if both:
        named = ", ".join(scene.names[index] for index in both[:5])
        report.problems.append(
            f"{len(both)} frames are references and targets at once ({named}): a target must be "
            "held back"
        )
    if len(scene) < 2:
        report.warnings.append("one frame is no scene to map: at least two views are needed")
    if scene.stamps and (np.diff(scene.stamps) <= 0).any():
        report.problems.append("stamps do not increase from frame to frame")


def _check_intrinsics(scene: PosedScene, report: Report) -> None:
    (fx, _, cx), (_, fy, cy), _ = scene.K
    across = math.degrees(2 * math.atan(scene.width / 2 / fx))
    report.facts.append(
        f"intrinsics: fx {fx:.1f}, fy {fy:.1f}, cx {cx:.1f}, cy {cy:.1f}: {across:.0f} degrees "
        "across"
    )
    report.figures |= {"field_of_view": across}
    if not (-0.5 <= cx <= scene.width - 0.5 and -0.5 <= cy <= scene.height - 0.5):
        report.problems.append(
            f"the principal point ({cx:.1f}, {cy:.1f}) lies outside the image: are the intrinsics "
            "for another resolution?"
        )
    elif abs(cx / scene.width - 0.5) > 0.15 or abs(cy / scene.height - 0.5) > 0.15:
        report.warnings.append(
            f"the principal point ({cx:.1f}, {cy:.1f}) is far from the middle of a "
            f"{scene.width}x{scene.height} image: are the intrinsics for another resolution?"
        )
    if not 0.9 < fx / fy < 1.1:
        report.warnings.append(f"pixels are not square: fx/fy is {fx / fy:.2f}")
    low, high = USUAL_FIELD_OF_VIEW
    if not low <= across <= high:
        report.warnings.append(
            f"the camera sees {across:.0f} degrees across: usual are {low:.0f} to {high:.0f}"
        )


def _check_poses(scene: PosedScene, report: Report) -> None:
    poses = scene.poses
    R = poses[:, :3, :3]
    error = np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max()
    if not np.isfinite(poses).all() or error > 1e-6 or (np.linalg.det(R) <= 0).any():
        report.problems.append(f"poses are not rigid: off a rotation by {error:.2g}")
        return
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    turns = np.array([_angle(a, b) for a, b in itertools.pairwise(poses)])
    extent = np.ptp(poses[:, :3, 3], axis=0)
    median = float(np.median(steps)) if len(steps) else 0.0
    report.facts.append(
        f"poses: path of {steps.sum():.2f} m in {extent[0]:.2f} x {extent[1]:.2f} x "
        f"{extent[2]:.2f} m, median step {median * 100:.1f} cm and "
        f"{np.median(turns) if len(turns) else 0:.1f} degrees"
    )
    report.figures |= {"path_m": float(steps.sum()), "median_step_m": median}
    if len(scene) > 1 and extent.max() < 1e-6 and turns.max(initial=0) < 1e-3:
        report.problems.append("all poses are the same: the camera never moves")
    if extent.max() > 300:
        report.warnings.append(
            f"the path spans {extent.max():.0f} m: are the poses in metres, not millimetres?"
        )
    # Only the frames that were recorded one after the other can show a jump.
    far = (steps > MAX_STEP[0]) & (steps > 10 * max(median, 1e-3))
    jumps = np.flatnonzero(far | ((turns > MAX_STEP[1]) & (turns > 10 * np.median(turns))))
    report.figures["jumps"] = len(jumps)
    if len(jumps):
        at = ", ".join(
            f"{scene.names[i]} to {scene.names[i + 1]} ({steps[i]:.2f} m, {turns[i]:.0f} degrees)"
            for i in jumps[:3]
        )
        report.warnings.append(f"{len(jumps)} jumps between neighbouring frames: {at}")
    down = uprightness(poses)
    report.figures["upright"] = down
    report.facts.append(f"up: the images' lower edge points {down:.2f} down on average")
    if down < -0.3:
        report.problems.append(
            "the cameras stand on their heads: is gravity wrong, or are the axes OpenGL's (y up)? "
            "Poses take OpenCV axes; option gravity=x,y,z or gravity=cameras sets what is down"
        )
    elif tilted := tilt_warning(poses):
        report.warnings.append(tilted)


def _check_images(
    scene: PosedScene, chosen: Sequence[int], report: Report, progress: Callable
) -> None:
    shares, values, dark = [], [], 0
    pixels: dict[int, int] = {}
    known = {*scene.classes, *scene.ignore} | ({scene.other} if scene.other is not None else set())
    unreadable = []
    for index in progress(chosen):
        try:
            frame = scene[index]
        except SceneError as error:
            unreadable.append(str(error))
            continue
        dark += int(frame.rgb.max() < 16)
        if frame.depth is not None:
            depth = frame.depth[::4, ::4]
            shares.append(float((frame.depth > 0).mean()))
            values.append(depth[depth > 0])
        if frame.label is not None:
            for value, count in zip(*np.unique(frame.label, return_counts=True), strict=True):
                pixels[int(value)] = pixels.get(int(value), 0) + int(count)
    report.figures |= {"read": len(chosen), "unreadable": len(unreadable)}
    report.problems += unreadable[:5]
    if len(unreadable) > 5:
        report.problems.append(f"and {len(unreadable) - 5} more frames cannot be read")
    if dark:
        report.warnings.append(f"{dark} of {len(chosen)} images are black")
    if scene.has_depth and values:
        _check_depth(np.array(shares), np.concatenate(values), report)
    elif not scene.has_depth:
        report.facts.append("no depth: only images tell whether poses and intrinsics agree")
    if scene.labelled:
        _check_labels(scene, pixels, known, report)


def _check_depth(shares: np.ndarray, values: np.ndarray, report: Report) -> None:
    if len(values) == 0:
        report.problems.append("depth is unknown (0) in every pixel of every frame")
        return
    low, middle, high = np.percentile(values, (2, 50, 98))
    report.facts.append(
        f"depth: known in {shares.mean():.0%} of pixels, median {middle:.2f} m, 96 % between "
        f"{low:.2f} and {high:.2f} m"
    )
    report.figures |= {"depth_known": float(shares.mean()), "depth_median_m": float(middle)}
    empty = int((shares == 0).sum())
    if empty:
        report.warnings.append(f"{empty} frames have no known depth at all")
    if middle > 30 or middle < 0.05:
        report.problems.append(
            f"the median depth is {middle:.3g} m: depth images are uint16 millimetres, 0 unknown"
        )
    elif shares.mean() < 0.2:
        report.warnings.append(f"only {shares.mean():.0%} of depth pixels are known")


def _check_labels(
    scene: PosedScene, pixels: dict[int, int], known: set[int], report: Report
) -> None:
    total = max(1, sum(pixels.values()))
    for value, count in sorted(pixels.items(), key=lambda pair: -pair[1]):
        if value in scene.classes and value not in scene.ignore:
            report.shares[scene.classes[value]] = count / total
    report.facts.append(
        f"labels: {len(scene.labelled)} frames, {len(report.shares)} of {len(scene.classes)} "
        f"classes seen, {sum(report.shares.values()):.0%} of pixels"
    )
    strange = {value: count for value, count in pixels.items() if value not in known}
    if strange:
        listed = ", ".join(f"{v} ({count / total:.1%})" for v, count in sorted(strange.items())[:8])
        report.problems.append(
            f"label images hold values that are no class, neither ignored nor other: {listed}: "
            "name them in classes.json"
        )
    elif not report.shares:
        report.warnings.append("label images show none of the classes")


def _check_agreement(scene: PosedScene, report: Report) -> None:
    pairs = neighbours(scene)
    if not pairs:
        return
    frames = [(scene[a], scene[b]) for a, b in pairs]
    share, landed, floating = _pooled(frames)
    if landed < 0.02:
        report.warnings.append(
            f"neighbouring frames hardly overlap ({landed:.0%} of depth lands in the next frame): "
            "whether depth and poses agree cannot be told"
        )
    else:
        report.figures |= {"agreement": share, "overlap": landed, "contradiction": floating}
        report.facts.append(
            f"reprojection: {share:.1%} of depth agrees with the next frame's ({len(pairs)} pairs, "
            f"overlap {landed:.0%}, {floating:.1%} floats before it)"
        )
    if landed >= 0.02 and share >= MIN_AGREEMENT:
        return
    best, better = "", share if landed >= 0.02 else 0.0
    for mistake, fix in MISTAKES.items():
        tried, overlap, _ = _pooled(frames[:: max(1, len(frames) // 12)], fix)
        if overlap >= 0.1 and tried > max(MIN_AGREEMENT, better + 0.15):
            best, better = mistake, tried
    if best:
        report.problems.append(
            f"depth and poses do not agree ({share:.0%}), but {better:.0%} would if {best}"
        )
    elif landed >= 0.02:
        report.problems.append(
            f"depth and poses do not agree: only {share:.0%} of depth lies on the next frame's "
            f"surface (at least {MIN_AGREEMENT:.0%} is expected); look at poses, intrinsics, the "
            "registration of depth to colour, and units"
        )


def _check_views(scene: PosedScene, report: Report) -> None:
    extent = float(np.ptp(scene.poses[:, :3, 3], axis=0).max())
    pairs = [
        (scene[a], scene[b])
        for a, b in neighbours(scene, MAX_MATCHED_PAIRS)
        if np.linalg.norm(scene.poses[b, :3, 3] - scene.poses[a, :3, 3]) > MIN_BASELINE * extent
    ]
    shares, matches = view_agreement(pairs, [lambda T: T, *MISTAKES.values()])
    if matches < MIN_MATCHED_POINTS:
        report.facts.append(
            f"images: {matches} points were matched between neighbours, too few to test poses by"
        )
        return
    report.figures |= {"epipolar": shares[0], "matches": matches}
    report.facts.append(
        f"images: {shares[0]:.0%} of {matches} points matched between neighbours lie where poses "
        "and intrinsics allow"
    )
    best = int(np.argmax(shares))
    if shares[best] > max(MIN_EPIPOLAR, shares[0] + 0.25):
        report.problems.append(
            f"images and poses do not agree ({shares[0]:.0%} of matches), but {shares[best]:.0%} "
            f"would if {list(MISTAKES)[best - 1]}"
        )
    elif shares[0] < MIN_EPIPOLAR:
        report.warnings.append(
            f"only {shares[0]:.0%} of matches fit poses and intrinsics, at least "
            f"{MIN_EPIPOLAR:.0%} is usual: are they right? (Repeated patterns also do that.)"
        )


def _pooled(
    frames: Sequence[tuple[Frame, Frame]], fix: Callable[[np.ndarray], np.ndarray] = lambda T: T
) -> tuple[float, float, float]:
    """Return the shares that agree, that land in the other image, and that float, over pairs."""
    counts = np.array([agreement(a, b, fix) for a, b in frames], dtype=np.float64).sum(axis=0)
    projected, landed, agree, floating = np.maximum(counts, 0)
    return agree / max(landed, 1), landed / max(projected, 1), floating / max(landed, 1)


def _angle(a: Float[np.ndarray, "4 4"], b: Float[np.ndarray, "4 4"]) -> float:
    """Return the angle of the rotation between two poses in degrees."""
    cosine = (np.trace(a[:3, :3].T @ b[:3, :3]) - 1) / 2
    return math.degrees(math.acos(float(np.clip(cosine, -1, 1))))


def _scaled(T: Float[np.ndarray, "4 4"], factor: float) -> Float[np.ndarray, "4 4"]:
    T = T.copy()
    T[:3, 3] *= factor
    return T
