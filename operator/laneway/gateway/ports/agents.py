"""The listener for agents: who calls, where to, and the refusals that the gateway gives itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from laneway.gateway.calls.call import Call
from laneway.gateway.calls.doors import open_doors
from laneway.gateway.calls.tools import Operation, Tools
from laneway.gateway.calls.walk import step_of
from laneway.gateway.client.bodies import Bodies
from laneway.gateway.client.reply import Reply
from laneway.gateway.cluster.tokens import Authenticator, Caller, plain_address, token_in
from laneway.gateway.cluster.views import Views
from laneway.gateway.ledger.ledger import LedgerError
from laneway.gateway.ports import listing
from laneway.gateway.state.attempts import OpenCall
from laneway.gateway.state.failure import refusal_failure
from laneway.gateway.state.state import AttemptClosed, TooManyCalls
from laneway.gateway.wire.base import Kind, Wire
from laneway.gateway.wire.chat_completions import ChatCompletions
from laneway.gateway.wire.embeddings import Embeddings
from laneway.gateway.wire.generate_content import GenerateContent
from laneway.gateway.wire.jsontext import NotAnObject
from laneway.gateway.wire.messages import Messages
from laneway.gateway.wire.ollama_chat import OllamaChat
from laneway.gateway.wire.refused import Refused
from laneway.gateway.wire.responses import Responses
from laneway.rules.endpoint import GEMINI_STABLE, PATHS
from laneway.rules.token import AttemptId

log = logging.getLogger(__name__)

CHAT, RESPONSES, EMBEDDINGS, MESSAGES, OLLAMA = ChatCompletions(), Responses(), Embeddings(), Messages(), OllamaChat()
GEMINI, GEMINI_STREAM = GenerateContent(streams=False), GenerateContent(streams=True)
OPERATIONS = (
    *(Operation(PATHS[wire.api], wire) for wire in (CHAT, RESPONSES, EMBEDDINGS, MESSAGES)),
    Operation(f"{PATHS[MESSAGES.api]}/count_tokens", MESSAGES, generates=False),
    *(Operation(f"{PATHS[OLLAMA.api]}/{name}", OLLAMA) for name in ("chat", "generate")),
    Operation(f"{PATHS[OLLAMA.api]}/show", OLLAMA, generates=False),
    *(
        operation
        for models in (PATHS[GEMINI.api], GEMINI_STABLE)
        for operation in (
            Operation(f"{models}/{{model}}:generateContent", GEMINI),
            Operation(f"{models}/{{model}}:streamGenerateContent", GEMINI_STREAM),
            Operation(f"{models}/{{model}}:countTokens", GEMINI, generates=False),
        )
    ),
)


_Serve = Callable[[Caller], Awaitable[web.StreamResponse]]


class CallPort:
    """Answers the calls of agents."""

    def __init__(
        self, *, tools: Tools, views: Views, authenticator: Authenticator, bodies: Bodies | None = None
    ) -> None:
        self._bodies = bodies or Bodies()
        self._tools = tools
        self._views = views
        self._authenticator = authenticator
        self._doors = open_doors(views, tools.state, tools.clock)

    def app(self) -> web.Application:
        """The application; its runner needs ``handler_cancellation=True``, so that a client that leaves ends its call."""
        app = web.Application()
        for operation in OPERATIONS:
            app.router.add_post(operation.path.replace("{model}", "{model:.+}"), self._handler(operation))
        for path, answer in listing.ANSWERS.items():
            app.router.add_get(path, self._lister(answer))
        app.router.add_get("/", _greet)
        app.router.add_route("*", "/{path:.*}", _unknown_path)
        return app

    def _handler(self, operation: Operation) -> listing.Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            reply = Reply(request, operation.wire)
            return await self._seated(reply, lambda caller: self._carry(operation, reply, caller))

        return handle

    def _lister(self, answer: listing.Lister) -> listing.Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            reply = Reply(request, _wire_of(request))
            return await self._seated(reply, lambda caller: reply.give(answer(request, caller.run, self._views)))

        return handle

    async def _seated(self, reply: Reply, serve: _Serve) -> web.StreamResponse:
        """Serve a caller who proves who it is; whoever is refused hears why."""
        with reply.limits:
            try:
                return await self._seat(reply, serve)
            except Refused as refused:
                return await reply.refuse(refused)

    async def _seat(self, reply: Reply, serve: _Serve) -> web.StreamResponse:
        """The same on a place among the run's open calls. Raises Refused."""
        request, state = reply.request, self._tools.state
        attempt = await self._authenticator.identify(token_in(request.headers, request.query.get("key")))
        call: OpenCall | None = None
        try:
            call = await self._open(attempt)
            return await serve(await self._authenticator.admit(attempt, plain_address(request.remote)))
        except Refused as refused:
            self._log_refusal(attempt, refused)
            if call is not None and (failure := refusal_failure(refused, self._tools.clock())):
                state.fail(attempt, failure)
            raise
        except asyncio.CancelledError:
            if call is None or not call.was_cut:
                raise
            if reply.response is None:
                call.task.uncancel()
                raise Refused(Kind.UNAUTHENTICATED, "the attempt was closed") from None
            reply.break_off()
            raise
        finally:
            if call is not None:
                state.leave(attempt, call)

    async def _open(self, attempt: AttemptId) -> OpenCall:
        try:
            await self._tools.recall(attempt)
            return self._tools.state.open(attempt)
        except AttemptClosed:
            raise Refused(Kind.UNAUTHENTICATED, "the token's attempt has ended") from None
        except TooManyCalls:
            raise Refused(Kind.BUSY, "the run has too many calls open", retry_after_seconds=1) from None
        except LedgerError as error:
            raise _no_ledger() from error

    async def _carry(self, operation: Operation, reply: Reply, caller: Caller) -> web.StreamResponse:
        try:
            with self._bodies.room(reply.request, run_uid=caller.attempt.run_uid) as room:
                body = await room.read(reply.limits)
                call = Call(
                    tools=self._tools,
                    views=self._views,
                    doors=self._doors,
                    operation=operation,
                    reply=reply,
                    caller=caller,
                    body=body,
                )
                del body  # the call lets go of it when nothing can be tried again
                return await call.run()
        except NotAnObject as error:
            raise Refused(Kind.BAD_REQUEST, str(error)) from error
        except LedgerError as error:
            raise _no_ledger() from error

    def _log_refusal(self, attempt: AttemptId, refused: Refused) -> None:
        """Whose call was refused, where its attempt's calls go, and why; the words are the gateway's own (S2.23). A run that is not seen yet has no name."""
        run = self._views.run(attempt.run_uid)
        step = None if run is None else step_of(run, self._tools.state, attempt)
        keys: dict[str, object] = {
            "namespace": run and run.namespace,
            "run": run and run.name,
            "run_uid": attempt.run_uid,
            "attempt": attempt.attempt,
            "lane": step and f"{step.namespace}/{step.lane}",
            "model": step and step.model,
            "kind": refused.refusal.kind.value,
            "class": refused.verdict and refused.verdict.cause.value,
            "words": str(refused),
        }
        log.warning("call refused", extra=keys)


def _no_ledger() -> Refused:
    return Refused(Kind.UNAVAILABLE, "the gateway cannot write its ledger", retry_after_seconds=5)


def _wire_of(request: web.Request) -> Wire:
    """The dialect of a request that names no wire API."""
    if request.path.startswith("/api/"):
        return OLLAMA
    if listing.is_gemini(request):
        return GEMINI
    if request.path.startswith(PATHS[RESPONSES.api]):
        return RESPONSES
    return MESSAGES if "anthropic-version" in request.headers else CHAT


async def _greet(request: web.Request) -> web.Response:
    return web.Response(text="Laneway gateway")


async def _unknown_path(request: web.Request) -> web.StreamResponse:
    refused = Refused(Kind.NOT_FOUND, "the gateway does not serve this path")
    reply = Reply(request, _wire_of(request))
    with reply.limits:
        return await reply.refuse(refused)
