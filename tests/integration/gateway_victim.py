"""A gateway to be killed: ``python -m integration.gateway_victim FOLDER SERVER`` serves one run's calls to SERVER, says where, and waits."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from aiohttp import web

from unit.gateway.kit import gateway, lane_object


async def nobody(request: web.Request) -> web.Response:
    raise web.HTTPNotFound


async def main(folder: Path, server: str) -> None:
    async with gateway(folder, nobody) as kit:
        kit.views.lanes.put(lane_object(server, version=2, generation=2))
        print(kit.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
