"""Where a lane's host leads: judged at each connect, over the wire, whatever the name says and the environment wants."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from laneway.gateway.upstream.addresses import Address, AddressPolicy, strict
from laneway.gateway.upstream.upstream import ForbiddenTarget, Outgoing, Upstream, open_upstream
from unit.gateway.kit import Kit, gateway, lane_object, run_object

CHAT = {"model": "x", "messages": []}
ANSWER = {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
GEMINI = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 1}}


async def good(request: web.Request) -> web.Response:
    return web.json_response(ANSWER)


async def never(request: web.Request) -> web.Response:
    raise AssertionError("nothing was to reach the server")


def only(*allowed: str) -> AddressPolicy:
    def permits(address: Address) -> bool:
        return str(address) in allowed

    return permits


class ChangingNames(AbstractResolver):
    """A name server of somebody who waits for the check to be over."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


async def status_of(upstream: Upstream, url: str) -> int:
    incoming = await upstream.send(Outgoing("GET", URL(url), {}))
    incoming.close()
    return incoming.status


async def test_a_name_that_changes_its_address_after_the_first_answer_leads_nowhere() -> None:
    reached: list[str] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reached.append(writer.get_extra_info("sockname")[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    other = await asyncio.start_server(hear, "127.0.0.2", port)
    names = ChangingNames("127.0.0.1", "127.0.0.2")
    async with server, other, open_upstream(only("127.0.0.1"), resolver=names) as upstream:
        assert await status_of(upstream, f"http://models.example:{port}/") == 200
        with pytest.raises(ForbiddenTarget):  # the dot at the end makes it the same name, and it is asked for anew
            await status_of(upstream, f"http://models.example.:{port}/")
    assert reached == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:7f00:1]", "[::7f00:1]"])
async def test_another_spelling_of_loopback_is_loopback(tmp_path: Path, host: str) -> None:
    async with gateway(tmp_path, never, policy=strict) as kit:
        kit.views.lanes.put(lane_object(f"http://{host}:{URL(kit.server_url).port}", version=2))
        async with kit.post("/v1/chat/completions", CHAT) as answer:
            assert answer.status == 502, await answer.text()


async def test_a_proxy_of_the_environment_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("the proxy was used")

    proxy = await asyncio.start_server(hear, "127.0.0.1", 0)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[str | None] = []

    async def server(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response(ANSWER)

    async with proxy, gateway(tmp_path, server) as kit, kit.post("/v1/chat/completions", CHAT) as answer:
        assert answer.status == 200
    assert seen == [None]


@pytest.mark.parametrize(
    ("path", "reaches"),
    [
        pytest.param(
            "/v1/chat/completions?a=/../../admin", "/v1/chat/completions?a=/../../admin", id="dots in a query"
        ),
        pytest.param("/v1/chat/completions?x=%23y%3Fz", "/v1/chat/completions?x=%23y%3Fz", id="marks, escaped"),
        pytest.param("/v1/chat/completions?a?b=c", "/v1/chat/completions?a?b=c", id="a second question mark"),
        pytest.param("/v1/../admin/chat/completions", None, id="dots"),
        pytest.param("/v1/%2e%2e/v1/chat/completions", None, id="escaped dots that lead elsewhere"),
        pytest.param("//v1/chat/completions", None, id="an empty segment"),
        pytest.param("/v1/chat%2fcompletions", None, id="an escaped slash"),
        pytest.param("/v1/chat/completions/", None, id="a slash at the end"),
        pytest.param("/v1/chat/completions;a=b", None, id="a parameter"),
        pytest.param("/v1/chat/completions%00", None, id="a NUL"),
        pytest.param("/V1/chat/completions", None, id="capitals"),
    ],
)
async def test_no_path_of_the_client_but_the_apis_own_reaches_the_server(
    tmp_path: Path, path: str, reaches: str | None
) -> None:
    seen = await paths_at_the_server(tmp_path, path, json.dumps(CHAT).encode())
    assert seen in (["/v1/chat/completions"], [reaches] if reaches else [])


@pytest.mark.parametrize(
    "model", ["..", "../../admin", "%2e%2e%2fadmin", "a/b", "a?b=c", "a#b", "x:embedContent", "m%3AembedContent", "a b"]
)
@pytest.mark.parametrize("method", ["generateContent", "countTokens"])
async def test_geminis_model_in_the_path_is_the_lanes(tmp_path: Path, model: str, method: str) -> None:
    path = f"/v1beta/models/{model}:{method}"
    seen = await paths_at_the_server(tmp_path, path.replace(" ", "%20"), b'{"contents":[]}', server="Gemini")
    query = path.partition("#")[0].partition("?")[2]
    assert seen in ([], [f"/v1beta/models/smollm2:{method}"], [f"/v1beta/models/smollm2:{method}?{query}"])


@pytest.mark.parametrize(
    ("model", "segment"),
    [("../../admin", "..%2F..%2Fadmin"), ("a?b#c", "a%3Fb%23c"), ("a%2fb", "a%252fb"), ("a:b", "a%3Ab")],
)
async def test_a_model_of_the_lane_is_one_segment_whatever_its_name(tmp_path: Path, model: str, segment: str) -> None:
    path = "/v1beta/models/any:generateContent"
    seen = await paths_at_the_server(tmp_path, path, b'{"contents":[]}', server="Gemini", model=model)
    assert seen == [f"/v1beta/models/{segment}:generateContent"]


async def paths_at_the_server(
    tmp_path: Path, path: str, body: bytes, *, server: str = "vLLM", model: str = "smollm2"
) -> list[str]:
    """What a raw request made the model server see."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.json_response(GEMINI if server == "Gemini" else ANSWER)

    async with gateway(tmp_path, answer, lane={"server": server, "models": [{"name": model}]}) as kit:
        kit.views.runs.put(run_object(model=model, version=2))
        await raw_status(kit, path, body)
    return seen


async def raw_status(kit: Kit, path: str, body: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(kit.url).port)
    head = f"POST {path} HTTP/1.1\r\nHost: g\r\nAuthorization: {kit.headers()['Authorization']}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    status = int((await asyncio.wait_for(reader.readline(), 5)).split()[1])
    writer.close()
    return status
