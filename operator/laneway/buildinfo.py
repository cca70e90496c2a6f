"""Which version runs, as every process of Laneway tells it to Prometheus."""

from __future__ import annotations

from prometheus_client import Info

from laneway import __version__

BUILD = Info("laneway_build", "Version of this program.")


def show() -> None:
    """Tell it from now on."""
    BUILD.info({"version": __version__})
