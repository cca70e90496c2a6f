"""The objects of the soak's stand are what the API server takes."""

from __future__ import annotations

import manifests
from laneway.api.agentrun import AgentRunSpec, OnTransientError
from laneway.api.modellane import ModelLaneSpec
from soak.modelserver import MODELS
from soak.stand import LANE, RUN, WAITING


def test_lanes_and_runs_are_read_as_they_are_meant() -> None:
    spec = manifests.lane({"endpoint": {"url": "http://198.18.0.1:9", "server": "vLLM"}, **LANE})["spec"]
    lane = ModelLaneSpec.model_validate(spec)
    assert tuple(model.name for model in lane.models) == MODELS
    assert all(model.pricing is not None for model in lane.models)
    assert lane.capacity.calls is not None
    skips, waits = (
        AgentRunSpec.model_validate(manifests.run({"models": [{"lane": "lane-0"}], **spec})["spec"])
        for spec in (RUN, WAITING)
    )
    assert skips.limits is not None
    assert skips.limits.cost_usd == "100000"
    assert skips.limits == waits.limits
    assert (skips.on_transient_error, waits.on_transient_error) == (OnTransientError.SKIP, OnTransientError.BACK_OFF)
