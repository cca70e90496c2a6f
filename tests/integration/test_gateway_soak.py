"""A small soak in process: the faulty server and the clients of ``make soak`` against a gateway on loopback, without kills."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from random import Random

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import generate_latest

from laneway.gateway import metrics
from laneway.rules.token import AttemptId, sign
from soak import oracle
from soak.clients import Agent, Notes, Shift, call_on
from soak.faults import TABLE, Draw
from soak.modelserver import MODELS, ModelServer
from soak.reading import rest_of, rows_of, sums_of
from soak.sights import End
from soak.stand import LANE, RUN, WAITING
from unit.gateway.kit import KEYS, gateway, pod_object, run_object

CALLS = 600
CLIENTS = 16


async def test_a_short_soak_leaves_nothing_open_and_every_answer_in_the_ledger_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server, notes = ModelServer(Draw(seed=3, life=0)), Notes(CALLS)

    async def faulty(request: web.Request) -> web.StreamResponse:
        return await server.answer(request)

    async with gateway(tmp_path, faulty, seen=False, lane=LANE) as kit:
        metrics.watch_gauges(open_calls=lambda: len(kit.state.open_calls()), view_age=lambda: 0.0)
        agents = []
        for number, model in enumerate(MODELS):
            uid = f"soak-run-{number}"
            run = run_object(uid=uid, model=model)
            run["spec"] = (RUN, WAITING)[number]
            kit.views.runs.put(run)
            kit.views.pods.put(pod_object(uid=uid))
            agents.append(Agent(uid, model, {"Authorization": f"Bearer {sign(KEYS, AttemptId(uid, 1))}"}))
        before = len(asyncio.all_tasks())
        async with aiohttp.ClientSession() as session, asyncio.timeout(60):
            up = asyncio.Event()
            up.set()
            shift = Shift(up)
            callers = [
                call_on(session, lambda: kit.url, agents[one % 2], notes=notes, shift=shift, chance=Random(one))
                for one in range(CLIENTS)
            ]
            await asyncio.gather(*callers)
            while kit.state.open_calls():
                await asyncio.sleep(0.01)
        await kit.ledger.flush()
        state = await kit.read_state()
        shown = generate_latest().decode()
        found = oracle.figures(
            notes.sights,
            (),
            rows_of(tmp_path / "ledger.sqlite"),
            sums_of(state),
            rest_of(state, shown),
            errors=len([one for one in caplog.records if one.levelno >= logging.ERROR]),
        )
        after = len(asyncio.all_tasks())
    assert [(figure.what, figure.mean) for figure in found if figure.met is False] == []
    assert notes.answered > CALLS / 2
    assert {End.REFUSED_BY_SERVER, End.CUT, End.LEFT} <= {sight.end for sight in notes.sights}
    assert sum(server.counts.values()) > CALLS / 2
    assert len(server.counts) > len(TABLE) / 2
    assert after <= before + CLIENTS
