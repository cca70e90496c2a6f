"""How a subcommand starts."""

from __future__ import annotations

import gc

from laneway.__main__ import _imports


def test_garbage_is_collected_again_once_all_is_imported() -> None:
    frozen = gc.get_freeze_count()
    try:
        with _imports():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
