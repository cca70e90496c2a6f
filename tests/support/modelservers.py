"""Real model servers on loopback, both with the same small real model: Ollama and vLLM, as hack/ builds and installs them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

HACK = Path(__file__).parents[2] / "hack"
MODEL = "smollm2"
WITH_TOOLS = "smollm2-tools"
"""The same weights in Ollama, with a template that has a place for tools: without one Ollama refuses every request that offers some."""
_MODELFILE = """FROM smollm2
TEMPLATE \"\"\"{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Tools }}<|im_start|>system
Tools: {{ range .Tools }}{{ .Function.Name }} {{ end }}<|im_end|>
{{ end }}{{ range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
\"\"\"
"""


@contextmanager
def ollama(folder: Path, *, tools: bool = False) -> Iterator[str]:
    """Serve Ollama with its files below ``folder``; with ``tools`` it has the model ``WITH_TOOLS`` too. Answers its address."""
    [where] = _needed("ollama-root")
    root = Path(where)
    models, address = root / "models", _free_address()
    if tools:
        models = Path(shutil.copytree(models, folder / "models"))
    env = {"HOME": str(folder), "OLLAMA_HOST": address, "OLLAMA_MODELS": str(models), "OLLAMA_NOPRUNE": "1"}
    program = str(root / "bin" / "ollama")
    with _serving([program, "serve"], env, folder / "ollama.log", f"http://{address}/api/version", seconds=30):
        if tools:
            file = folder / "Modelfile"
            file.write_text(_MODELFILE)
            subprocess.run([program, "create", WITH_TOOLS, "-f", str(file)], env=os.environ | env, check=True)
        yield f"http://{address}"


@contextmanager
def vllm(folder: Path) -> Iterator[str]:
    """Serve vLLM on CPUs, with tools, and its files below ``folder``. Answers its address."""
    interpreter, where = _needed("vllm-root")
    root, address = Path(where), _free_address()
    host, port = address.split(":")
    env = {
        "PYTHONPATH": str(root / "site"),
        "LD_LIBRARY_PATH": str(root / "stubs"),
        "HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    }
    options = ["--dtype=bfloat16", "--enforce-eager", "--max-model-len=8192", f"--host={host}", f"--port={port}"]
    tools = ["--enable-auto-tool-choice", "--tool-call-parser=hermes"]
    greedy = '--override-generation-config={"temperature": 0}'  # so small a model wanders off otherwise
    program = [interpreter, "-m", "vllm.entrypoints.openai.api_server"]
    command = [*program, f"--model={root / 'model'}", f"--served-model-name={MODEL}", *options, *tools, greedy]
    with _serving(command, env, folder / "vllm.log", f"http://{address}/health", seconds=600):
        yield f"http://{address}"


@contextmanager
def _serving(command: list[str], env: Mapping[str, str], log: Path, health: str, *, seconds: float) -> Iterator[None]:
    with log.open("wb") as out:
        server = subprocess.Popen(command, env=os.environ | env, cwd=log.parent, stdout=out, stderr=out)
        try:
            _wait_for(health, server, log, seconds)
            yield
        finally:
            server.terminate()
            server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            waits = server.poll() is None and time.monotonic() < deadline
            assert waits, f"no answer of {url}: {log.read_text()[-2000:]}"
            time.sleep(0.1)


def _needed(script: str) -> list[str]:
    """The words of the last line that a program of hack/ prints."""
    done = subprocess.run([str(HACK / script)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"
