"""The local cluster's provider of volumes: a folder of the machine for each claim of its storage class.

Runs beside the control plane, as a process of its own: volumes.py FOLDER SERVER PKI. A claim that the scheduler has given a node gets a
folder and a PersistentVolume of type `local`, which honours fsGroup and ReadWriteOncePod; a volume whose claim is gone is removed.
"""

import json
import shutil
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROVISIONER = "local.laneway.dev/folder"
BY = "pv.kubernetes.io/provisioned-by"
STORAGE = "volume.kubernetes.io/storage-provisioner"
SELECTED = "volume.kubernetes.io/selected-node"


class Server:
    """The few calls to the API server that are needed."""

    def __init__(self, url: str, pki: Path) -> None:
        self._url = url
        self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._context.load_cert_chain(pki / "volumes.crt", pki / "volumes.key")

    def watch(self, resource: str) -> Iterator[dict[str, Any]]:
        """Every object there is, then every change, until the server ends the watch."""
        with self._open(f"/api/v1/{resource}?watch=true&timeoutSeconds=300", timeout=330) as answer:
            for line in answer:
                event = json.loads(line)
                if event["type"] in {"ADDED", "MODIFIED"}:
                    yield event["object"]

    def create(self, resource: str, body: dict[str, Any]) -> None:
        """Creates an object; that it exists is fine."""
        self._change("POST", resource, body, allowed=409)

    def delete(self, resource: str, name: str) -> None:
        """Deletes an object; that it is gone is fine."""
        self._change("DELETE", f"{resource}/{name}", None, allowed=404)

    def _change(self, method: str, path: str, body: dict[str, Any] | None, *, allowed: int) -> None:
        try:
            with self._open(f"/api/v1/{path}", method=method, body=body, timeout=10):
                return
        except urllib.error.HTTPError as error:
            if error.code != allowed:
                raise

    def _open(self, path: str, *, timeout: float, method: str = "GET", body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._url + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        return urllib.request.urlopen(request, timeout=timeout, context=self._context)


def volume_for(claim: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """The volume that a claim waits for, or None when it waits for none of ours."""
    meta, spec = claim["metadata"], claim["spec"]
    notes = meta.get("annotations", {})
    node = notes.get(SELECTED)
    if notes.get(STORAGE) != PROVISIONER or not node or spec.get("volumeName") or meta.get("deletionTimestamp"):
        return None
    name = f"pvc-{meta['uid']}"
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "storageClassName": spec["storageClassName"],
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
            "local": {"path": str(folder / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def provide(server: Server, claim: dict[str, Any], folder: Path) -> None:
    """Makes the folder and the volume for a claim."""
    if volume := volume_for(claim, folder):
        path = Path(volume["spec"]["local"]["path"])
        path.mkdir(mode=0o770, exist_ok=True)
        server.create("persistentvolumes", volume)
        print(f"provided {path.name} for {claim['metadata']['namespace']}/{claim['metadata']['name']}", flush=True)


def reclaim(server: Server, volume: dict[str, Any], folder: Path) -> None:
    """Removes a volume of ours, and its data, after its claim is gone."""
    ours = volume["metadata"].get("annotations", {}).get(BY) == PROVISIONER
    released = volume.get("status", {}).get("phase") in {
        "Released",
        "Failed",
    }  # Failed: nothing in the cluster can delete a folder
    if ours and released and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
        name = volume["metadata"]["name"]
        shutil.rmtree(folder / name, ignore_errors=True)
        server.delete("persistentvolumes", name)
        print(f"removed {name}", flush=True)


def serve(server: Server, folder: Path, resource: str) -> None:
    """Follows one kind of object for ever; what went wrong comes again with the next watch, which starts with every object."""
    act = {"persistentvolumeclaims": provide, "persistentvolumes": reclaim}[resource]
    while True:
        try:
            for item in server.watch(resource):
                act(server, item, folder)
        except (OSError, urllib.error.URLError, json.JSONDecodeError) as error:
            print(f"{resource}: {error}; watching again", flush=True)
            time.sleep(0.5)


def main() -> None:
    """Serves claims in one thread and volumes in another."""
    folder, server = Path(sys.argv[1]), Server(sys.argv[2], Path(sys.argv[3]))
    threading.Thread(target=serve, args=(server, folder, "persistentvolumes"), daemon=True).start()
    serve(server, folder, "persistentvolumeclaims")


if __name__ == "__main__":
    main()
