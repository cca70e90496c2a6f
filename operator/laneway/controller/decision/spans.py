"""The spans of a run and of its attempts, made when a status write has recorded their end. Pure."""

from __future__ import annotations

from laneway.api.reasons import End, Outcome, RunCondition
from laneway.api.runstatus import AgentRunStatus, Attempt, Fallback, Usage
from laneway.controller.facts.objects import Run
from laneway.rules.money import parse_usd
from laneway.rules.traces import Attributes, Happening, Kind, Span, attempt_span_id, run_span_id, trace_id

_WELL = frozenset({Outcome.SUCCEEDED, Outcome.LIMIT, Outcome.CANCELLED})


def new_spans(run: Run, written: AgentRunStatus) -> list[Span]:
    """What has ended with this write: ``run`` is as it was before."""
    known = {attempt.id for attempt in run.status.attempts if attempt.end_time is not None}
    ended = [attempt for attempt in written.attempts if attempt.end_time is not None and attempt.id not in known]
    spans = [_attempt_span(run, attempt) for attempt in ended]
    if written.completion_time is not None and not run.finished:
        spans.append(_run_span(run, written))
    return spans


def _run_span(run: Run, status: AgentRunStatus) -> Span:
    uid, agent = run.meta.uid, run.spec.agent.preset
    good = any(c.type == RunCondition.SUCCEEDED and c.status == "True" for c in status.conditions)
    bad = not good and status.reason != End.CANCELLED
    asked = status.requested_model
    return Span(
        trace_id=trace_id(uid),
        span_id=run_span_id(uid),
        parent_id=None,
        name=f"invoke_agent {agent}",
        kind=Kind.INTERNAL,
        start=run.meta.created,
        end=status.completion_time or run.meta.created,
        attributes={
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": "laneway",
            "gen_ai.agent.name": agent,
            "gen_ai.conversation.id": uid,
            "gen_ai.request.model": asked.model if asked else None,
            **_used(status.usage),
            "k8s.namespace.name": run.meta.namespace,
            "laneway.run": run.meta.name,
            "laneway.caller": run.spec.caller or None,
            "laneway.attempts": status.attempt or 0,
            "laneway.reason": status.reason,
            "error.type": status.reason if bad else None,
        },
        failed=bad,
        happenings=tuple(_step_of(move) for move in status.fallback_history),
    )


def _attempt_span(run: Run, attempt: Attempt) -> Span:
    uid = run.meta.uid
    end = attempt.end_time or run.meta.created
    bad = attempt.outcome not in _WELL
    return Span(
        trace_id=trace_id(uid),
        span_id=attempt_span_id(uid, attempt.id),
        parent_id=run_span_id(uid),
        name="attempt",
        kind=Kind.INTERNAL,
        start=min(attempt.admitted_time or end, end),
        end=end,
        attributes={
            "gen_ai.conversation.id": uid,
            "gen_ai.request.model": attempt.step.model,
            **_used(attempt.usage),
            "k8s.namespace.name": run.meta.namespace,
            "k8s.pod.name": attempt.pod,
            "k8s.pod.uid": attempt.pod_uid,
            "laneway.run": run.meta.name,
            "laneway.attempt": attempt.id,
            "laneway.lane": attempt.step.lane,
            "laneway.lane.namespace": attempt.step.namespace,
            "laneway.outcome": attempt.outcome,
            "error.type": (attempt.cause or attempt.outcome) if bad else None,
        },
        failed=bad,
        happenings=(Happening("agent started", attempt.start_time),) if attempt.start_time else (),
    )


def _used(usage: Usage | None) -> Attributes:
    if usage is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        "laneway.turns": usage.turns,
        "laneway.cost.micro_usd": None if usage.cost_usd is None else parse_usd(usage.cost_usd),
    }


def _step_of(move: Fallback) -> Happening:
    return Happening(
        "step taken",
        move.time,
        {
            "laneway.cause": move.cause,
            "laneway.from": f"{move.from_.namespace}/{move.from_.lane} {move.from_.model or ''}".rstrip(),
            "laneway.to": f"{move.to.namespace}/{move.to.lane} {move.to.model or ''}".rstrip(),
            "laneway.live": bool(move.live),
        },
    )
