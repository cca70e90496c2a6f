"""Hides a lane's key in a stream that repeats it, however it is cut into chunks."""

from __future__ import annotations

HIDDEN = b"[key]"
"""What stands in a key's place."""


class KeyHider:
    """Takes a stream's bytes as they come and gives them without the key.

    Only an end that may be the beginning of the key is held back. Events end with a line end, which no key has, so they are not delayed.
    """

    def __init__(self, key: str | None) -> None:
        """None: the lane has no key, and nothing is looked at."""
        self._key = b"" if key is None else key.encode()
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Bytes for the client."""
        if not self._key:
            return data
        shown = (self._held + data).replace(self._key, HIDDEN)
        end = self._open_end(shown)
        self._held = shown[end:]
        return shown[:end]

    def close(self) -> bytes:
        """The stream has ended: what was held back was no key."""
        rest, self._held = self._held, b""
        return rest

    def _open_end(self, data: bytes) -> int:
        """Where the longest end begins that is a beginning of the key; the length if there is none."""
        first, at = self._key[:1], max(0, len(data) - len(self._key) + 1)
        while (at := data.find(first, at)) >= 0:
            if self._key.startswith(data[at:]):
                return at
            at += 1
        return len(data)
