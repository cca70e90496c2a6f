"""Property tests try the same examples each time and are not judged by the clock: a failure in `make test` is never an accident."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "laneway", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("laneway")
