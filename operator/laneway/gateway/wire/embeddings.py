"""OpenAI embeddings: passed through and metered, but no turn, and never tried again."""

from __future__ import annotations

from collections.abc import Mapping

from laneway.api.endpoint import Server, WireAPI
from laneway.gateway.wire.base import Answer, Prepared, Reader, Reading, Refusal, Wire, error_in, replace_model
from laneway.gateway.wire.openairefusals import refuse
from laneway.rules.usage import from_embeddings


class Embeddings(Wire):
    """``POST /v1/embeddings``."""

    api = WireAPI.EMBEDDINGS
    turns = False

    def prepare(self, body: bytes, *, model: str, server: Server) -> Prepared:
        """Replace the model; nothing is streamed."""
        return Prepared(body=replace_model(body, model=model).render(), streamed=False, output_tokens=0)

    def clamp(self, prepared: Prepared, *, tokens: int, server: Server) -> Prepared:
        """There is no output to bound."""
        return prepared

    def read_whole(self, answer: Mapping[str, object]) -> Reading:
        """``usage``, which has input only."""
        reading, usage = Reading(), answer.get("usage")
        if isinstance(usage, Mapping):
            reading.usage = from_embeddings(usage)
            reading.usage_final = reading.usage.known
        if answer.get("error"):
            reading.error = error_in(answer)
        return reading

    def stream_reader(self, prepared: Prepared) -> Reader:
        """The reader of whole answers: a server that calls its answer a stream has only one thing to say."""
        return self.whole_reader()

    def refuse(self, refusal: Refusal) -> Answer:
        """In the words of OpenAI."""
        return refuse(refusal)
