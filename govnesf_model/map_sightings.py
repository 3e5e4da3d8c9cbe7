"""Which keyframe of the online map sees which of its points.

sightings = Sightings(config)
view = sightings.look(keyframe, points.xyz, depth)     # rows seen, rows looked through
sightings.rows[keyframe.id] = view.seen
related = sightings.related(keyframes, rows, len(points), limit=16)
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64

from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.map_points import Visibility, rows_seen

_RENDERED_TOLERANCE = 3.0  # rendered depth is that much less exact than measured depth


class Sightings:
    """Rows of the points that each keyframe sees, and the depth by which that is told.

    Attributes:
        rows: per keyframe, rows of the points.
        surface: per keyframe, z-depth of what it sees, metres, 0 unknown; any resolution.
        last: per point, the id of the keyframe whose own surface hit it last; it may be given up
            by now.
    """

    def __init__(self, config: MapConfig) -> None:
        self._config = config
        self.rows: dict[int, np.ndarray] = {}
        self.surface: dict[int, np.ndarray] = {}
        self.last = np.zeros(0, np.int64)

    @property
    def bytes(self) -> int:
        """Memory held by the rows; the depth belongs to the keyframes."""
        return sum(rows.nbytes for rows in self.rows.values()) + self.last.nbytes

    def saw(
        self,
        number: int,
        rows: Int64[np.ndarray, "m"],
        hit: Int64[np.ndarray, "h"],
        points: int,
    ) -> None:
        """Note what a keyframe sees now.

        Args:
            number: of the keyframe.
            rows: of the points that it sees.
            hit: of those that its own surface lies on, not only near to.
            points: number of points in the map.
        """
        self.rows[number] = rows
        last = np.full(points, number, np.int64)  # points that are new are this keyframe's
        last[: len(self.last)] = self.last
        last[hit] = number
        self.last = last

    def look(self, keyframe: Keyframe, xyz: Float32[np.ndarray, "n 3"]) -> Visibility:
        """Return which of some points a keyframe sees, by its surface where that is known."""
        tolerance = self._config.depth_tolerance
        if keyframe.depth is None:
            tolerance *= _RENDERED_TOLERANCE
        return rows_seen(
            xyz,
            keyframe.K,
            keyframe.T_world_camera,
            (keyframe.width, keyframe.height),
            self.surface.get(keyframe.id),
            tolerance,
            self._config.max_depth * 1.2,
        )

    def forget(self, number: int) -> None:
        """Give up a keyframe."""
        self.rows.pop(number, None)
        self.surface.pop(number, None)

    def renumber(self, new_row: Int64[np.ndarray, "n"], points: int) -> None:
        """Follow points to new rows, -1 where they are gone; `points` is their number now."""
        known = new_row[: len(self.last)]  # an image that failed may have left points
        last = np.full(points, self.last.max(initial=0), np.int64)
        last[known[known >= 0]] = self.last[known >= 0]
        self.last = last
        self.rows = {number: _moved(rows, new_row) for number, rows in self.rows.items()}

    def related(
        self, keyframes: Sequence[Keyframe], rows: Int64[np.ndarray, "m"], points: int, limit: int
    ) -> tuple[Keyframe, ...]:
        """Return the keyframes that see most of the rows, the newest first in any case.

        Args:
            keyframes: newest last.
            rows: of points.
            points: number of points in the map.
            limit: keyframes returned at most.
        """
        wanted = np.zeros(points, bool)
        wanted[rows] = True
        overlap = {k.id: int(wanted[self.rows[k.id]].sum()) for k in keyframes}
        overlap[keyframes[-1].id] = points + 1
        ranked = sorted(keyframes, key=lambda k: (-overlap[k.id], k.id))
        return tuple(k for k in ranked[:limit] if overlap[k.id] > 0)

    def groups(
        self, keyframes: Sequence[Keyframe], rows: Int64[np.ndarray, "m"], points: int, limit: int
    ) -> list[tuple[Int64[np.ndarray, "_"], tuple[Keyframe, ...]]]:
        """Return rows in groups that one keyframe sees, each with the keyframes to fuse it from.

        Rows that no keyframe sees are in none. Arguments as of `related`.
        """
        left = np.zeros(points, bool)
        left[rows] = True
        seen = {keyframe.id: self.rows[keyframe.id] for keyframe in keyframes}
        remaining, result = list(keyframes), []
        while remaining:
            best = max(remaining, key=lambda k: int(left[seen[k.id]].sum()))
            group = seen[best.id][left[seen[best.id]]]
            if not len(group):
                break
            left[group] = False
            others = [keyframe for keyframe in keyframes if keyframe is not best]
            result.append((group, self.related([*others, best], group, points, limit)))
            remaining.remove(best)
        return result

    def spread(
        self,
        keyframes: Sequence[Keyframe],
        xyz: Float32[np.ndarray, "n 3"],
        new: Int64[np.ndarray, "m"],
    ) -> None:
        """Tell keyframes about new points that they see as well, for the coverage."""
        for keyframe in keyframes if len(new) else ():
            seen = new[self.look(keyframe, xyz[new]).seen]
            self.rows[keyframe.id] = np.concatenate([self.rows[keyframe.id], seen])


def _moved(rows: np.ndarray, new_row: np.ndarray) -> np.ndarray:
    moved = new_row[rows]
    return moved[moved >= 0]
