"""Which model a run gets that names none, on a lane with a classifier (S4.37 to S4.39, C20). Pure.

    step without a model  ->  the run stands on it, its model unknown  ->  the classifier is asked  ->  status.classification
                                                                                                        ->  the lane's model of that tier

The complexity is the run's and is worked out once; each lane maps it by its own tiers. A run that stood on a lane before that had a
classifier stays on the model that it had.
"""

from __future__ import annotations

from dataclasses import replace

from laneway.api.classification import REASON_LIMIT, Classification, ClassificationSource, Complexity
from laneway.api.reasons import EventReason
from laneway.api.runstatus import AgentRunStatus
from laneway.controller.chain.eligibility import Blocker, Question, find_unclassified
from laneway.controller.chain.survey import Survey
from laneway.controller.decision import status
from laneway.controller.decision.effects import Classify, Effect, EventType, PostEvent
from laneway.controller.facts.objects import Lane
from laneway.controller.facts.views import Answer, RunView
from laneway.controller.health.own import cooldown_for
from laneway.rules import wording
from laneway.rules.chain import LaneSteps, expand
from laneway.rules.complexity import text_of

DEFAULT = Complexity.MEDIUM
"""Of a run that could not be classified (S4.39)."""
_NO_REASON = "it gave no reason"


def steps_of(lane: Lane, known: AgentRunStatus) -> LaneSteps:
    """What the chain of a run takes from a lane. ``known``: the run's status."""
    return LaneSteps(_unnamed_model(lane, known), lane.spec.fallback)


def _unnamed_model(lane: Lane, known: AgentRunStatus) -> str | None:
    first, classifier = lane.spec.models[0].name, lane.spec.classifier
    if classifier is None:
        return first
    if known.classification is not None:
        return classifier.tiers.of(known.classification.complexity)
    here = [step for step in known.chain if (step.namespace, step.lane) == lane.meta.key]
    stood_here = bool(here) and all(step.model is not None for step in here)
    return first if stood_here else None


def answered(view: RunView) -> tuple[RunView, tuple[Effect, ...]]:
    """The view with what the classifier said in the run's status; and the Event, if it failed."""
    run, answer = view.run, view.answer
    if answer is None or run.status.classification is not None or not run.waits:
        return view, ()
    return settled(view, answer)


def settled(view: RunView, answer: Answer) -> tuple[RunView, tuple[Effect, ...]]:
    """The view of a run that is classified, and charged for that, with the chain that follows; as it is if the lane has no classifier any more."""
    run, lane = view.run, view.lanes.get(answer.lane)
    if lane is None or lane.spec.classifier is None:
        return view, ()
    complexity = answer.complexity or DEFAULT
    said = Classification(
        complexity=complexity,
        model=lane.spec.classifier.tiers.of(complexity),
        reason=answer.reason[:REASON_LIMIT] or _NO_REASON,
        source=ClassificationSource.DEFAULT if answer.complexity is None else ClassificationSource.CLASSIFIER,
    )
    update: dict[str, object] = {"classification": said}
    if answer.used is not None and answer.used.calls:
        used = status.gateway_usage(answer.used, complete=True)
        update["usage"] = status.add_usage(run.status.usage, before=None, after=used)
    run = replace(run, status=run.status.model_copy(update=update))
    lanes = view.lanes
    chain = expand(
        run.spec.models,
        namespace=run.meta.namespace,
        lane_of=lambda key: steps_of(lanes[key], run.status) if key in lanes else None,
    )
    return replace(view, run=run, chain=chain, answer=None), _told(said)


def find_blocker(seen: Survey) -> Blocker | None:
    """That the model of the run's step has to be chosen first; None: it is known."""
    number = seen.current
    if number is None:
        return None
    step = seen.steps[number]
    asked = Question(run=seen.run, lane=step.lane, presets={}, usable_lanes=(), now=seen.now, link=step.link)
    return find_unclassified(asked)


def without_asking(view: RunView, seen: Survey) -> Answer | None:
    """The default where a question is of no use: there is nothing to read, or the model that classifies rests. None: ask."""
    lane = _lane(seen)
    if lane.spec.classifier is None:
        raise ValueError("a lane that is asked has a classifier")
    if not _text(seen):
        return Answer(
            lane.meta.key, None, "there is nothing to read: its prompt is in a ConfigMap, and it has no title"
        )
    model = lane.spec.classifier.model
    cooldown = cooldown_for(seen.run, lane, model, view.peers.get(lane.meta.key, ()), seen.now)
    if cooldown is None:
        return None
    return Answer(lane.meta.key, None, f"the classifier {model} {wording.cooling(cooldown, seen.now)}")


def question(seen: Survey) -> Classify:
    """What is asked of the lane that the run stands on."""
    return Classify(seen.run.meta.uid, _lane(seen).meta.key, _text(seen))


def _lane(seen: Survey) -> Lane:
    lane = None if seen.current is None else seen.steps[seen.current].lane
    if lane is None:
        raise ValueError("a run whose model has to be chosen stands on a lane")
    return lane


def _text(seen: Survey) -> str:
    return text_of(seen.run.spec.title, seen.run.spec.prompt)


def _told(said: Classification) -> tuple[Effect, ...]:
    """Only a failure is worth an Event: status says what was chosen (S0.25)."""
    if said.source is ClassificationSource.CLASSIFIER:
        return ()
    message = f"not classified ({said.reason}); it counts as {said.complexity}: {said.model}"
    return (PostEvent(EventReason.CLASSIFIER_FALLBACK, message, key="classifier-fallback", type=EventType.WARNING),)
