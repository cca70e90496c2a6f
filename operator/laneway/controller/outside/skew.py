"""Times of the gateway's clock as times of ours, so that a gateway whose clock is wrong changes no wait. Pure.

An answer was written after it was asked for and before it came: that bounds how far the two clocks are apart. The difference that is in use
stays as long as it lies within the bounds, and it begins at zero: times of clocks that agree are not touched, and none wanders with the
network's delays.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from laneway.api.gatewaystate import AttemptState, CallFailure, LaneState, ModelEvidence, ModelInUse, Wish

NO_SKEW = timedelta(0)


def measured(ahead: timedelta, *, asked: datetime, answered: datetime, came: datetime) -> timedelta:
    """How far our clock is before the gateway's, after one more answer. ``answered`` is the gateway's clock."""
    return min(max(ahead, asked - answered), came - answered)


def moved(moment: datetime | None, ahead: timedelta) -> datetime | None:
    """A moment of the gateway's clock."""
    return None if moment is None else moment + ahead


def moved_failure(failure: CallFailure, ahead: timedelta) -> CallFailure:
    """A failure with its times."""
    times = ("sent_time", "seen_time", "reset_time")
    return failure.model_copy(update={name: moved(getattr(failure, name), ahead) for name in times})


def moved_attempt(
    told: AttemptState, ahead: timedelta, *, before: tuple[AttemptState, AttemptState] | None
) -> AttemptState:
    """An attempt. ``before``: what was told of it last, and what that became; a failure that is told again keeps its times.

    Where nothing changes it is what was told itself: there may be tens of thousands.
    """
    failure = told.failure and moved_failure(told.failure, ahead)
    if before is not None and before[0].failure == told.failure:
        failure = before[1].failure
    changes = {
        "last_activity_time": moved(told.last_activity_time, ahead),
        "answered_time": None,
        "failure": failure,
        "failing_since_time": moved(told.failing_since_time, ahead),
        "model": told.model and _moved_model(told.model, ahead),
        "wish": told.wish and _moved_wish(told.wish, ahead),
    }
    news = {name: value for name, value in changes.items() if value != getattr(told, name)}
    return told.model_copy(update=news) if news else told


def _moved_model(model: ModelInUse, ahead: timedelta) -> ModelInUse:
    moves = tuple(one.model_copy(update={"time": one.time + ahead}) for one in model.moves)
    return model.model_copy(update={"moves": moves})


def _moved_wish(wish: Wish, ahead: timedelta) -> Wish:
    times = {"since_time": wish.since_time + ahead, "until_time": wish.until_time + ahead}
    return wish.model_copy(update=times)


def moved_evidence(
    told: ModelEvidence, ahead: timedelta, *, before: tuple[ModelEvidence, ModelEvidence] | None
) -> ModelEvidence:
    """What is known of a model. ``before``: as with attempts."""
    failure, success = (
        told.last_failure and moved_failure(told.last_failure, ahead),
        moved(told.last_success_time, ahead),
    )
    if before is not None and before[0].last_failure == told.last_failure:
        failure = before[1].last_failure
    if before is not None and before[0].last_success_time == told.last_success_time:
        success = before[1].last_success_time
    return told.model_copy(update={"last_failure": failure, "last_success_time": success})


def moved_lane(told: LaneState, ahead: timedelta) -> LaneState:
    """A probe's result."""
    return told.model_copy(update={"probed_time": told.probed_time + ahead})
