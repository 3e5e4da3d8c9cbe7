"""Writers of tiny scenes in the layouts of data sets, all of the analytic box room.

Names of files, types, units and conventions are those of the real ones; only sizes are small.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from box_room import room_cameras, trace, trace_rays

from govnesf_model.cameras import Camera
from govnesf_model.data.posed_scene import PosedScene
from govnesf_model.data.readers.lens import Lens

# OpenGL axes (y up, looking along -z) of a camera in OpenCV's.
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def poses_of(count: int) -> np.ndarray:
    """Return T_world_camera [n, 4, 4] of cameras in the room, z up."""
    return np.stack([camera.T_world_camera.double().numpy() for camera in room_cameras(count)])


def shoot(lens: Lens, T_world_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rgb uint8, depth in metres and labels 1..6 that a lens sees, distortion and all."""
    v, u = np.mgrid[0 : lens.height, 0 : lens.width].astype(np.float64)
    pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2)
    if lens.fisheye:
        xy = cv2.fisheye.undistortPoints(pixels, lens.K, lens.coefficients())
    else:
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
        xy = cv2.undistortPoints(pixels, lens.K, lens.coefficients(), criteria=criteria)
    xy = np.asarray(xy).reshape(lens.height, lens.width, 2)
    directions = np.concatenate([xy, np.ones_like(xy[..., :1])], axis=-1) @ T_world_camera[:3, :3].T
    origins = np.broadcast_to(T_world_camera[:3, 3], directions.shape)
    color, depth, label = trace_rays(
        torch.from_numpy(origins.copy()).float(), torch.from_numpy(directions).float()
    )
    return (color.numpy() * 255).round().astype(np.uint8), depth.numpy(), label


def assert_shows_the_room(
    scene: PosedScene,
    poses: np.ndarray | None,
    depth: float = 0.98,
    label: bool = False,
    error: float = 0.006,
    flat: float = 0.9,
) -> None:
    """Demand that every frame is what its own camera sees in the room: K, pose and images agree.

    `depth` is the least share of pixels that must have it (0 when there is none), `error`
    what half of them may be off in metres: the nearest pixel of a coarse image is not the same one;
    `flat` is the share of pixels that lie on no edge.
    """
    if poses is not None:
        np.testing.assert_allclose(scene.poses, poses, atol=2e-5)
    for frame in scene:
        camera = Camera(
            torch.from_numpy(frame.K).float(),
            torch.from_numpy(frame.T_world_camera).float(),
            scene.width,
            scene.height,
        )
        color, true_depth, true_label = trace(camera)
        off = np.abs(frame.rgb.astype(float) - color.numpy() * 255).max(axis=-1)
        # Edges between painted squares are blurred by resampling; a shift of a pixel is not that.
        assert np.median(off) < 3, frame.name
        assert (off < 16).mean() > flat, frame.name
        if depth:
            known = frame.depth > 0
            assert known.mean() >= depth, frame.name
            off = np.abs(frame.depth - true_depth.numpy())[known]
            assert np.median(off) < error, frame.name
            assert (off < 10 * error).mean() > 0.99, frame.name
        if label:
            assert (frame.label == true_label).mean() > 0.98, frame.name


