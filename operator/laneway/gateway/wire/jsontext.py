"""A JSON object that is changed in place: what is not replaced keeps its bytes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json.scanner import make_scanner

_SPACE = re.compile(r"[ \t\n\r]*")
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_scan = make_scanner(json.JSONDecoder())  # type: ignore[arg-type]  # the stubs want one of its own kind
VALUES_LIMIT = 2_000_000
"""Values that one text may hold. Each is an object of its own in memory, 20 times as large as the shortest one in the text."""


class NotAnObject(ValueError):  # noqa: N818 - it says what happened
    """The text is no JSON object; the message says why, without quoting it."""


_INVALID = "the body is not valid JSON"


@dataclass(frozen=True, slots=True)
class Member:
    """One top-level member and where it stands."""

    key: str
    value: object
    key_start: int
    start: int
    end: int


class JsonText:
    """The top level of a JSON object as text, with its members' places."""

    def __init__(self, body: bytes) -> None:
        """Read the members. Raises NotAnObject."""
        if is_dense(body):
            raise NotAnObject("the body has too many values")
        try:
            self._text = body.decode()
            self.members, self._close = _read(self._text)
        except UnicodeDecodeError:
            raise NotAnObject("the body is not UTF-8") from None
        except RecursionError:
            raise NotAnObject("the body is nested too deeply") from None
        except NotAnObject:
            raise
        except ValueError:
            raise NotAnObject(_INVALID) from None
        self._named: dict[str, list[Member]] = {}
        for member in self.members:
            self._named.setdefault(member.key.casefold(), []).append(member)
        self._edits: list[tuple[int, int, str]] = []
        self._added: list[str] = []

    def named(self, key: str) -> list[Member]:
        """Members of that name, upper and lower case alike: servers in Go match a key that way, and take the last."""
        return self._named.get(key.casefold(), [])

    def value(self, key: str, default: object = None) -> object:
        """The value that a server takes: the last of that name."""
        found = self.named(key)
        return found[-1].value if found else default

    def put(self, key: str, value: object) -> None:
        """Set a member: in its place if there is one, else at the end."""
        text = json.dumps(value)  # in ASCII: a value from the body may hold a lone surrogate, which UTF-8 cannot
        found = self.named(key)
        for member in found:
            self.replace(member, text)
        if not found:
            self._added.append(f"{json.dumps(key)}:{text}")

    def replace(self, member: Member, text: str) -> None:
        """Set one member to a value that is JSON already."""
        self._edits.append((member.start, member.end, text))

    def inside(self, member: Member) -> JsonText:
        """The object that is a member's value, to be changed and put back with ``replace``. Raises NotAnObject."""
        return JsonText(self._text[member.start : member.end].encode())

    def remove(self, member: Member) -> None:
        """Leave a member out, with the comma that belongs to it."""
        place = self.members.index(member)
        if place + 1 < len(self.members):
            self._edits.append((member.key_start, self.members[place + 1].key_start, ""))
        else:
            start = self.members[place - 1].end if place else member.key_start
            self._edits.append((start, member.end, ""))

    def render(self) -> bytes:
        """The object with all changes."""
        if self._added:
            comma = "," if self.members else ""
            self._edits.append((self._close, self._close, comma + ",".join(self._added)))
        parts, done = [], 0
        for start, end, new in sorted(self._edits):
            parts += [self._text[done:start], new]
            done = end
        return "".join([*parts, self._text[done:]]).encode()


def is_dense(raw: bytes | bytearray) -> bool:
    """Whether a text may hold more values than is good; marks inside strings count too, so that nothing need be parsed."""
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{") > VALUES_LIMIT


def _read(text: str) -> tuple[list[Member], int]:
    members: list[Member] = []
    place = _skip(text, 0)
    if text[place : place + 1] != "{":
        raise NotAnObject("the body is not a JSON object")
    place = _skip(text, place + 1)
    while text[place : place + 1] != "}":
        if members:
            place = _after(_COMMA, text, place)
        key_start = place
        key, place = _value(text, place)
        if not isinstance(key, str):
            raise NotAnObject(_INVALID)
        start = _after(_COLON, text, place)
        value, end = _value(text, start)
        members.append(Member(key, value, key_start, start, end))
        place = _skip(text, end)
    if _skip(text, place + 1) != len(text):
        raise NotAnObject("the body goes on after its JSON object")
    return members, place


def _value(text: str, place: int) -> tuple[object, int]:
    try:
        value: tuple[object, int] = _scan(text, place)
    except StopIteration:
        raise NotAnObject(_INVALID) from None
    return value


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _after(mark: re.Pattern[str], text: str, place: int) -> int:
    found = mark.match(text, place)
    if found is None:
        raise NotAnObject(_INVALID)
    return found.end()
