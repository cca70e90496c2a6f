"""A key, a token and a prompt go through everything that can happen, with debug logging on; afterwards nothing that stays holds them."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import generate_latest
from yarl import URL

from laneway import logs
from laneway.gateway.client.bodies import Bodies
from laneway.gateway.upstream.credentials import CredentialMissing
from laneway.gateway.upstream.probe import probe
from laneway.settings import LogSettings
from unit.gateway.kit import KEYS, Kit, gateway, lane_object, secret_object

KEY = "sk-lane/5ecret+key=="
PROMPT = "the launch code is 7-unicorn-9"
KEYED = {"credentialRef": {"name": "provider", "key": "apiKey"}}
SSE = {"Content-Type": "text/event-stream"}
ANSWER = {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


def secrets_of(kit: Kit) -> list[bytes]:
    """What must not be found, in every spelling that somebody might write it in."""
    plain = [KEY, kit.headers()["Authorization"].removeprefix("Bearer "), PROMPT, KEYS.keys["k1"].decode()]
    coded = [base64.b64encode(each.encode()).decode().rstrip("=")[:-1] for each in plain]
    return [each.encode() for each in {*plain, *coded, *(quote(each, safe="") for each in plain)}]


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Every line that the shipped logging would write at its loudest, tracebacks included."""
    root, lines = logging.getLogger(), list[str]()
    handlers, level = list(root.handlers), root.level

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.extend([logs.JsonLines().format(record), logs.TextLines().format(record)])

    logs.setup(LogSettings(level="debug", json=True))
    root.addHandler(Keep(level=logging.DEBUG))
    yield lines
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


async def model_server(request: web.Request) -> web.StreamResponse:
    """Does what the path's query says; where it can, it repeats the key that it got."""
    shown = request.headers.get("Authorization", "")
    body, kind = await request.text(), request.query.get("do", "")
    assert PROMPT in body or not body or request.path == "/v1/models", "the test sends its prompt"
    echo = {"error": {"message": f"you sent {shown}", "type": "some_error"}}
    status = int(kind) if kind.isdigit() else 200
    match kind:
        case "redirect":
            return web.Response(status=302, headers={"Location": f"http://elsewhere.example/?key={shown}"})
        case "words":
            return web.Response(status=500, text=f"Traceback: {shown}")
        case "hang-up":
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError
        case "no-json":
            return web.Response(text="<html>", content_type="application/json", headers={"X-Your-Key": shown})
        case "stream" | "cut" | "stream-error":
            return await stream(request, kind, shown)
        case _:
            headers = {"X-Your-Key": shown, "Retry-After": "7"}
            return web.json_response(ANSWER if status == 200 else echo, status=status, headers=headers)


async def stream(request: web.Request, kind: str, shown: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={**SSE, "X-Your-Key": shown})
    await response.prepare(request)
    await response.write(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n')
    if kind == "stream-error":
        await response.write(b'data: {"error":{"message":"bad key %s","code":500}}\n\n' % shown.encode())
    if kind == "cut" and request.transport is not None:
        request.transport.abort()
        return response
    await response.write(b"data: [DONE]\n\n")
    return response


async def call(kit: Kit, kind: str, **more: object) -> str:
    """One call; answers everything that the client got, if it is no success."""
    body = {"model": "x", "messages": [{"role": "user", "content": PROMPT}], **more}
    try:
        async with kit.post(f"/v1/chat/completions?do={kind}", body) as answer:
            return f"{dict(answer.headers)} {await answer.text()}"
    except aiohttp.ClientError as error:
        return str(error)


async def raw(kit: Kit, head: str, body: bytes = b"") -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(kit.url).port)
    writer.write(head.encode("utf-8", "surrogateescape") + body)
    with suppress(ConnectionError):
        await asyncio.wait_for(reader.read(65536), 5)
    writer.transport.abort()


