"""How the single file of kubectl laneway begins: it unpacks itself once into the cache of its user, and goes on from there.

Python can import its own code from a zip, but compiles it each time, and cannot load what is compiled for the machine from one at all.
"""

import atexit
import json
import os
import shutil
import sys
import sysconfig
import tempfile
import zipfile

_OLDEST = (3, 11)
_PURE = ("AIOHTTP", "FROZENLIST", "MULTIDICT", "PROPCACHE", "YARL")
"""Packages that are asked to go without their C parts, which are not here."""


def begin():
    if sys.version_info < _OLDEST:
        sys.exit(f"kubectl laneway: needs Python 3.11 or later as python3, and this is {sys.version.split()[0]}")
    os.environ.update({f"{name}_NO_EXTENSIONS": "1" for name in _PURE})
    sys.path.insert(0, _unpacked())
    from laneway.cli.main import main

    sys.exit(main())


def _unpacked():
    """The folder with what was unpacked by this build for this Python."""
    with zipfile.ZipFile(sys.path[0]) as archive:
        build = json.loads(archive.read("build.json"))["build"]
        tag = f"{build}-{sysconfig.get_config_var('SOABI')}"
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        folder = os.path.join(home, "kubectl-laneway", tag)
        if os.path.isdir(folder):
            return folder
        try:
            os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
            part = tempfile.mkdtemp(dir=os.path.dirname(folder))
        except OSError:  # a home that cannot be written: unpacked anew each time
            part = tempfile.mkdtemp(prefix="kubectl-laneway-")
            atexit.register(shutil.rmtree, part, ignore_errors=True)
            _unpack(archive, part)
            return part
        _unpack(archive, part)
        try:
            os.rename(part, folder)
        except OSError:  # somebody else was faster
            shutil.rmtree(part, ignore_errors=True)
        return folder


def _unpack(archive, folder):
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    compiled = [name for name in archive.namelist() if name.endswith(".so")]
    if not any(name.endswith(suffix) for name in compiled):
        shutil.rmtree(folder, ignore_errors=True)
        known = ", ".join(sorted(name.rpartition("/")[2].partition(".")[2] for name in compiled))
        sys.exit(f"kubectl laneway: this file is for other Pythons ({known}); this one is {suffix}")
    for name in archive.namelist():
        if not name.startswith("lib/") or (name in compiled and not name.endswith(suffix)):
            continue
        path = os.path.join(folder, *name.split("/")[1:])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(archive.read(name))


begin()
