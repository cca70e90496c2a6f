"""The container of a preset's pod, run on this machine: its command and its variables, with the pod's folders below a folder of the test's own.

Tests in pods are in tests/e2e/test_presets.py; here an agent meets a gateway whose every call can be scripted and looked at.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laneway.controller.facts.views import Surroundings
from laneway.controller.pods.pod import Plan, build_pod
from support.builders import PRESETS, attempt, lane, run

_SECONDS = 900
"""More than any takes: a real server reads the 4,000 tokens of an agent's own instructions first."""
_NOWHERE = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9") | {"NO_PROXY": "127.0.0.1"}
"""Nothing leaves the machine."""
_ELSEWHERE = {
    "/etc/codex/config.toml": "workspace/.codex/config.toml",
    "/etc/gemini-cli/settings.json": "workspace/.gemini/settings.json",
}
"""Settings for a whole system stand at fixed places, which a test leaves alone: here they are the user's."""


@dataclass(frozen=True)
class Left:
    """What a container leaves."""

    code: int
    log: str
    termination: str
    """The termination message."""


@dataclass(frozen=True)
class Host:
    """Folders of one container, below ``folder``; ``commands`` is the folder with the agents' programs."""

    folder: Path
    commands: Path

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    async def run(self, preset: str, url: str, token: str, *, prompt: str, args: Sequence[str] = ()) -> Left:
        """Run the agent of a preset to its end, with a gateway at ``url``. Raises TimeoutError."""
        pod = _pod(preset, url, token, args)
        [container] = pod["spec"]["containers"]
        self._write_files(pod, container, prompt)
        command = [self._here(word) for word in [*container["command"], *container.get("args", [])]]
        process = await asyncio.create_subprocess_exec(
            *command,
            env=self._environment(container),
            cwd=self.workspace,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, 9)
                await process.wait()
        return Left(process.returncode or 0, out.decode(), (self.folder / "termination").read_text())

    def _write_files(self, pod: Mapping[str, Any], container: Mapping[str, Any], prompt: str) -> None:
        for folder in (self.workspace, self.folder / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "prompt").write_text(prompt)
        (self.folder / "termination").write_text("")
        for mount in container["volumeMounts"]:
            if "subPath" in mount:
                file = Path(self._here(mount["mountPath"]))
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(pod["metadata"]["annotations"][f"laneway.dev/file-{mount['subPath']}"])

    def _environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        """The container's variables, with references filled in as the kubelet does."""
        found = {"PATH": f"{self.commands}:{os.environ['PATH']}", **_NOWHERE}
        for entry in container["env"]:
            value = self._here(entry["value"])
            found[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda m: found.get(m[1], m[0]), value)
        return found

    def _here(self, text: str) -> str:
        """A text with the pod's paths as they are here."""
        places = {
            **_ELSEWHERE,
            "/laneway/prompt": "prompt",
            "/dev/termination-log": "termination",
            "/etc/laneway": "etc",
            "/workspace": "workspace",
            "/tmp": "tmp",
        }
        pattern = "|".join(re.escape(path) for path in places)
        return re.sub(rf"(?:{pattern})(?![\w-])", lambda found: str(self.folder / places[found[0]]), text)


def _pod(preset: str, url: str, token: str, args: Sequence[str]) -> dict[str, Any]:
    agent = {"preset": preset, "image": "none", **({"args": list(args)} if args else {})}
    surroundings = Surroundings(agent_image="none", gateway_url=url, token=token)
    plan = Plan(
        run=run(spec={"agent": agent}),
        lane=lane(),
        preset=PRESETS[preset],
        attempt=attempt(),
        surroundings=surroundings,
    )
    return build_pod(plan)
