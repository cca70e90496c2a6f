"""``laneway check``, which ``helm test`` runs in the cluster: whether the kinds are served, and operator and gateway answer."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import httpx

from laneway.kube.client import Kube
from laneway.kube.errors import KubeError
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, Resource

_EVERY_SECONDS = 1.0
_CALL_SECONDS = 5.0


@dataclass(frozen=True)
class Question:
    """Something that must be true of an installation that works."""

    words: str
    ask: Callable[[], Awaitable[str]]
    """What is wrong; empty when nothing is."""


def run(*, namespaces: Sequence[str], urls: Sequence[str], seconds: float) -> int:
    """Ask until all is well or ``seconds`` are over, and say how each thing is. Answers 0 when all is well, else 1.

    ``namespaces``: where the kinds are listed, as the operator does; empty is the whole cluster. ``urls``: what every
    address of the host must answer with 200.
    """
    return asyncio.run(_run(namespaces, urls, seconds))


async def _run(namespaces: Sequence[str], urls: Sequence[str], seconds: float) -> int:
    try:
        kube = await Kube.connect()
    except KubeError as error:
        sys.stderr.write(f"laneway check: {error.message}\n")
        return 1
    async with httpx.AsyncClient(timeout=_CALL_SECONDS, trust_env=False) as client:
        try:
            return await settle([*_of_kinds(kube, namespaces), *(_of_url(client, url) for url in urls)], seconds)
        finally:
            await kube.close()


async def settle(questions: Sequence[Question], seconds: float) -> int:
    """Ask all at once, each until it is well or the time is over; 0 when all are."""
    wrongs = await asyncio.gather(*(_until_well(question, seconds) for question in questions))
    for question, wrong in zip(questions, wrongs, strict=True):
        sys.stdout.write(f"no: {question.words}: {wrong}\n" if wrong else f"ok: {question.words}\n")
    return 1 if any(wrongs) else 0


async def _until_well(question: Question, seconds: float) -> str:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        wrong = await question.ask()
        if not wrong or loop.time() > deadline:
            return wrong
        await asyncio.sleep(min(_EVERY_SECONDS, seconds))


def _of_kinds(kube: Kube, namespaces: Sequence[str]) -> list[Question]:
    everywhere: Sequence[str | None] = namespaces or [None]
    return [_of_kind(kube, resource, place) for resource in (AGENT_RUNS, MODEL_LANES) for place in everywhere]


def _of_kind(kube: Kube, resource: Resource, namespace: str | None) -> Question:
    words = f"{resource.plural} can be listed in {namespace or 'all namespaces'}"
    return Question(words, lambda: _list(kube, resource, namespace))


async def _list(kube: Kube, resource: Resource, namespace: str | None) -> str:
    try:
        async with aclosing(kube.pages(resource, namespace=namespace)) as pages:
            await anext(pages)
    except KubeError as error:
        return error.message
    return ""


def _of_url(client: httpx.AsyncClient, url: str) -> Question:
    return Question(f"{url} answers", lambda: _answers(client, httpx.URL(url)))


async def _answers(client: httpx.AsyncClient, url: httpx.URL) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except OSError as error:
        return f"its name is not known: {error}"
    for address in sorted({str(one[4][0]) for one in found}):
        try:
            answer = await client.get(url.copy_with(host=address))
        except httpx.HTTPError as error:
            return f"{address}: {type(error).__name__}: {error}"
        if answer.status_code != httpx.codes.OK:
            return f"{address} says {answer.status_code}: {answer.text.strip()[:400]}"
    return ""
