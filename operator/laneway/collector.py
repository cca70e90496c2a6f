"""Python's garbage collector, told what stays."""

from __future__ import annotations

import gc

_COLLECT_AFTER = 20_000
"""New objects until the youngest are collected: some passes' worth."""


def spare() -> None:
    """What there is now stays: the collector need not walk through it again and again, nor look after every 700 new objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
