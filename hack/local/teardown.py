"""Takes a cluster down: ends its processes, removes its traces, and looks whether anything is left.

The state is thrown away, so nothing is asked to stop politely. Only what this state folder made is touched.
"""

import shutil

from local import network, processes
from local.console import StepError
from local.instance import Instance
from local.paths import BIN


def remove(instance: Instance) -> bool:
    """Ends everything of the cluster. False when there was nothing; a failure when something is left."""
    run = instance.run
    if not run.exists() and not processes.running_from(BIN, run) and not network.owned_by(run):
        return False
    folders = network.folders_before(run) if network.was_used(run) else None
    processes.kill(_processes(instance))
    network.unmount_below(run)
    if folders is not None:
        network.remove(run)
    shutil.rmtree(run, ignore_errors=True)
    if left := _left(instance, folders=folders):
        raise StepError(
            f"taking {instance.title} down",
            "something is left:\n    " + "\n    ".join(left),
            "run the same command again; then remove it by hand",
        )
    return True


def _processes(instance: Instance) -> list[int]:
    """All processes to end, those first that would start others again."""
    own = [pid for name in instance.processes.names() if (pid := instance.processes.pid(name))]
    running = processes.running_from(BIN, instance.run)
    shims = [pid for pid in running if "containerd-shim" in processes.arguments(pid)[0]]
    containers = [child for shim in shims for child in processes.children(shim)]
    order = sorted(own, key=lambda pid: "kubelet" not in processes.arguments(pid)[0])
    return list(dict.fromkeys([*order, *containers, *shims, *running]))


def _left(instance: Instance, *, folders: list[str] | None) -> list[str]:
    left = [
        f"process {pid}: {' '.join(processes.arguments(pid))[:120]}"
        for pid in processes.running_from(BIN, instance.run)
    ]
    left += [f"mount {point}" for point in network.mounts_below(instance.run)]
    if folders is not None:
        left += network.traces(instance.run, folders)
    if instance.run.exists():
        left.append(f"folder {instance.run}")
    return left
