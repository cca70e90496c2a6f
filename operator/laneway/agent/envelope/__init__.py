"""The stream-json envelope: one JSON object a line, written by the built-in agent and by other agents, parsed by the operator.

Lines, in the order in which they are written (S0.19, S0.20):

    {"type": "stream_event", "event": {"type": "content_block_delta", ...}}    each piece of a streamed answer
    {"type": "assistant", "message": {id, model, content[], stop_reason, usage}}    the whole answer, once
    {"type": "result", is_error, api_error_status, result, total_cost_usd, duration_ms, num_turns, usage}    the last line

Other agents add to these lines, or write lines of their own: see ``streamjson`` and ``codex``. No I/O here: text in, text out.
"""

from laneway.agent.envelope.fields import RAW_LIMIT, without_keys
from laneway.agent.envelope.parsing import TAIL_LINES, parse
from laneway.agent.envelope.summary import summary_of
from laneway.agent.envelope.values import EnvelopeSummary, RateLimitEvent, Usage
from laneway.agent.envelope.writing import assistant_line, delta_line, result_line

__all__ = [
    "RAW_LIMIT",
    "TAIL_LINES",
    "EnvelopeSummary",
    "RateLimitEvent",
    "Usage",
    "assistant_line",
    "delta_line",
    "parse",
    "result_line",
    "summary_of",
    "without_keys",
]
