"""Where everything that this project makes on a machine lies: one folder outside the tree, so that a fresh clone finds it again."""

import os
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
HACK = TREE / "hack"
CONFIG = HACK / "local" / "config"
MODULES = HACK / "local" / "modules"


def _cache() -> Path:
    if chosen := os.environ.get("LANEWAY_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "laneway"


CACHE = _cache()
BIN = CACHE / "bin"
SOURCE = CACHE / "src"
IMAGES = CACHE / "images"
MODELS = CACHE / "models"
STAMPS = CACHE / "stamps"
LOGS = CACHE / "log"
RUN = CACHE / "run"
