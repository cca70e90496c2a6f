"""Where a call goes: the lane and model of its run's step, judged anew at each call."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from yarl import URL

from laneway.api.endpoint import WireAPI
from laneway.api.modellane import Access, LaneModel
from laneway.api.reasons import Cause
from laneway.gateway.cluster.objects import Lane, LaneKey, Run
from laneway.gateway.cluster.views import Views
from laneway.gateway.wire.base import Kind
from laneway.gateway.wire.refused import Refused
from laneway.rules.endpoint import path_of, root_url, spoken
from laneway.rules.pricing import Prices, prices_of


@dataclass(frozen=True, slots=True)
class Target:
    """A lane, an API and a model on it, and what its tokens cost."""

    lane: Lane
    api: WireAPI
    model: str
    prices: Prices | None

    def url(self, path: str, query: str) -> URL:
        """The address of an operation on the lane's server; the query is passed on byte for byte.

        A ``{model}`` in the path is the model, one segment whatever its name.
        """
        endpoint = self.lane.spec.endpoint
        root = root_url(endpoint, lane_namespace=self.lane.namespace)
        path = path_of(endpoint, self.api, path).replace("{model}", quote(self.model, safe=""))
        return URL(root + path + (f"?{query}" if query else ""), encoded=True)


class StepRefused(Refused):
    """The step that a run is on cannot take the call, however often it is tried; another one may."""


class LaneGone(StepRefused):
    """The lane of a run's step does not exist. One of the same name may come back."""

    def __init__(self, lane: LaneKey) -> None:
        super().__init__(Kind.NOT_FOUND, f"lane {'/'.join(lane)} does not exist", cause=Cause.MODEL_NOT_FOUND)
        self.lane = lane


def lane_of(run: Run, views: Views) -> Lane:
    """The lane of a run's step. Raises LaneGone, StepRefused and Refused."""
    if run.lane is None:
        raise Refused(Kind.UNAVAILABLE, "the run has no lane yet", retry_after_seconds=1)
    lane = views.lanes.get(run.lane)
    name = "/".join(run.lane)
    if lane is None:
        raise LaneGone(run.lane)
    if lane.spec.access is not Access.GATEWAY:
        message = f"lane {name} is not carried by the gateway"
        raise StepRefused(Kind.NOT_FOUND, message, cause=Cause.MODEL_NOT_FOUND)
    if not lane.allows(run.namespace):
        message = f"lane {name} does not allow runs of namespace {run.namespace}"
        raise Refused(Kind.FORBIDDEN, message, cause=Cause.AUTH_FAILED)
    return lane


def choose(run: Run, views: Views, api: WireAPI) -> Target:
    """The target of a run's call. Raises LaneGone, StepRefused and Refused."""
    lane = lane_of(run, views)
    apis = spoken(lane.spec.endpoint)
    if api not in apis:
        these = ", ".join(sorted(apis))
        message = (
            f"lane {'/'.join(lane.key)} does not speak {api}; its server ({lane.spec.endpoint.server}) speaks {these}"
        )
        raise StepRefused(Kind.NOT_FOUND, message, cause=Cause.WIRE_API_UNSUPPORTED)
    model = model_of(run, lane)
    return Target(lane=lane, api=api, model=model.name, prices=prices_of(model.pricing))


def model_of(run: Run, lane: Lane) -> LaneModel:
    """The model of a run's step on its lane. Raises StepRefused."""
    for model in lane.spec.models:
        if model.name == run.model:
            return model
    message = f"lane {'/'.join(lane.key)} has no model {run.model!r} any more"
    raise StepRefused(Kind.NOT_FOUND, message, cause=Cause.MODEL_NOT_FOUND)
