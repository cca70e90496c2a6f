"""The layers that images are put together from, each built once for its inputs and kept in the cache folder."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from local import toolchain
from local.console import StepError
from local.oci import Layer
from local.paths import CACHE, LOGS, SOURCE, TREE

FORMAT = "4"  # a layer's content depends on the code below too: raise this with it
LAYERS = CACHE / "layers"
NOT_NEEDED = shutil.ignore_patterns(
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "site-packages",
    "dist-packages",
    "config-*",
    "_tkinter*",
)
# Opened by name at run time, so no program's list of libraries has them.
OPENED_BY_NAME = ("libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
UID = 65532


def interpreter() -> Path:
    """The Python interpreter with its standard library, compiled, below /usr/local, and what a small system has beside it."""
    python = toolchain.python()
    key = hash_of([python, *_dynamic_modules()], extra=sysconfig.get_python_version())
    return _kept("python", key, lambda layer: _write_interpreter(layer, python))


def dependencies() -> Path:
    """What requirements.lock names, below /app/site. Each file is checked against the lock's hashes."""
    lock = TREE / "requirements.lock"
    return _kept("site", hash_of([lock, toolchain.python()]), _write_dependencies)


def package() -> Path:
    """The package laneway, compiled, below /app."""
    return _kept("laneway", package_key(), _write_package)


