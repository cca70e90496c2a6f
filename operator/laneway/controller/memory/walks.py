"""Which lanes running attempts ask for a slot. Worked out at each pass over a run; losing it loses nothing that those do not find again."""

from __future__ import annotations

from laneway.kube.resources import Key


class Walks:
    """Runs by the lane that they ask."""

    def __init__(self) -> None:
        self._lanes: dict[Key, Key] = {}
        self._runs: dict[Key, dict[Key, None]] = {}

    def note(self, run: Key, lane: Key | None) -> tuple[Key, ...]:
        """A run asks this lane, or none; the lanes that have to look because of that."""
        before = self._lanes.get(run)
        if before == lane:
            return ()
        if before is not None:
            self._drop(run, before)
        if lane is not None:
            self._lanes[run] = lane
            self._runs.setdefault(lane, {})[run] = None
        return tuple(one for one in (before, lane) if one is not None)

    def on_lane(self, lane: Key) -> tuple[Key, ...]:
        """The runs that ask a lane."""
        return tuple(self._runs.get(lane, ()))

    def _drop(self, run: Key, lane: Key) -> None:
        del self._lanes[run]
        del self._runs[lane][run]
        if not self._runs[lane]:
            del self._runs[lane]
