"""What flows out of a pod: its log while it is written, and the output of a command that is run in it.

Apart from the client, because a stream has no bound on its time and is read as it comes. A command runs over the WebSocket protocol
``v4.channel.k8s.io``, which every API server speaks: the first byte of a message names its channel, and the last channel carries the
end as a Status.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from http import HTTPStatus
from urllib.parse import urlencode

import aiohttp

from laneway.kube.connection import Connection
from laneway.kube.errors import Unavailable, error_of
from laneway.kube.resources import PODS, JsonObject

_PROTOCOL = "v4.channel.k8s.io"
_STDOUT, _STDERR, _END = 1, 2, 3
_CONNECT_SECONDS = 10.0
_NO_LIMIT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=None)
_PART = 65_536
_WORDS_LIMIT = 4096


class CommandFailedError(Exception):
    """A command in a pod ended with another code than 0, or could not be started. The message is what it said of it."""

    def __init__(self, words: str, code: int | None) -> None:
        super().__init__(words)
        self.code = code
        """Exit code; None if it never ran."""


class PodStreams:
    """Streams of pods, over a connection that somebody else closes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def log(
        self,
        namespace: str,
        pod: str,
        *,
        container: str,
        follow: bool,
        tail_lines: int | None = None,
        since: str | None = None,
    ) -> AsyncGenerator[bytes]:
        """The lines of a container's log, each with its line end and, before it, when it was written; ``since``: from that time on.

        ``follow``: ends when the container does. Raises KubeError: NotFound if the pod is gone, Invalid if it has not started,
        Unavailable if the stream breaks.
        """
        query = {
            "container": container,
            "follow": "true" if follow else None,
            "tailLines": tail_lines,
            "sinceTime": since,
            "timestamps": "true",
        }
        path = PODS.path(namespace, pod, "log")
        given = urlencode({name: value for name, value in query.items() if value is not None})
        try:
            response = await self._connection.request("GET", f"{path}?{given}", limit=_NO_LIMIT, accept="*/*")
            async with response:
                if response.status != HTTPStatus.OK:
                    raise error_of(status=response.status, body=await response.read())
                rest = b""
                async for part in response.content.iter_chunked(_PART):
                    *lines, rest = (rest + part).split(b"\n")
                    for line in lines:
                        yield line + b"\n"
                if rest:
                    yield rest
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"the log broke off: {error or type(error).__name__}") from error

    async def run(self, namespace: str, pod: str, *, container: str, command: Sequence[str]) -> AsyncGenerator[bytes]:
        """What a command in a pod writes to its standard output. Raises KubeError, and CommandFailedError in the end."""
        query = [
            ("container", container),
            ("stdout", "true"),
            ("stderr", "true"),
            *(("command", one) for one in command),
        ]
        words, end = b"", None
        socket = await self._opened(f"{PODS.path(namespace, pod, 'exec')}?{urlencode(query)}")
        try:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                    continue
                channel, data = message.data[0], message.data[1:]
                if channel == _STDOUT and data:
                    yield data
                elif channel == _STDERR:
                    words = (words + data)[-_WORDS_LIMIT:]
                elif channel == _END:
                    end = json.loads(data)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"the command's output broke off: {error or type(error).__name__}") from error
        finally:
            await socket.close()
        if end is None:
            raise Unavailable("the command's output broke off before its end")
        if end.get("status") != "Success":
            raise CommandFailedError(words.decode("utf-8", "replace").strip() or str(end.get("message")), _code(end))

    async def _opened(self, path_and_query: str) -> aiohttp.ClientWebSocketResponse[bool]:
        try:
            return await self._connection.upgrade(path_and_query, protocol=_PROTOCOL, connect_seconds=_CONNECT_SECONDS)
        except aiohttp.WSServerHandshakeError as error:
            raise error_of(status=error.status, body=await self._why(path_and_query, error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"no answer from the API server: {error or type(error).__name__}") from error

    async def _why(self, path_and_query: str, error: aiohttp.WSServerHandshakeError) -> bytes | JsonObject:
        """The sentence of a refusal, which the library drops: asked for again without an upgrade, a refusal stays the same one."""
        try:
            response = await self._connection.request(
                "GET", path_and_query, limit=aiohttp.ClientTimeout(total=_CONNECT_SECONDS)
            )
            async with response:
                body = await response.read()
                return body if response.status == error.status else {"message": error.message}
        except (aiohttp.ClientError, TimeoutError, OSError):
            return {"message": error.message}


def _code(end: JsonObject) -> int | None:
    causes = (end.get("details") or {}).get("causes") or []
    codes = [str(cause.get("message")) for cause in causes if cause.get("reason") == "ExitCode"]
    return int(codes[0]) if codes and codes[0].isdigit() else None
