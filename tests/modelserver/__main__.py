"""``python -m modelserver``: the scripted model server as a program, for a pod or another process."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from pathlib import Path

from modelserver import ModelServer


async def serve(server: ModelServer) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with server:
        print(f"listening on {server.url}", flush=True)
        await stopped.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="modelserver")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000, help="0: any free one; the first line of output says which")
    parser.add_argument("--script", type=Path, help="JSON: steps, models, health")
    options = parser.parse_args()
    server = ModelServer(host=options.host, port=options.port)
    if options.script:
        server.load(json.loads(options.script.read_text()))
    asyncio.run(serve(server))


main()
