"""A Git repository of the test's own, which Argo CD reads as a file URL."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from manifests import Manifest


class Repository:
    """One branch; each commit is the whole tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._git("init", "-q", "-b", "main")

    @property
    def url(self) -> str:
        """Where Argo CD finds it."""
        return f"file://{self.folder}"

    def commit(self, *objects: Manifest) -> str:
        """Make these objects all that is in Git; answers the revision."""
        for file in self.folder.glob("*.json"):
            file.unlink()
        for number, each in enumerate(objects):
            (self.folder / f"{number}-{each['kind']}.json").write_text(json.dumps(each))
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", "state")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        who = {
            f"GIT_{role}_{what}": "test@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout
