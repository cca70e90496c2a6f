"""cuda_stubs.py SITE_PACKAGES/torch/lib FOLDER: stand-ins of 284 KB for the 2.7 GB of CUDA libraries that the torch package links to.

The package index has only the CUDA build of this torch. It loads on a machine without a GPU when every library that it names is
there and has every symbol; each function here answers 100, cudaErrorNoDevice, and none is called.
"""

import collections
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SYSTEM = re.compile(r"^(lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|gomp.*|util)\.so|ld-linux)")
CUDA = re.compile(
    r"^(nccl|pnccl|cuda|cublas|cudnn|cufft|curand|cusparse|cusolver|nvrtc|cuFile|cupti|nvshmem|nvshmemx|cu[A-Z]|nvml|nvtx|__cuda)"
)
UNDEFINED, SYMBOL_FIELDS = "UND", 8


class Symbols:
    """What the libraries of a folder need from libraries that are not there."""

    def __init__(self, folder: Path) -> None:
        self.libraries: set[str] = set()
        self.versioned: dict[str, dict[str, set[str]]] = collections.defaultdict(lambda: collections.defaultdict(set))
        self._plain: set[str] = set()
        self._defined: set[str] = set()
        own = {file.name for file in folder.iterdir() if re.search(r"\.so(\.|$)", file.name)}
        for name in sorted(own):
            self._read(folder / name, own)

    @property
    def plain(self) -> set[str]:
        """CUDA symbols without a version, which any one of the libraries may define."""
        return {name for name in self._plain - self._defined if CUDA.match(name)}

    def _read(self, file: Path, own: set[str]) -> None:
        for needed in re.findall(r"NEEDED.*\[(.*)\]", _readelf("-d", file)):
            if not SYSTEM.match(needed) and needed not in own:
                self.libraries.add(needed)
        origin = _origins(file)
        for line in _readelf("--dyn-syms", file).splitlines():
            fields = line.split()
            if len(fields) >= SYMBOL_FIELDS and fields[0].endswith(":"):
                self._count(fields, origin)

    def _count(self, fields: list[str], origin: dict[str, str]) -> None:
        name, _, version = fields[7].replace("@@", "@").partition("@")
        if fields[6] != UNDEFINED:
            self._defined.add(name)
        elif fields[4] != "WEAK" and not version:
            self._plain.add(name)
        elif fields[4] != "WEAK" and (library := origin.get(version)) and not SYSTEM.match(library):
            self.versioned[library][version].add(name)


def write(symbols: Symbols, folder: Path) -> None:
    """Compiles one stand-in for each library."""
    folder.mkdir(parents=True, exist_ok=True)
    for library in sorted(symbols.libraries | set(symbols.versioned)):
        versions = symbols.versioned.get(library, {})
        names = {name for found in versions.values() for name in found} | (
            symbols.plain if "nccl" in library else set()
        )
        with tempfile.TemporaryDirectory() as scratch:
            source, script = Path(scratch, "stub.S"), Path(scratch, "stub.map")
            code = [f".globl {name}\n.type {name},@function\n{name}: mov $100,%eax\nret" for name in sorted(names)]
            source.write_text("\n".join([".text", *code, '.section .note.GNU-stack,"",@progbits', ""]))
            script.write_text(
                "".join(f"{v} {{ global: {' '.join(f'{n};' for n in sorted(ns))} }};\n" for v, ns in versions.items())
            )
            options = [f"-Wl,--version-script={script}"] if versions else []
            subprocess.run(
                [
                    "gcc",
                    "-shared",
                    "-nostdlib",
                    "-o",
                    str(folder / library),
                    f"-Wl,-soname,{library}",
                    *options,
                    str(source),
                ],
                check=True,
            )


def _origins(file: Path) -> dict[str, str]:
    """Which library each symbol version comes from."""
    found, library = {}, ""
    for line in _readelf("-V", file).splitlines():
        if named := re.search(r"File: (\S+)", line):
            library = named[1]
        if (version := re.search(r"Name: (\S+) .*Flags", line)) and library:
            found[version[1]] = library
    return found


def _readelf(option: str, file: Path) -> str:
    return subprocess.run(["readelf", "-W", option, str(file)], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    write(Symbols(Path(sys.argv[1])), Path(sys.argv[2]))
