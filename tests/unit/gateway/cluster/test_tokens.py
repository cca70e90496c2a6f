"""Who may call, and how long an attempt that is not yet in view is waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from laneway.gateway.cluster.tokens import Authenticator, KeyRing, plain_address, token_in
from laneway.gateway.cluster.views import Views
from laneway.gateway.wire.base import Kind
from laneway.gateway.wire.refused import Refused
from laneway.rules.token import AttemptId, TokenKeys, sign
from unit.gateway.kit import ATTEMPT, KEYS, pod_object, run_object

HERE = "10.0.0.7"
OTHER_UID = "run-uid-2"


async def asked(attempt: AttemptId) -> bool:
    return True


async def not_asked(attempt: AttemptId) -> bool:
    return False


async def read_keys() -> TokenKeys:
    return KEYS


def authenticator(
    views: Views, *, confirm: Callable[[AttemptId], Awaitable[bool]] = asked, hold: float = 0.05, bind: bool = True
) -> Authenticator:
    return Authenticator(
        keys=KeyRing(read_keys), views=views, confirm=confirm, hold_seconds=hold, bind_pod_address=bind
    )


def views_of(*objects: dict[str, object]) -> Views:
    views = Views()
    for item in objects:
        (views.pods if "podIPs" in item["status"] else views.runs).put(item)
    return views


async def outcome(checker: Authenticator, attempt: AttemptId = ATTEMPT, peer: str = HERE) -> str:
    try:
        caller = await checker.admit(attempt, peer)
    except Refused as refused:
        return refused.refusal.kind.value
    assert caller.attempt == attempt
    return "admitted"


HERE_POD = pod_object(address=HERE)
SEEN = (run_object(), HERE_POD)


@pytest.mark.parametrize(
    ("objects", "peer", "expected"),
    [
        pytest.param(SEEN, HERE, "admitted", id="its own pod"),
        pytest.param(SEEN, "10.0.0.8", "Unauthenticated", id="an address that is not its pod's"),
        pytest.param(
            (*SEEN, pod_object(uid=OTHER_UID, address="10.0.0.8")),
            "10.0.0.8",
            "Unauthenticated",
            id="another pod's address",
        ),
        pytest.param((run_object(finished=True), HERE_POD), HERE, "Unauthenticated", id="a finished run"),
        pytest.param(
            (run_object(attempt=2), HERE_POD), HERE, "Unauthenticated", id="an attempt that was followed by another"
        ),
        pytest.param(
            (run_object(attempt=0), HERE_POD), HERE, "Unauthenticated", id="an attempt that never came into view"
        ),
        pytest.param((HERE_POD,), HERE, "Unauthenticated", id="a run that does not exist"),
        pytest.param((run_object(),), HERE, "Unauthenticated", id="a pod that does not exist"),
        pytest.param(
            (run_object(), pod_object(address=None)), HERE, "Unauthenticated", id="a pod that never got an address"
        ),
        pytest.param(
            (run_object(), pod_object(address=HERE, phase="Succeeded")),
            HERE,
            "Unauthenticated",
            id="a pod that has ended",
        ),
    ],
)
async def test_who_is_admitted(objects: tuple[dict[str, object], ...], peer: str, expected: str) -> None:
    assert await outcome(authenticator(views_of(*objects)), peer=peer) == expected


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param((*SEEN, pod_object(uid=OTHER_UID, address="10.0.0.8")), id="another pod's address"),
        pytest.param((run_object(finished=True),), id="a finished run"),
        pytest.param((run_object(attempt=2),), id="an old attempt"),
        pytest.param(
            (run_object(), pod_object(address=None), pod_object(uid=OTHER_UID, address="10.0.0.8")),
            id="another pod's address, while ours has none yet",
        ),
    ],
)
async def test_what_is_known_to_be_wrong_is_refused_at_once(objects: tuple[dict[str, object], ...]) -> None:
    async def never(attempt: AttemptId) -> bool:
        raise AssertionError("nothing was to be asked")

    checker = authenticator(views_of(*objects), confirm=never, hold=60)
    assert await asyncio.wait_for(outcome(checker, peer="10.0.0.8"), 1) == "Unauthenticated"


async def test_a_deleted_run_is_refused_at_once() -> None:
    views = views_of(*SEEN)
    views.runs.on_event("DELETED", run_object())
    assert await asyncio.wait_for(outcome(authenticator(views, hold=60)), 1) == "Unauthenticated"


async def test_a_call_before_its_pod_is_in_view_waits_and_succeeds() -> None:
    views = views_of(run_object(attempt=0))
    call = asyncio.ensure_future(outcome(authenticator(views, hold=10)))
    await asyncio.sleep(0)
    views.runs.put(run_object(version=2))
    views.pods.put(pod_object(address=None))
    await asyncio.sleep(0)
    assert not call.done()
    views.pods.put(pod_object(address=HERE, version=2))
    assert await asyncio.wait_for(call, 1) == "admitted"


async def test_a_call_that_the_watch_has_not_told_of_succeeds_by_a_live_read() -> None:
    views = Views()

    async def read_live(attempt: AttemptId) -> bool:
        for item in SEEN:
            (views.pods if item is HERE_POD else views.runs).put(item)
        return True

    started = time.monotonic()
    assert await outcome(authenticator(views, confirm=read_live, hold=10)) == "admitted"
    assert time.monotonic() - started < 1


async def test_while_the_api_server_is_away_an_unknown_attempt_is_unavailable_not_unauthorized() -> None:
    assert await outcome(authenticator(Views(), confirm=not_asked)) == "Unavailable"
    assert await outcome(authenticator(Views(), confirm=asked)) == "Unauthenticated"


async def test_known_runs_go_on_while_the_api_server_is_away() -> None:
    assert await outcome(authenticator(views_of(*SEEN), confirm=not_asked)) == "admitted"


async def test_where_a_mesh_hides_addresses_the_signature_is_enough() -> None:
    assert await outcome(authenticator(views_of(run_object()), bind=False), peer="172.16.0.1") == "admitted"


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(None, id="none"),
        pytest.param("sk-not-ours", id="no token of ours"),
        pytest.param(sign(KEYS, ATTEMPT)[:-1] + "_", id="a changed mac"),
        pytest.param(sign(KEYS, ATTEMPT).replace(".1.", ".2."), id="another attempt under the same mac"),
        pytest.param(sign(TokenKeys("k1", {"k1": b"x" * 32}), ATTEMPT), id="another key of the same id"),
        pytest.param(sign(TokenKeys("k9", {"k9": b"x" * 32}), ATTEMPT), id="a key id that does not exist"),
    ],
)
async def test_wrong_tokens(token: str | None) -> None:
    with pytest.raises(Refused) as refused:
        await authenticator(Views()).identify(token)
    assert refused.value.refusal.kind is Kind.UNAUTHENTICATED


async def test_both_keys_of_a_rotation_are_accepted() -> None:
    old = TokenKeys("k0", KEYS.keys)
    assert await authenticator(Views()).identify(sign(KEYS, ATTEMPT)) == ATTEMPT
    assert await authenticator(Views()).identify(sign(old, ATTEMPT)) == ATTEMPT


async def test_an_unknown_key_id_reads_the_secret_again_but_not_for_every_call() -> None:
    now, reads = [100.0], []
    new = TokenKeys("k2", {**KEYS.keys, "k2": b"2" * 32})
    answers = [KEYS, KEYS, new]

    async def read() -> TokenKeys:
        reads.append(now[0])
        return answers[len(reads) - 1]

    ring = KeyRing(read, monotonic=lambda: now[0])
    token = sign(new, ATTEMPT)
    assert await ring.verify(token) is None
    assert await ring.verify(token) is None
    assert reads == [100.0]
    now[0] = 106.0
    assert await ring.verify(token) is None
    now[0] = 112.0
    assert await ring.verify(token) == ATTEMPT
    assert reads == [100.0, 106.0, 112.0]


async def test_keys_that_cannot_be_read_again_are_kept() -> None:
    answers = [KEYS, None]

    async def read() -> TokenKeys | None:
        return answers.pop(0)

    now = [0.0]
    ring = KeyRing(read, monotonic=lambda: now[0])
    await ring.refresh()
    now[0] = 10.0
    await ring.refresh()
    assert await ring.verify(sign(KEYS, ATTEMPT)) == ATTEMPT


@pytest.mark.parametrize(
    ("headers", "query", "token"),
    [
        ({"Authorization": "Bearer a", "x-api-key": "b", "x-goog-api-key": "c"}, "d", "a"),
        ({"Authorization": "bearer  a "}, None, "a"),
        ({"Authorization": "Basic a", "x-api-key": "b", "x-goog-api-key": "c"}, "d", "b"),
        ({"x-goog-api-key": "c"}, "d", "c"),
        ({}, "d", "d"),
        ({"Authorization": "Bearer "}, None, None),
        ({}, None, None),
    ],
    ids=[
        "bearer first",
        "any case",
        "then x-api-key",
        "then x-goog-api-key",
        "then the query",
        "an empty bearer",
        "nothing",
    ],
)
def test_where_the_token_is_taken_from(headers: dict[str, str], query: str | None, token: str | None) -> None:
    assert token_in(headers, query) == token


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("FD00::7", "fd00::7"),
        ("fe80::1%eth0", "fe80::1"),
        (None, ""),
        ("unix", ""),
    ],
)
def test_addresses_are_compared_as_kubernetes_writes_them(peer: str | None, address: str) -> None:
    assert plain_address(peer) == address