def save_png(path: Path, image: np.ndarray) -> None:
    """Write an image; colours are given as RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    quality = [cv2.IMWRITE_JPEG_QUALITY, 97] if path.suffix == ".jpg" else []
    assert cv2.imwrite(str(path), bgr, quality)


def millimetres(depth: np.ndarray) -> np.ndarray:
    return np.rint(depth * 1000).astype(np.uint16)


def pinhole(focal: float, width: int, height: int) -> Lens:
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    return Lens(K, width, height)


SCANNET_COLOR = Lens(np.array([[292.5, 0, 161.5], [0, 293.0, 120.5], [0, 0, 1]]), 324, 242)
SCANNET_DEPTH = pinhole(288.9, 320, 240)
# Wall 1..6 of the room as NYU40 numbers and as made-up raw ids of the published table.
WALL_TO_NYU = np.array([0, 1, 2, 5, 14, 38, 39], np.uint16)
WALL_TO_RAW = np.array([0, 1, 3, 1163, 47, 900, 2000], np.uint16)


def write_scannet(root: Path, count: int = 12, lost: tuple[int, ...] = (3,), raw: bool = True):
    """Write an exported scan; return the poses of all frames."""
    poses = poses_of(count)
    for number, T in enumerate(poses):
        rgb, _, label = shoot(SCANNET_COLOR, T)
        save_png(root / f"color/{number}.jpg", rgb)
        save_png(root / f"depth/{number}.png", millimetres(shoot(SCANNET_DEPTH, T)[1]))
        table = WALL_TO_RAW if raw else WALL_TO_NYU.astype(np.uint8)
        save_png(root / f"label-filt/{number}.png", table[label])
        pose = np.full((4, 4), -np.inf) if number in lost else T
        rows = (" ".join("-inf" if x == -np.inf else f"{x:.6f}" for x in row) for row in pose)
        (root / "pose").mkdir(exist_ok=True)
        (root / f"pose/{number}.txt").write_text("\n".join(rows) + "\n")
    (root / "intrinsic").mkdir()
    for name, lens in (("color", SCANNET_COLOR), ("depth", SCANNET_DEPTH)):
        K = np.eye(4)
        K[:3, :3] = lens.K
        np.savetxt(root / f"intrinsic/intrinsic_{name}.txt", K, fmt="%.6f")
        np.savetxt(root / f"intrinsic/extrinsic_{name}.txt", np.eye(4), fmt="%.6f")
    return poses


def write_scannet_table(path: Path) -> None:
    """Write the columns of scannetv2-labels.combined.tsv that tell classes."""
    rows = ["id\traw_category\tcategory\tcount\tnyu40id\teigen13id\tnyuClass\tnyu40class"]
    for raw, nyu in zip(WALL_TO_RAW[1:], WALL_TO_NYU[1:], strict=True):
        rows.append(f"{raw}\tthing {raw}\tthing {raw}\t10\t{nyu}\t1\tx\ty")
    path.write_text("\n".join(rows) + "\n")


def write_replica(sequence: Path, count: int = 8) -> np.ndarray:
    """Write a sequence at 160x120 and the room's info_semantic.json; return the poses."""
    poses, lens = poses_of(count), pinhole(80.0, 160, 120)
    for number, T in enumerate(poses):
        rgb, depth, label = shoot(lens, T)
        save_png(sequence / f"rgb/rgb_{number}.png", rgb)
        save_png(sequence / f"depth/depth_{number}.png", millimetres(depth))
        save_png(sequence / f"semantic_class/semantic_class_{number}.png", label)
        save_png(sequence / f"semantic_instance/semantic_instance_{number}.png", label)
    np.savetxt(sequence / "traj_w_c.txt", poses.reshape(count, 16), fmt="%.18e")
    names = ["undefined", "wall-cabinet", "wall", "tv-screen", "door", "floor", "ceiling"]
    classes = [{"id": index, "name": name} for index, name in enumerate(names)]
    room = sequence.parent
    folder = room.parent / "semantic_info" / room.name
    folder.mkdir(parents=True)
    info = {"classes": classes, "objects": [], "id_to_label": []}
    (folder / "info_semantic.json").write_text(json.dumps(info))
    return poses


def write_seven_scenes(sequence: Path, T_source_world: np.ndarray, count: int = 6) -> np.ndarray:
    """Write a sequence at 320x240 whose poses are the depth camera's; return the colour camera's.

    The world of the files is that of `T_source_world`, the poses returned are in the room's.
    """
    color = Lens(np.array([[262.5, 0, 159.75], [0, 262.5, 119.75], [0, 0, 1.0]]), 320, 240)
    depth = Lens(np.array([[292.5, 0, 159.75], [0, 292.5, 119.75], [0, 0, 1.0]]), 320, 240)
    T_color_depth = np.eye(4)
    T_color_depth[0, 3] = -0.025
    poses = poses_of(count)
    sequence.mkdir(parents=True, exist_ok=True)
    for number, T_world_color in enumerate(poses):
        T_world_depth = T_world_color @ T_color_depth
        stem = str(sequence / f"frame-{number:06d}")
        save_png(Path(stem + ".color.png"), shoot(color, T_world_color)[0])
        image = millimetres(shoot(depth, T_world_depth)[1])
        image[:6] = 65535  # invalid
        save_png(Path(stem + ".depth.png"), image)
        pose = T_source_world @ T_world_depth
        lines = ("\t ".join(f"{x: .7e}" for x in row) + "\t" for row in pose)
        Path(stem + ".pose.txt").write_text("\n".join(lines) + "\n")
    return poses
