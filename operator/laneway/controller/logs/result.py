"""What the agent's own result line says of how its attempt ended, beside its exit code. Pure."""

from __future__ import annotations

from laneway.agent.envelope import EnvelopeSummary
from laneway.api.gatewaystate import AttemptState
from laneway.api.reasons import End, Outcome
from laneway.controller.facts.pods import PodFacts
from laneway.controller.facts.presets import LogParser
from laneway.controller.pods.diagnosis import Ending

_KILLED = frozenset({137, 143})  # SIGKILL, SIGTERM


def wants_log(pod: PodFacts | None, parser: LogParser, state: AttemptState | None, *, direct: bool) -> bool:
    """Whether the log of a pod can tell what nothing else does.

    On Direct lanes how the calls went; of an agent that was killed, whether it had done its work; of a silent one, its words, or that it has none.
    """
    if pod is None or not pod.finished or pod.agent is None:
        return False
    is_silent = pod.agent.exit_code == 0 and not pod.agent.message.strip()
    if parser is LogParser.NONE:
        return is_silent and not direct and state is not None and not was_served(state)
    return direct or is_silent or was_killed(pod)


def was_killed(pod: PodFacts) -> bool:
    """Whether the agent's exit code is not its own word."""
    is_broken = bool(pod.disruption) or pod.reason == "Evicted"
    return is_broken or (pod.agent is not None and (pod.agent.reason == "OOMKilled" or pod.agent.exit_code in _KILLED))


def was_served(state: AttemptState) -> bool:
    """Whether a call of an attempt was answered, as the gateway saw it."""
    return state.totals.turns > 0 or (state.calls > 0 and state.failure is None)


def corrected(ending: Ending, pod: PodFacts, envelope: EnvelopeSummary | None, *, direct: bool) -> Ending:
    """The end of a pod in the light of its log.

    A good result counts although the agent was killed after it (S4.19). On Direct lanes an error counts although the exit code is 0: nobody else
    saw the call that failed. An exit code that the agent itself chose is never made better.
    """
    if envelope is None or not envelope.finished:
        return ending
    if ending.outcome is Outcome.SUCCEEDED:
        return _failed(ending, envelope) if direct and envelope.is_error else ending
    if envelope.is_error is False and was_killed(pod):
        message = f"the agent had finished its work, as its log says; then {ending.message}"
        return Ending(Outcome.SUCCEEDED, End.COMPLETED, message, ending.exit_code)
    return ending


def _failed(ending: Ending, envelope: EnvelopeSummary) -> Ending:
    words = " ".join((envelope.raw_error or "").split())
    said = f": {words}" if words else ""
    message = f"the agent exited with 0, but its log ends with an error{said}"
    return Ending(Outcome.FAILED, End.FAILED, message, ending.exit_code)
