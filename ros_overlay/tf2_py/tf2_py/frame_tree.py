"""The tree of frames: paths between two frames, the latest time they share, the transform.

Frames are names, times integer nanoseconds with 0 for the latest common time. Nothing here knows
messages; `BufferCore` puts them around it.
"""

from __future__ import annotations

from . import rigid
from .exceptions import ConnectivityException, ExtrapolationException, LookupException
from .time_cache import Sample, StaticCache, TimeCache

MAX_DEPTH = 1000


class FrameTree:
    """Every known frame and its cache; a root has a name but no cache."""

    def __init__(self, cache_length: int) -> None:
        self.cache_length = cache_length
        self.caches: dict[str, TimeCache | StaticCache | None] = {}

    def insert(self, child: str, sample: Sample, static: bool) -> bool:
        """Store where `child` is. A frame that turns static, or moves again, loses its history."""
        cache = self.caches.get(child)
        if cache is None or isinstance(cache, StaticCache) != static:
            cache = StaticCache() if static else TimeCache(self.cache_length)
            self.caches[child] = cache
        self.caches.setdefault(sample.parent, None)
        return cache.insert(sample)

    def lookup(self, target: str, source: str, time: int) -> tuple[rigid.Transform, int]:
        """T_target_source at `time`, and the time that it holds for.

        Raises:
            LookupException, ConnectivityException, ExtrapolationException: see there.
        """
        if target == source:
            return rigid.IDENTITY, time or self._latest_stamp(target)
        time = time or self.latest_common_time(target, source)
        up, down = self._walk(target, source, time)
        source_to_top = _chain_product(up)
        target_to_top = _chain_product(down)
        return rigid.compose(rigid.inverse(target_to_top), source_to_top), time

    def path(self, target: str, source: str, time: int) -> list[str]:
        """The frames from `source` to `target`, both included."""
        if target == source:
            return [source]
        time = time or self.latest_common_time(target, source)
        up, down = self._walk(target, source, time)
        rising = [source, *(sample.parent for sample in up)]
        falling = [target, *(sample.parent for sample in down)]
        return rising + falling[-2::-1]

    def latest_common_time(self, target: str, source: str) -> int:
        """The newest time at which every moving link between the two frames is known.

        0 when all links are static.
        """
        if target == source:
            return self._latest_stamp(target)
        up = self._latest_links(source, stop=target)
        if up and up[-1].parent == target:
            return _earliest(up)
        down = self._latest_links(target, stop=source)
        if down and down[-1].parent == source:
            return _earliest(down)
        reached = {sample.parent: i for i, sample in enumerate(up)}
        for i, sample in enumerate(down):
            if sample.parent in reached:
                return _earliest(up[: reached[sample.parent] + 1] + down[: i + 1])
        raise self._not_connected(target, source)

    def describe(self) -> str:
        """One sentence a frame, with its latest parent."""
        lines = []
        for name, cache in self.caches.items():
            if cache is not None:
                parent = cache.latest.parent if cache.latest else "NO_PARENT"
                lines.append(f"Frame {name} exists with parent {parent}.\n")
        return "".join(lines)

    def _walk(self, target: str, source: str, time: int) -> tuple[list[Sample], list[Sample]]:
        """Links from `source` and from `target` up to where they meet, at `time`.

        A link without data at `time` ends a climb; it is an error only if no path is found.
        """
        up, why = self._climb(source, target, time)
        if up and up[-1].parent == target:
            return up, []
        met = {source: 0, **{sample.parent: i + 1 for i, sample in enumerate(up)}}
        down, why_down = self._climb(target, source, time, stops=met)
        last = down[-1].parent if down else target
        if last in met:
            return up[: met[last]], down
        why = why_down or why
        if why is not None:
            raise ExtrapolationException(
                f"{why}, when looking up transform from frame [{source}] to frame [{target}]"
            )
        raise self._not_connected(target, source)

    def _climb(
        self, start: str, end: str, time: int, stops: dict[str, int] | None = None
    ) -> tuple[list[Sample], ExtrapolationException | None]:
        links: list[Sample] = []
        frame = start
        while frame != end and not (stops and frame in stops):
            cache = self.caches.get(frame)
            if cache is None:
                break
            try:
                sample = cache.at(time)
            except ExtrapolationException as error:
                return links, error
            if sample is None:
                break
            links.append(sample)
            frame = sample.parent
            if len(links) > MAX_DEPTH:
                raise self._loop()
        return links, None

    def _latest_links(self, start: str, stop: str) -> list[Sample]:
        links: list[Sample] = []
        frame = start
        while frame != stop:
            cache = self.caches.get(frame)
            if cache is None or cache.latest is None:
                break
            links.append(cache.latest)
            frame = cache.latest.parent
            if len(links) > MAX_DEPTH:
                raise self._loop()
        return links

    def _latest_stamp(self, frame: str) -> int:
        cache = self.caches.get(frame)
        return cache.span[1] if cache is not None else 0

    def _loop(self) -> LookupException:
        return LookupException(
            f"The tf tree is invalid because it contains a loop.\n{self.describe()}\n"
        )

    @staticmethod
    def _not_connected(target: str, source: str) -> ConnectivityException:
        return ConnectivityException(
            f"Could not find a connection between '{target}' and '{source}' because they are "
            "not part of the same tree.Tf has two or more unconnected trees."
        )


def _chain_product(links: list[Sample]) -> rigid.Transform:
    result = rigid.IDENTITY
    for sample in links:
        result = rigid.compose(sample.transform, result)
    return result


def _earliest(links: list[Sample]) -> int:
    return min((sample.stamp for sample in links if sample.stamp), default=0)
