"""The Kubernetes API for the benchmarks' own hands: as little work per request as can be, because it shares the machine with what is measured."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import aiohttp

from laneway.kube.connection import Connection
from laneway.kube.resources import JsonObject

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Answer without spec and status."""
_WATCH_SECONDS = 3600
_NO_LIMIT = aiohttp.ClientTimeout(total=None)


class Api:
    """An API server; any answer that is not a success ends the benchmark."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session = connection.new_session()

    @classmethod
    async def open(cls, kubeconfig: str) -> Api:
        """Connect."""
        return cls(await Connection.open(kubeconfig=kubeconfig))

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.close()

    async def send(
        self, method: str, path: str, body: JsonObject | None = None, *, content_type: str = "application/json"
    ) -> None:
        """A write whose answer nobody needs."""
        headers = {"Accept": METADATA, "Content-Type": content_type}
        await self._answer(method, path, headers, json.dumps(body))

    async def get(self, path: str) -> JsonObject:
        """An object or a list."""
        answer: JsonObject = json.loads(await self._answer("GET", path))
        return answer

    async def text(self, path: str) -> str:
        """Anything."""
        return await self._answer("GET", path)

    async def watch(self, path: str, *, version: str, accept: str) -> AsyncGenerator[tuple[str, JsonObject]]:
        """Type and object of every event after a version; a stream that the server ends, as it does with slow readers, is taken up where it ended."""
        while True:
            query = f"?watch=true&resourceVersion={version}&timeoutSeconds={_WATCH_SECONDS}"
            async with self._session.get(
                self._url(path + query), headers={"Accept": accept}, timeout=_NO_LIMIT
            ) as answer:
                answer.raise_for_status()
                async for line in answer.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise RuntimeError(f"the watch of {path} cannot go on: {event['object'].get('message')}")
                    version = event["object"]["metadata"]["resourceVersion"]
                    yield event["type"], event["object"]

    async def _answer(self, method: str, path: str, headers: dict[str, str] | None = None, body: str = "") -> str:
        async with self._session.request(method, self._url(path), headers=headers, data=body or None) as answer:
            text = await answer.text()
            if not answer.ok:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
            return text

    def _url(self, path: str) -> str:
        return self._connection.server + path
