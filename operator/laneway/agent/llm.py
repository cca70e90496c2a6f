"""A client for one call of an OpenAI-compatible chat API: Ollama, vLLM, llama.cpp, hosted ones, or the gateway (S0.11).

Errors:

    LLMError
      ConnectionFailed   no answer: refused, reset, name unknown
      TimedOut           no answer in time
      Refused            a status that is not 2xx
      AnswerBroken       an answer that stopped in the middle, holds an error, or is not of the protocol
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx

from laneway.agent.chat import Answer, AnswerReader, Call, ProtocolError, ServerSaid, request_body, server_error
from laneway.api.reasons import Cause
from laneway.rules.classify import ErrorInfo, classify
from laneway.rules.resets import retry_after_seconds
from laneway.rules.retry import RETRIED_CAUSES, Failure, RetryPolicy, wait_milliseconds

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

CONNECT_SECONDS = 30.0
SILENCE_SECONDS = 1800.0
"""How long a server may say nothing: the longest that loading a model may take (C18)."""
_ERROR_BODY_LIMIT = 65_536


class LLMError(Exception):
    """A call that failed. ``cause`` is its class; ``begun`` says that a part of the answer had come, so it is not tried again."""

    def __init__(
        self,
        sentence: str,
        *,
        cause: Cause,
        said: str = "",
        status: int | None = None,
        error_type: str | None = None,
        retry_after: str | None = None,
        begun: bool = False,
    ) -> None:
        super().__init__(f"{sentence}: {said}" if said else sentence)
        self.sentence = sentence
        """Our own words."""
        self.said = said
        """The server's words; they may repeat the prompt."""
        self.cause = cause
        self.status = status
        self.error_type = error_type
        self.retry_after = retry_after
        """The header as it was sent, also part of the sentence (S0.10)."""
        self.begun = begun


class ConnectionFailed(LLMError):  # noqa: N818
    """There was no connection, or it broke before the answer."""


class TimedOut(LLMError):  # noqa: N818
    """The server said nothing for too long."""


class Refused(LLMError):  # noqa: N818
    """The server answered with an error status."""


class AnswerBroken(LLMError):  # noqa: N818
    """The answer began well and is of no use."""


@dataclass(frozen=True)
class Waiting:
    """What a client needs from outside to wait between tries; tests give their own."""

    sleep: Callable[[float], None] = time.sleep
    pick: Callable[[int, int], int] = random.randint
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


DEFAULT_POLICY = RetryPolicy()
REAL_WAITING = Waiting()


class LLMClient:
    """Calls ``<base_url>/chat/completions``; ``base_url`` goes up to and includes ``/v1``."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str | None,
        policy: RetryPolicy = DEFAULT_POLICY,
        silence_seconds: float = SILENCE_SECONDS,
        waiting: Waiting = REAL_WAITING,
    ) -> None:
        self._policy = policy
        self._waiting = waiting
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(silence_seconds, connect=CONNECT_SECONDS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def complete(self, call: Call, *, on_delta: Callable[[str], None]) -> Answer:
        """One answer. ``on_delta`` gets each piece of a streamed one as it comes. Raises LLMError after the last try (C6, C9)."""
        failures = 0
        while True:
            try:
                return self._try(call, on_delta)
            except LLMError as error:
                failures += 1
                wait = None if error.begun else self._wait(error, failures)
                if wait is None:
                    raise
            self._waiting.sleep(wait / 1000)

    def _wait(self, error: LLMError, failures: int) -> int | None:
        failure = Failure(
            status=error.status,
            timed_out=isinstance(error, TimedOut),
            retry_after_seconds=retry_after_seconds(error.retry_after, now=self._waiting.now()),
            lasting=error.cause not in RETRIED_CAUSES,
        )
        return wait_milliseconds(self._policy, failure, failures=failures, pick=self._waiting.pick)

    def _try(self, call: Call, on_delta: Callable[[str], None]) -> Answer:
        reader = AnswerReader(on_delta)
        try:
            with self._http.stream("POST", "/chat/completions", json=request_body(call)) as response:
                if not response.is_success:
                    raise _refusal(response)
                return reader.read(response.iter_bytes(), media_type=response.headers.get("content-type", ""))
        except ServerSaid as said:
            info = ErrorInfo(type=said.type or "", code=said.code or "", message=said.message)
            raise AnswerBroken(
                "the model server ended its answer with an error",
                said=str(said),
                cause=classify(None, info),
                status=said.status,
                error_type=said.type,
                begun=True,
            ) from said
        except ProtocolError as error:
            raise AnswerBroken(str(error), cause=Cause.API_TRANSIENT, begun=reader.begun) from error
        except httpx.TransportError as error:
            raise _transport_error(error, begun=reader.begun) from error
        except httpx.DecodingError as error:
            raise AnswerBroken(
                "the model server's answer cannot be decoded", cause=Cause.API_TRANSIENT, begun=True
            ) from error


def _transport_error(error: httpx.TransportError, *, begun: bool) -> LLMError:
    # LocalProtocolError quotes the header that it refuses, and that may be the key.
    words = type(error).__name__ if isinstance(error, httpx.LocalProtocolError) else str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return TimedOut(f"the model server said nothing for too long ({words})", cause=Cause.API_TIMEOUT, begun=begun)
    if begun:
        return AnswerBroken(f"the answer stopped in the middle ({words})", cause=Cause.API_TRANSIENT, begun=True)
    return ConnectionFailed(f"no answer from the model server ({words})", cause=Cause.API_TRANSIENT)


def _refusal(response: httpx.Response) -> Refused:
    said = server_error(_first_bytes(response.iter_bytes()))
    retry_after = response.headers.get("retry-after")
    hint = f"; Retry-After: {retry_after}" if retry_after else ""
    info = ErrorInfo(type=said.type or "", code=said.code or "", message=said.message)
    return Refused(
        f"the model server answered {response.status_code}{hint}",
        said=str(said),
        cause=classify(response.status_code, info),
        status=response.status_code,
        error_type=said.type,
        retry_after=retry_after,
    )


def _first_bytes(pieces: Iterator[bytes]) -> bytes:
    """The beginning of an error body; what the connection still gives, if it breaks here."""
    kept = b""
    try:
        for piece in pieces:
            kept += piece
            if len(kept) >= _ERROR_BODY_LIMIT:
                break
    except httpx.HTTPError:
        return kept
    return kept[:_ERROR_BODY_LIMIT]
