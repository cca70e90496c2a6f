"""The lanes' keys: read by name, kept for a minute, used on while the API server is away."""

from __future__ import annotations

import asyncio

import pytest

from laneway.gateway.cluster.objects import Lane
from laneway.gateway.cluster.views import Views
from laneway.gateway.upstream.credentials import CredentialMissing, Credentials, lane_headers
from unit.gateway.kit import JsonObject, lane_object, secret_object

REF = {"credentialRef": {"name": "provider", "key": "apiKey"}}


async def make_lane(**endpoint: object) -> Lane:
    views = Views()
    views.lanes.put(lane_object("http://x", endpoint=endpoint))
    (lane,) = list(views.lanes)
    return lane


class Secrets:
    """A Secret that can change, vanish, be out of reach, or never come."""

    def __init__(self, answer: JsonObject | None) -> None:
        self.answer: JsonObject | None = answer
        self.away = False
        self.hangs = False
        self.reads = 0

    async def __call__(self, namespace: str, name: str) -> JsonObject | None:
        assert (namespace, name) == ("agents", "provider")
        self.reads += 1
        if self.away:
            raise OSError("no API server")
        if self.hangs:
            await asyncio.Event().wait()
        return self.answer


async def test_a_lane_without_a_credential_needs_no_secret() -> None:
    lane = await make_lane()
    assert await Credentials(Secrets(None)).key_of(lane) is None
    assert lane_headers(lane, None) == {}


async def test_a_key_is_read_once_a_minute() -> None:
    now, secrets, lane = [0.0], Secrets(secret_object("a")), await make_lane(**REF)
    credentials = Credentials(secrets, monotonic=lambda: now[0])
    for moment, key, reads in ((0.0, "a", 1), (59.0, "a", 1), (61.0, "b", 2)):
        now[0] = moment
        assert (await credentials.key_of(lane), secrets.reads) == (key, reads)
        secrets.answer = secret_object("b")


async def test_another_key_than_the_last_is_noticed_and_none_is_no_key() -> None:
    secrets, lane = Secrets(secret_object("a")), await make_lane(**REF)
    credentials = Credentials(secrets)
    assert credentials.last_key(lane) is None
    await credentials.key_of(lane)
    last = credentials.last_key(lane)
    assert last == "a"
    for answer, other in ((secret_object("a"), False), (None, False), (secret_object("b"), True)):
        secrets.answer = answer
        assert await credentials.has_other_than(last, lane) is other
    secrets.away = True
    assert not await credentials.has_other_than("b", lane)
    assert not await credentials.has_other_than(None, await make_lane())


async def test_an_old_key_is_used_on_while_the_api_server_is_away_and_dies_with_its_secret() -> None:
    now, secrets, lane = [0.0], Secrets(secret_object("a")), await make_lane(**REF)
    credentials = Credentials(secrets, monotonic=lambda: now[0])
    assert await credentials.key_of(lane) == "a"
    now[0], secrets.away = 100.0, True
    assert await credentials.key_of(lane) == "a"
    now[0], secrets.away, secrets.answer = 111.0, False, None
    with pytest.raises(CredentialMissing, match="does not exist"):
        await credentials.key_of(lane)
    secrets.away = True
    with pytest.raises(CredentialMissing, match="cannot be read now"):
        await credentials.key_of(lane)


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        pytest.param(None, "does not exist", id="no Secret"),
        pytest.param(secret_object("a", labelled=False), "must carry the label", id="no label"),
        pytest.param({**secret_object("a"), "data": {}}, "has no key apiKey", id="no such entry"),
        pytest.param(secret_object(" \n"), "is empty", id="an empty key"),
        pytest.param(
            secret_object("a\r\nX-Evil: 1"), "has more than one line", id="a key that would break the headers"
        ),
        pytest.param(secret_object("ключ"), "not printable ASCII", id="a key that is not ASCII"),
        pytest.param(secret_object("a\tb"), "not printable ASCII", id="a key with a tab inside"),
        pytest.param(secret_object("a\x00"), "not printable ASCII", id="a key with a NUL"),
        pytest.param(secret_object("first\nsecond"), "has more than one line", id="two keys"),
        pytest.param(secret_object("a" * 5000), "more than 4096 bytes", id="a file instead of a key"),
        pytest.param({**secret_object("a"), "data": {"apiKey": "%%"}}, "is not base64", id="no base64"),
    ],
)
async def test_what_is_missing_is_said_and_the_key_is_not(secret: JsonObject | None, words: str) -> None:
    with pytest.raises(CredentialMissing, match=words) as error:
        await Credentials(Secrets(secret)).key_of(await make_lane(**REF))
    assert not any(part in str(error.value) for part in ("X-Evil", "second", "aaa"))
    assert error.value.__cause__ is None


async def test_a_key_may_end_in_a_line_end_as_files_do() -> None:
    assert await Credentials(Secrets(secret_object("sk-1\r\n"))).key_of(await make_lane(**REF)) == "sk-1"


async def test_an_api_server_that_hangs_holds_one_call_for_a_moment_and_the_others_not_at_all() -> None:
    now, secrets, lane = [0.0], Secrets(secret_object("a")), await make_lane(**REF)
    credentials = Credentials(secrets, monotonic=lambda: now[0])
    assert await credentials.key_of(lane) == "a"
    now[0], secrets.hangs = 61.0, True
    reading = asyncio.create_task(credentials.key_of(lane))
    await asyncio.sleep(0)
    for _ in range(3):
        assert await credentials.key_of(lane) == "a"
    assert (secrets.reads, reading.done()) == (2, False)
    assert await asyncio.wait_for(reading, 30) == "a"
    assert secrets.reads == 2
    now[0], secrets.hangs, secrets.answer = 72.0, False, secret_object("b")
    assert await credentials.key_of(lane) == "b"
