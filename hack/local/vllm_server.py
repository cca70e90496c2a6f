"""vLLM on CPUs with the same small model: 3 GB of packages in the cache folder, which its pod mounts instead of carrying them in an image."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from string import Template

from local import build, docker, images, ollama, toolchain
from local.console import Progress, StepError
from local.instance import NODE
from local.layers import interpreter, libraries, program, shell
from local.oci import Settings
from local.paths import CACHE, HACK, LOGS, SOURCE, STAMPS

DEPLOYMENT = "model-server-vllm"  # in hack/manifests/vllm.yaml
FOLDER = CACHE / "vllm"
SITE, STUBS, MODEL = FOLDER / "site", FOLDER / "stubs", FOLDER / "model"
RECIPE = HACK / "local" / "vllm"
REFERENCE = "localhost/laneway-vllm:0.32.0"
STEP = "installing vLLM"


def manifest() -> str:
    """The objects of the server, with the folder that its volume stands for."""
    return Template((HACK / "manifests" / "vllm.yaml").read_text()).substitute(
        folder=FOLDER, node=NODE, image=REFERENCE
    )


def need_image() -> images.Image:
    """An interpreter with the shared libraries that the packages need; they themselves are on the volume."""
    if docker.answers():
        raise StepError(
            "VLLM=1",
            "vLLM's packages are mounted from this machine, which a kind node cannot see",
            "run make demo without VLLM=1",
        )
    toolchain.need_packages(STEP, toolchain.IMAGE | {"readelf": "binutils"})
    need_folder()
    lscpu = Path(shutil.which("lscpu") or "/usr/bin/lscpu")  # vLLM asks it for the processors
    programs = [lscpu, *sorted(SITE.rglob("*.so*"))]
    layers = [
        interpreter(),
        shell(),
        program("lscpu", lscpu, "/usr/bin/lscpu"),
        libraries("vllm-libraries", f"lscpu {_recipe_hash()}", programs, below=FOLDER),
    ]
    return images.write(
        "laneway-vllm", REFERENCE, layers, Settings(environment={"PYTHONUNBUFFERED": "1"}, user=images.USER)
    )


def need_folder() -> Path:
    """The folder with the packages, the stand-ins for CUDA and the model: site/, stubs/, model/."""
    mark = STAMPS / "vllm"
    if mark.exists() and mark.read_text() == _recipe_hash() and FOLDER.exists():
        return FOLDER
    weights = ollama.need_model_file()
    with build.locked():
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        progress = Progress("installing vLLM for CPUs: 3 GB, once, about 2 minutes")
        environment = SOURCE / "pip-vllm"
        toolchain.pip_install(STEP, environment, ["pip"])
        wanted = ["install", "--no-deps", "--no-compile", "--target", str(SITE), "-r", str(RECIPE / "requirements.txt")]
        toolchain.pip(STEP, environment / "bin" / "python", wanted, LOGS / "vllm-pip.log")
        progress.close()
        _python([str(RECIPE / "cuda_stubs.py"), str(SITE / "torch" / "lib"), str(STUBS)])
        _python([str(RECIPE / "gguf_to_hf.py"), str(weights), str(MODEL)])
        for file in FOLDER.rglob("*"):  # the weights are saved for their owner alone; the pod's user is another
            if not file.is_symlink():
                file.chmod(0o755 if file.is_dir() else 0o644)
        mark.write_text(_recipe_hash())
    return FOLDER


def _python(arguments: list[str]) -> None:
    environment = os.environ | {"PYTHONPATH": str(SITE), "LD_LIBRARY_PATH": str(STUBS)}
    log = LOGS / "vllm.log"
    with log.open("a") as out:
        done = subprocess.run(
            [str(toolchain.python()), "-B", *arguments], stdout=out, stderr=out, env=environment, check=False
        )
    if done.returncode != 0:
        raise StepError(STEP, f"{Path(arguments[0]).name} failed", "look at the log", log)


def _recipe_hash() -> str:
    digest = hashlib.sha256(str(toolchain.python()).encode())
    for file in sorted(RECIPE.glob("*.*")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
