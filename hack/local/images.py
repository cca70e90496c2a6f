"""The images that the local cluster needs, as archives: built without a registry or a daemon, again only when their inputs changed."""

import hashlib
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from local import build, docker, layers, ollama, toolchain, versions
from local.console import StepError
from local.oci import Settings, write_archive
from local.paths import BIN, HACK, IMAGES, SOURCE, STAMPS, TREE

# `localhost` is no registry: a node that lacks such an image says so at once instead of looking for it elsewhere.
REPOSITORY = "localhost/laneway"
PAUSE = "localhost/pause:1"
COREDNS = f"localhost/coredns:{versions.COREDNS}"
OLLAMA = f"localhost/laneway-ollama:{versions.OLLAMA}"
TEST = "localhost/laneway-test:dev"
USER = f"{layers.UID}:{layers.UID}"


@dataclass(frozen=True)
class Image:
    """An image by its full name, and the archive that holds it."""

    reference: str
    archive: Path


def need_laneway() -> Image:
    """The project's own image. Its tag is made from its content, so that a change rolls the pods and nothing else does."""
    if docker.answers():
        return _laneway_by_docker()
    with build.locked():
        package = layers.package()  # first: the tree may be edited while the other two are made
        files = [layers.interpreter(), layers.dependencies(), package]
        content = hashlib.sha256(" ".join(file.name for file in files).encode()).hexdigest()
        reference = f"{REPOSITORY}:dev-{content[:12]}"
        return write("laneway", reference, files, _python_settings(("/usr/local/bin/python3", "-m", "laneway")))


def _laneway_by_docker() -> Image:
    content = layers.hash_of([TREE / "requirements.lock", TREE / "Dockerfile"], extra=layers.package_key())
    image = Image(f"{REPOSITORY}:dev-{content[:12]}", IMAGES / "laneway.tar")
    with build.locked():
        if not (image.archive.exists() and _stamp("laneway").exists() and _stamp("laneway").read_text() == content):
            docker.build_image(image.reference, image.archive)
            _mark("laneway", content)
    return image


def need_test() -> Image:
    """Python's standard library and a shell: what tests and agents of the preset `generic` run."""
    toolchain.need_packages("building the test image", toolchain.IMAGE)
    return _image("laneway-test", TEST, lambda: [layers.interpreter(), layers.shell()], _python_settings(()))


def need_ollama() -> Image:
    """Ollama with the small model inside."""
    root = ollama.need_root()
    settings = Settings(
        entrypoint=("/bin/ollama",),
        command=("serve",),
        environment={
            "HOME": "/home",
            "OLLAMA_MODELS": "/models",
            "OLLAMA_HOST": "0.0.0.0:11434",
            "OLLAMA_NOPRUNE": "1",
        },
        user=USER,
    )
    key = (STAMPS / "ollama-root").read_text()
    programs = [root / "bin" / "ollama", *(root / "lib" / "ollama").glob("*.so")]
    return _image(
        "laneway-ollama", OLLAMA, lambda: [layers.tree_with_libraries("ollama", key, root, programs)], settings
    )


def need_pause() -> Image:
    """The program that holds a pod's namespaces."""
    toolchain.need_packages("building the pause image", toolchain.IMAGE)
    source, output = HACK / "local" / "pause" / "pause.c", SOURCE / "pause"
    if not output.exists() or output.stat().st_mtime < source.stat().st_mtime:
        SOURCE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["gcc", "-static", "-Os", "-s", "-o", str(output), str(source)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise StepError(
                "building the pause image", f"gcc said: {done.stderr.strip()[-300:]}", "are gcc and libc6-dev whole?"
            )
    return _image(
        "pause",
        PAUSE,
        lambda: [layers.program("pause", output, "/pause")],
        Settings(command=("/pause",), user="65535:65535"),
    )


def need_coredns() -> Image:
    """Cluster DNS."""
    build.need(build.COREDNS)
    return _image(
        "coredns",
        COREDNS,
        lambda: [layers.program("coredns", BIN / "coredns", "/coredns")],
        Settings(entrypoint=("/coredns",)),
    )


BUILDERS: dict[str, Callable[[], Image]] = {
    "laneway": need_laneway,
    "laneway-test": need_test,
    "laneway-ollama": need_ollama,
    "pause": need_pause,
    "coredns": need_coredns,
}


def write(name: str, reference: str, files: list[Path], settings: Settings) -> Image:
    """Writes an archive when a layer, or how it starts, is not what the archive there was made of."""
    archive = IMAGES / f"{name}.tar"
    wanted = hashlib.sha256(f"{reference} {[file.name for file in files]} {settings}".encode()).hexdigest()
    if not (archive.exists() and _stamp(name).exists() and _stamp(name).read_text() == wanted):
        write_archive(archive, reference=reference, layers=files, settings=settings)
        _mark(name, wanted)
    return Image(reference, archive)


def _image(name: str, reference: str, make_layers: Callable[[], Iterable[Path]], settings: Settings) -> Image:
    with build.locked():
        return write(name, reference, list(make_layers()), settings)


def _python_settings(entrypoint: tuple[str, ...]) -> Settings:
    environment = {
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": "/app:/app/site",
        "SSL_CERT_FILE": layers.CERTIFICATES,
    }
    return Settings(
        entrypoint=entrypoint, command=() if entrypoint else ("python3",), environment=environment, user=USER
    )


def _stamp(name: str) -> Path:
    return STAMPS / f"image-{name}"


def _mark(name: str, text: str) -> None:
    STAMPS.mkdir(parents=True, exist_ok=True)
    _stamp(name).write_text(text)
