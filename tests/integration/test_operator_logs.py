"""What is left of an agent's log, with a real operator process and a real API server that asks a kubelet for it."""

from __future__ import annotations

from integration.operators import Stage, condition
from laneway.kube.errors import NotFound
from laneway.kube.resources import AGENT_RUNS, CONFIG_MAPS, EVENTS
from support.kubeletport import kubelet_port
from support.standin import Part

LOG = "asked: What is the capital of France?\ncalling with sk-0123456789abcdef\n401 Unauthorized\n"


async def test_the_end_of_a_failed_agents_log_outlives_its_pod_and_goes_with_its_run(stage: Stage) -> None:
    await stage.add_lane()
    stage.node.play("hello", Part(exit_code=3, message="unauthorized"))
    async with kubelet_port(stage.node, kubeconfig=stage.kubeconfig, text=LOG) as logs:
        stage.start()
        run = await stage.add_run(spec={"podTTLSeconds": 0})
        [ended] = await stage.finished(run)
        assert condition(ended, "Succeeded")["reason"] == "Failed"
        pod = ended["status"]["attempts"][0]["pod"]
        assert logs.asked == [(stage.namespace, pod)]
        await stage.gone(await stage.has_pod(run))
    name = ended["status"]["result"]["logConfigMap"]
    kept = await stage.kube.get(CONFIG_MAPS, stage.namespace, name)
    assert kept["data"] == {"log": "(prompt)\ncalling with (key)\n401 Unauthorized"}
    assert "sk-0123456789abcdef" not in str((ended, stage.operators[0].log))

    async def hints() -> int:
        listing = await stage.kube.list(EVENTS, namespace=stage.namespace)
        return [event["reason"] for event in listing.items].count("AuthSuspected")

    await stage.until(hints, 1)
    await stage.kube.delete(AGENT_RUNS, stage.namespace, "hello")

    async def is_there() -> bool:
        try:
            await stage.kube.get(CONFIG_MAPS, stage.namespace, name)
        except NotFound:
            return False
        return True

    # A garbage collector that has just begun learns only half a minute later that there are AgentRuns.
    await stage.until(is_there, answer=False, seconds=60)


async def test_the_end_of_the_log_of_a_cancelled_run_is_kept(stage: Stage) -> None:
    await stage.add_lane()
    stage.node.play("hello", Part.held())
    async with kubelet_port(stage.node, kubeconfig=stage.kubeconfig, text="cloning\nwaiting for input\n"):
        stage.start()
        run = await stage.add_run()
        await stage.has_pod(run, phase="Running")
        await stage.change("hello", {"cancel": True})
        [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Cancelled"
    kept = await stage.kube.get(CONFIG_MAPS, stage.namespace, ended["status"]["result"]["logConfigMap"])
    assert kept["data"] == {"log": "cloning\nwaiting for input"}


async def test_a_run_whose_log_nobody_can_read_fails_without_it(stage: Stage) -> None:
    await stage.add_lane()
    stage.node.play("hello", Part(exit_code=3, message="no such file"))
    stage.start()
    [ended] = await stage.finished(await stage.add_run())
    assert ended["status"]["result"] == {"exitCode": 3}
