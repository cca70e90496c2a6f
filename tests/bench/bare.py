"""The least that a proxy of aiohttp can do: read a request, send it on, pass the answer on as it comes. What the gateway is compared with.

python -m bench.bare PORT UPSTREAM
"""

from __future__ import annotations

import sys

import aiohttp
from aiohttp import web

_DROPPED = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})


class Bare:
    """Passes on everything."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream

    async def session(self, app: web.Application) -> None:
        """The client, with settings as the gateway's."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
            auto_decompress=False,
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One call."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _DROPPED}
        url = self._upstream + request.raw_path
        body = await request.read()
        async with self._session.request(request.method, url, headers=headers, data=body) as incoming:
            passed = {name: value for name, value in incoming.headers.items() if name.lower() not in _DROPPED}
            response = web.StreamResponse(status=incoming.status, headers=passed)
            await response.prepare(request)
            while data := await incoming.content.readany():
                await response.write(data)
            await response.write_eof()
            return response


def main() -> None:
    """Serve until SIGTERM."""
    bare = Bare(sys.argv[2])
    app = web.Application()
    app.on_startup.append(bare.session)
    app.router.add_route("*", "/{path:.*}", bare.answer)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
