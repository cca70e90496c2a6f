"""A conflict on a deletion: either the name is another object's, or it has to be tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash.kinds import CONFLICT, Refused
from integration.conftest import Cluster
from laneway.kube.client import Kube
from laneway.kube.errors import Conflict
from laneway.kube.resources import CONFIG_MAPS, uid_of
from support.faultproxy import fault_proxy


async def test_a_conflict_is_no_deletion_of_an_object_that_is_still_there(
    cluster: Cluster, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    uid = uid_of(await kube.create(CONFIG_MAPS, namespace, {"metadata": {"name": "kept"}}))
    async with fault_proxy(cluster.kubeconfig, tmp_path, log_of=str) as (proxy, proxied):
        proxy.faults = Refused({1}, CONFLICT)
        client = await Kube.connect(kubeconfig=proxied)
        with pytest.raises(Conflict):
            await client.delete(CONFIG_MAPS, namespace, "kept", uid=uid)
        assert not await client.delete(CONFIG_MAPS, namespace, "kept", uid="of another")
        assert await client.delete(CONFIG_MAPS, namespace, "kept", uid=uid)
        await client.close()