async def broken_requests(kit: Kit) -> None:
    """What no client library sends: the parser's own complaints quote what they complain of."""
    bearer = f"Authorization: {kit.headers()['Authorization']}"
    token = bearer.rpartition(" ")[2]
    line, prompt = "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\n", json.dumps({"messages": [PROMPT]}).encode()
    for head in (
        f"{line}{bearer}\x00\r\nContent-Length: 2\r\n\r\n",
        f"{line}{bearer}\udcff\r\nContent-Length: 2\r\n\r\n",
        f"{line}{bearer}\r\n folded: {token}\r\n\r\n",
        f"{line} {bearer}\r\n\r\n",
        f"{line}{bearer}\r\nContent-Length: {token}\r\n\r\n",
        f"{line}{bearer}\r\nTransfer-Encoding: chunked\r\n\r\n{PROMPT}\r\n",
        f"{line}{bearer}\r\nContent-Encoding: gzip\r\nContent-Length: {len(prompt)}\r\n\r\n",
        f"GET /v1/models?key={token} HTTP/9.9\r\n\r\n",
        f"GET /v1/{token}\x01 HTTP/1.1\r\n\r\n",
        f"{token} {PROMPT}\r\n\r\n",
        f"{line}{bearer}{'x' * 9000}\r\n\r\n",
        f"CONNECT {token}:443 HTTP/1.1\r\n{bearer}\r\n\r\n",
        f"POST http://{token}@evil.example/v1/chat/completions HTTP/1.1\r\n{bearer}\r\nContent-Length: 0\r\n\r\n",
    ):
        await raw(kit, head, prompt)


FAILURES = [
    *("400", "401", "402", "403", "404", "408", "413", "422", "429", "500", "503", "529"),
    *("redirect", "words", "hang-up", "no-json"),
]


async def test_nothing_secret_is_in_logs_metrics_state_ledger_or_errors(tmp_path: Path, logged: list[str]) -> None:
    told: list[str] = []
    states: list[str] = []

    async def look(kit: Kit) -> None:
        state = await kit.read_state()
        states.append(state.model_dump_json(by_alias=True))

    async with gateway(tmp_path, model_server, lane={"endpoint": KEYED}, bodies=Bodies(one=100_000)) as kit:
        kit.secrets["provider"] = secret_object(KEY)
        for kind in ("", "stream"):
            await call(kit, kind, stream=bool(kind))
            await look(kit)
        for kind in FAILURES:
            told.append(await call(kit, kind))
            await look(kit)
        for kind in ("cut", "stream-error"):
            await call(kit, kind, stream=True)
            await look(kit)
        told.append(await call(kit, "", padding="x" * 200_000))
        await broken_requests(kit)
        await self_refusals(kit, told)
        await look(kit)
        wanted = secrets_of(kit)
    left = {
        "logs": "\n".join(logged).encode(),
        "metrics": generate_latest(),
        "state": "\n".join(states).encode(),
        "ledger": b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir())),
        "errors": "\n".join(told).encode(),
    }
    assert all(left.values())
    assert len(states) > 20
    found = [(where, each) for where, text in left.items() for each in wanted if each in text]
    assert found == []


async def test_a_key_in_an_error_inside_a_stream_is_hidden(tmp_path: Path) -> None:
    async with gateway(tmp_path, model_server, lane={"endpoint": KEYED}) as kit:
        kit.secrets["provider"] = secret_object(KEY)
        got = await call(kit, "stream-error", stream=True)
    assert "bad key Bearer [key]" in got
    assert got.rstrip().endswith("data: [DONE]")
    assert KEY not in got


async def self_refusals(kit: Kit, told: list[str]) -> None:
    """What the gateway refuses by itself, and what a probe says."""
    token = kit.headers()["Authorization"].removeprefix("Bearer ")
    async with kit.client.post(f"{kit.url}/v1/nothing?key={token}", data=PROMPT) as answer:
        told.append(await answer.text())
    async with kit.client.post(f"{kit.url}/v1/chat/completions?key={token}", data=PROMPT) as answer:
        assert answer.status == 400
        told.append(await answer.text())
    async with kit.client.post(f"{kit.url}/v1/chat/completions?key={token}x", data=PROMPT) as answer:
        assert answer.status == 401
        told.append(await answer.text())
    (lane,) = list(kit.views.lanes)
    told.append(repr(await probe(lane, upstream=kit.upstream, credentials=kit.credentials)))
    for broken in (f"{KEY}\n{KEY}", f"{KEY}\x00", f"{KEY}é"):
        kit.secrets["provider"] = secret_object(broken)
        with pytest.raises(CredentialMissing) as error:
            await kit.credentials.read_again(lane)
        told.append(repr(error.value))
    told.append(await call(kit, ""))
    kit.views.lanes.put(lane_object("http://127.0.0.1:9", version=2, endpoint=KEYED))
    kit.secrets["provider"] = secret_object(KEY)
    told.append(await call(kit, ""))
