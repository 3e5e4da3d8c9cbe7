"""The tree of frames that a bag's /tf and /tf_static tell, asked at many times at once."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation, Slerp

from govnesf_model.data.posed_scene import SceneError

USUAL_ROOTS = ("map", "world", "odom")


class TransformTree:
    """Transforms between frames, interpolated in time and never extrapolated.

    Times are float64 seconds since `epoch`, so that they keep nanoseconds.
    """

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._static: dict[str, np.ndarray] = {}
        self._moving: dict[str, list[tuple[float, np.ndarray]]] = {}

    def add(
        self,
        parent: str,
        child: str,
        stamp: float,
        values: Float[np.ndarray, "7"],
        static: bool,
    ) -> None:
        """Add one transform.

        Args:
            parent, child: names of frames; a leading "/" does not count.
            stamp: seconds since the epoch of this tree.
            values: translation x y z and rotation x y z w, of T_parent_child.
            static: whether it holds for all times.
        """
        parent, child = parent.lstrip("/"), child.lstrip("/")
        values = np.array(values, dtype=np.float64)
        length = np.linalg.norm(values[3:])
        if not np.isfinite(values).all() or length < 1e-6:
            raise SceneError(f"the transform from {child} to {parent} has no valid rotation")
        values[3:] /= length
        self._parent[child] = parent
        if static:
            self._static[child] = values
        else:
            self._moving.setdefault(child, []).append((stamp, values))

    @property
    def frames(self) -> tuple[str, ...]:
        """Names of all frames."""
        return tuple(sorted({*self._parent, *self._parent.values()}))

    def chain(self, frame: str) -> list[str]:
        """Return a frame, its parent, and so on to the root."""
        names = [frame.lstrip("/")]
        while names[-1] in self._parent:
            parent = self._parent[names[-1]]
            if parent in names:
                raise SceneError(f"the transforms of the bag form a loop: {', '.join(names)}")
            names.append(parent)
        return names

    def fixed_frame(self, frame: str, wanted: str = "") -> str:
        """Return the frame that poses are given in: the wanted one, map, world, odom, or the root.

        Raises:
            SceneError: the frame is not connected to the wanted one, or to anything.
        """
        names = self.chain(frame)
        known = ", ".join(self.frames) or "none"
        if wanted:
            if wanted.lstrip("/") not in names[1:]:
                raise SceneError(
                    f"frame {frame!r} is not connected to {wanted!r} (known frames: {known}): "
                    "name another by the option map_frame"
                )
            return wanted.lstrip("/")
        if len(names) == 1:
            raise SceneError(
                f"frame {frame!r} is not in the transforms of the bag (known frames: {known}): "
                "was /tf recorded, and /tf_static?"
            )
        return next((name for name in USUAL_ROOTS if name in names[1:]), names[-1])

    def look_up(
        self, fixed: str, frame: str, times: Float[np.ndarray, "n"]
    ) -> tuple[Float[np.ndarray, "n 4 4"], Bool[np.ndarray, "n"]]:
        """Return T_fixed_frame at times, and at which of them every transform is known."""
        names = self.chain(frame)
        poses = np.tile(np.eye(4), (len(times), 1, 1))
        known = np.ones(len(times), dtype=bool)
        for child in names[: names.index(fixed)]:
            step, valid = self._step(child, times)
            poses, known = step @ poses, known & valid
        return poses, known

    def _step(self, child: str, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return T_parent_child at times and where it is known."""
        if child in self._static and child not in self._moving:
            values = np.tile(self._static[child], (len(times), 1))
            return _matrices(values[:, :3], Rotation.from_quat(values[:, 3:])), times == times
        table = dict(sorted(self._moving[child], key=lambda entry: entry[0]))
        stamps, values = np.array(list(table)), np.stack(list(table.values()))
        # A microsecond of slack: float stamps of one instant may differ by rounding.
        known = (times >= stamps[0] - 1e-6) & (times <= stamps[-1] + 1e-6)
        at = times.clip(stamps[0], stamps[-1])
        if len(stamps) == 1:
            turn = Rotation.from_quat(np.tile(values[0, 3:], (len(times), 1)))
        else:
            turn = Slerp(stamps, Rotation.from_quat(values[:, 3:]))(at)
        move = np.stack([np.interp(at, stamps, values[:, i]) for i in range(3)], axis=1)
        return _matrices(move, turn), known


def _matrices(translation: np.ndarray, rotation: Rotation) -> np.ndarray:
    T = np.tile(np.eye(4), (len(translation), 1, 1))
    T[:, :3, :3], T[:, :3, 3] = rotation.as_matrix(), translation
    return T
