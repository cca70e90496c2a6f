"""The faulty model server: ``python -m soak.modelserver ADDRESS PORT SEED LIFE``. GET /counts tells how often it had which fault."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from soak.faults import Draw, Fault, Manner

MODELS = ("soak-a", "soak-b")
OUTPUT_TOKENS = 7
_FRAMES = 6
_PAUSE_SECONDS = 0.02


class ModelServer:
    """Answers chat completions; the number in the prompt comes back as the input tokens."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self.counts: Counter[str] = Counter()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        if request.path == "/counts":
            return web.json_response(self.counts)
        if request.method != "POST":
            return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})
        asked = await request.json()
        number = int(asked["messages"][0]["content"].split()[0])
        fault = self._draw.next()
        self.counts[fault.name] += 1
        match fault.manner:
            case Manner.REFUSE:
                return web.json_response({"error": dict(fault.error)}, status=fault.status, headers=fault.headers)
            case Manner.CUT_BEFORE:
                return _cut(request)
        try:
            return await (_stream if asked.get("stream") else _whole)(request, fault, number)
        except ConnectionResetError:  # the gateway has left, as its client did
            return _cut(request)

    def app(self) -> web.Application:
        """What serves it."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        return app


async def _whole(request: web.Request, fault: Fault, number: int) -> web.StreamResponse:
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    body = json.dumps({"id": "c", "object": "chat.completion", "choices": [choice], "usage": _usage(number)}).encode()
    if fault.manner is Manner.SLOW:
        await asyncio.sleep(_FRAMES * _PAUSE_SECONDS)
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    if fault.manner is Manner.CUT_WITHIN:
        await response.write(body[: len(body) // 2])
        return _cut(request, response)
    await response.write(body)
    return response


async def _stream(request: web.Request, fault: Fault, number: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for place, frame in enumerate(_frames(number)):
        if fault.manner is Manner.CUT_WITHIN and place == _FRAMES // 2:
            return _cut(request, response)
        if fault.manner is Manner.SLOW:
            await asyncio.sleep(_PAUSE_SECONDS)
        await response.write(b"data: " + frame + b"\n\n")
    return response


def _frames(number: int) -> Iterator[bytes]:
    for _ in range(_FRAMES):
        yield _frame([{"index": 0, "delta": {"content": "ok "}, "finish_reason": None}])
    yield _frame([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    yield _frame([], usage=_usage(number))
    yield b"[DONE]"


def _frame(choices: list[dict[str, Any]], **more: Any) -> bytes:
    return json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": choices, **more}).encode()


def _usage(number: int) -> dict[str, int]:
    return {"prompt_tokens": number, "completion_tokens": OUTPUT_TOKENS, "total_tokens": number + OUTPUT_TOKENS}


def _cut(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """The connection ends here, whatever was promised."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()


async def main(address: str, port: int, seed: int, life: int) -> None:
    """Serve until killed."""
    runner = web.AppRunner(ModelServer(Draw(seed, life)).app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *(int(one) for one in sys.argv[2:5])))
