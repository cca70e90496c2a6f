"""An image for each agent of others, for tests: what examples/agents builds from a registry, put together from what hack/agents has installed."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from local import agent_programs, build, images, layers, toolchain
from local.agent_programs import NPM, PYTHON, Npm, Python
from local.images import Image
from local.oci import Settings
from local.paths import SOURCE

HOME = "/opt/agent"
STEP = "building an agent's image"


def reference(preset: str) -> str:
    """The full name of a preset's image."""
    return f"localhost/laneway-{preset}:dev"


def need(agent: Npm | Python) -> Image:
    """The image of one agent."""
    toolchain.need_packages(STEP, toolchain.IMAGE)
    agent_programs.need_folder()
    with build.locked():
        key = f"{agent} {agent_programs.recipe_hash()}"
        system = [layers.interpreter(), layers.shell(), *_tools()]
        if isinstance(agent, Npm):
            files, environment = [*system, *_node(), *_npm_layers(agent, key)], {}
        else:
            files, environment = [*system, *_python_layers(agent, key)], {"PYTHONPATH": HOME}
        settings = Settings(environment={"SSL_CERT_FILE": layers.CERTIFICATES, **environment}, user=images.USER)
        return images.write(f"laneway-{agent.preset}", reference(agent.preset), files, settings)


BUILDERS: dict[str, Callable[[], Image]] = {
    f"laneway-{agent.preset}": partial(need, agent) for agent in (*NPM, *PYTHON)
}


def _node() -> list[Path]:
    node = Path(shutil.which("node") or "/usr/bin/node").resolve()
    return [layers.program("node", node, "/usr/local/bin/node"), _libraries("node", node)]


def _tools() -> list[Path]:
    """What agents expect of a machine beside a small shell."""
    bash, git = (Path(shutil.which(name) or f"/usr/bin/{name}").resolve() for name in ("bash", "git"))
    return [
        layers.program("bash", bash, "/bin/bash"),
        layers.program("git", git, "/usr/bin/git"),
        _libraries("tools", bash, git),
    ]


def _libraries(name: str, *programs: Path, key: str = "", below: Path = Path("/none")) -> Path:
    return layers.libraries(f"libraries-{name}", key or layers.hash_of(programs), programs, below=below)


def _npm_layers(agent: Npm, key: str) -> list[Path]:
    modules = agent_programs.FOLDER / "node_modules"
    folders = [folder for pattern in agent.packages for folder in modules.glob(pattern)]
    program = (modules / ".bin" / agent.command).resolve()
    places = {f"{HOME}/node_modules/{folder.relative_to(modules)}": folder for folder in folders}
    links = {
        f"/usr/local/bin/{agent.command}": f"{HOME}/node_modules/{program.relative_to(modules)}",
        "/usr/bin/env": "/bin/busybox",  # the first line of their scripts asks for it
    }
    return [
        _libraries(agent.preset, program, key=key),
        layers.trees(f"agent-{agent.preset}", key, places, links=links),
    ]


def _python_layers(agent: Python, key: str) -> list[Path]:
    scripts = SOURCE / "agent-scripts" / agent.preset
    scripts.mkdir(parents=True, exist_ok=True)
    script = scripts / agent.command
    script.write_text(f'#!/bin/sh\nexec python3 -m {agent.module} "$@"\n')
    script.chmod(0o755)
    programs = sorted(agent.site.rglob("*.so*"))
    return [
        _libraries(agent.preset, *programs, key=key, below=agent.site),
        layers.trees(f"agent-{agent.preset}", key, {HOME: agent.site, "/usr/local/bin": scripts}),
    ]