def package_key() -> str:
    """What the package layer depends on, as a hash."""
    source = TREE / "operator" / "laneway"
    files = sorted(file for file in source.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return hash_of(files, extra=" ".join(str(file.relative_to(source)) for file in files))


def program(name: str, source: Path, target: str) -> Path:
    """One program at a path, without the libraries that it may need."""
    return _kept(name, hash_of([source]), lambda layer: layer.file(source, target))


def shell() -> Path:
    """A shell and the usual commands, of one static program."""
    busybox = Path(shutil.which("busybox") or "/usr/bin/busybox")

    def write(layer: Layer) -> None:
        layer.file(busybox, "/bin/busybox")
        for name in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
            if name != "busybox":
                layer.link(f"/bin/{name}", "busybox")

    return _kept("shell", hash_of([busybox]), write)


def tree_with_libraries(name: str, key: str, source: Path, programs: Iterable[Path]) -> Path:
    """A folder as the image's root, with the shared libraries that its programs need."""

    def write(layer: Layer) -> None:
        _add_system(layer)
        layer.tree(source, "/")
        _add_libraries(layer, programs)

    return _kept(name, key, write)


def trees(name: str, key: str, places: Mapping[str, Path], *, links: Mapping[str, str] | None = None) -> Path:
    """Folders at the paths that they are given under, and symbolic links by their paths."""

    def write(layer: Layer) -> None:
        for target, source in places.items():
            layer.tree(source, target)
        for target, to in (links or {}).items():
            layer.link(target, to)

    return _kept(name, key, write)


def libraries(name: str, key: str, programs: Iterable[Path], *, below: Path) -> Path:
    """The shared libraries that programs need which are themselves not in the image, but in the folder `below`."""
    return _kept(name, key, lambda layer: _add_libraries(layer, programs, below=str(below)))


def hash_of(files: Iterable[Path], *, extra: str = "") -> str:
    """One hash of the content of these files."""
    digest = hashlib.sha256(f"{FORMAT} {extra}".encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _kept(name: str, key: str, write: Callable[[Layer], None]) -> Path:
    """The layer's file, written when there is none for this key; older ones of the same name go."""
    file = LAYERS / f"{name}-{FORMAT}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.tar"
    if file.exists():
        return file
    LAYERS.mkdir(parents=True, exist_ok=True)
    for old in LAYERS.glob(f"{name}-*"):
        old.unlink()
    part = file.with_suffix(".part")
    layer = Layer(part)
    write(layer)
    layer.close()
    part.rename(file)
    return file


def _write_interpreter(layer: Layer, python: Path) -> None:
    version = f"python{sysconfig.get_python_version()}"
    _add_system(layer)
    layer.file(python, f"/usr/local/bin/{version}")
    for name in ("python3", "python"):
        layer.link(f"/usr/local/bin/{name}", version)
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        for library in sorted({sysconfig.get_path("stdlib"), str(_platform_library())}):
            shutil.copytree(library, f"{folder}/{version}", symlinks=True, ignore=NOT_NEEDED, dirs_exist_ok=True)
        _compile(Path(folder), "/usr/local/lib")
        layer.tree(Path(folder, version), f"/usr/local/lib/{version}")
    _add_libraries(layer, [python, *_dynamic_modules()])


def _write_dependencies(layer: Layer) -> None:
    environment = SOURCE / f"pip-{sysconfig.get_python_version()}"  # wheels are chosen for this interpreter
    step = "installing the image's Python packages"
    toolchain.pip_install(step, environment, ["pip"])
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        options = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile", "--target", folder]
        toolchain.pip(
            step,
            environment / "bin" / "python",
            ["install", *options, "-r", str(TREE / "requirements.lock")],
            LOGS / "image-pip.log",
        )
        shutil.rmtree(Path(folder, "bin"), ignore_errors=True)  # their first line names this machine's interpreter
        for record in Path(folder).glob("*.dist-info/RECORD"):  # so do the hashes in these
            record.unlink()
        _compile(Path(folder), "/app/site")
        layer.tree(Path(folder), "/app/site")
        _add_libraries(layer, sorted(Path(folder).rglob("*.so")), below=folder)


def _write_package(layer: Layer) -> None:
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        shutil.copytree(
            TREE / "operator" / "laneway", Path(folder, "laneway"), ignore=shutil.ignore_patterns("__pycache__")
        )
        _compile(Path(folder), "/app")
        layer.tree(Path(folder, "laneway"), "/app/laneway")


def _add_system(layer: Layer) -> None:
    """Names for the user ids, name resolution, certificates and a folder for temporary files."""
    layer.text("/etc/passwd", f"root:x:0:0:root:/:/bin/sh\nlaneway:x:{UID}:{UID}:laneway:/tmp:/bin/sh\n")
    layer.text("/etc/group", f"root:x:0:\nlaneway:x:{UID}:\n")
    layer.text("/etc/nsswitch.conf", "hosts: files dns\n")
    layer.folder("/tmp", 0o1777)
    if Path(CERTIFICATES).exists():
        layer.file(Path(os.path.realpath(CERTIFICATES)), CERTIFICATES)


def _add_libraries(layer: Layer, programs: Iterable[Path], *, below: str | None = None) -> None:
    """Adds the shared libraries that the programs name, and those they open by name; `below` holds libraries that come with them."""
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    needed = set(re.findall(r"(/\S+\.so\S*) \(0x", said))
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    for name in OPENED_BY_NAME:
        if found := re.search(rf"^\s*{re.escape(name)} \(.*=> (\S+)$", known, re.MULTILINE):
            needed.add(found[1])
    for path in sorted(needed):
        if below is None or not path.startswith(below):
            layer.file(Path(os.path.realpath(path)), path)


def _platform_library() -> Path:
    """The part of the standard library that was compiled, of the interpreter itself: in a virtual environment the path names another place."""
    return Path(sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix}))


def _dynamic_modules() -> list[Path]:
    folder = _platform_library() / "lib-dynload"
    return sorted(file for file in folder.glob("*.so") if "tkinter" not in file.name)


def _compile(folder: Path, target: str) -> None:
    """Compiles every module, unchecked, since the time of every file in an image is 0; a read-only pod cannot do it later."""
    command = [
        "-m",
        "compileall",
        "-q",
        "-j0",
        "--invalidation-mode",
        "unchecked-hash",
        "-s",
        str(folder),
        "-p",
        target,
        str(folder),
    ]
    environment = os.environ | {"PYTHONHASHSEED": "0"}  # the order of a frozen set in compiled code depends on it
    done = subprocess.run(
        [str(toolchain.python()), *command], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode != 0:
        raise StepError(
            "compiling Python modules for the image",
            done.stdout.replace(str(folder), "operator").strip()[-300:],
            "correct it",
        )


def _scratch() -> Path:
    SOURCE.mkdir(parents=True, exist_ok=True)
    return SOURCE
