"""The demo: everything from a fresh machine to the answer of one agent run. The end-to-end tests install by the same steps."""

from collections.abc import Callable
from dataclasses import dataclass

from local import cluster, commands, images, release
from local.console import Steps, say
from local.paths import CACHE, LOGS, TREE
from local.runs import Example, show_table

QUICKSTART = Example("quickstart", "hello")
VLLM = Example("vllm", "hello-vllm")


@dataclass(frozen=True)
class Step:
    """One step: its name for --until, what it says while it lasts, what it says when done, and what it does."""

    name: str
    doing: str
    done: str
    act: Callable[[], None]


def steps(*, with_vllm: bool) -> list[Step]:
    """The demo's steps up to the finished run, in order."""
    examples = _examples(with_vllm=with_vllm)
    runs, folders = (
        ", ".join(f"agentrun/{each.run}" for each in examples),
        ", ".join(f"examples/{each.folder}" for each in examples),
    )
    models = "Ollama and vLLM" if with_vllm else "Ollama"
    return [
        Step("python", "python dependencies", "python dependencies ready", _make_environment),
        Step("cluster", "starting the cluster", "cluster up", _start_cluster),
        Step("image", "building the image", "image built and loaded", _load_image),
        Step(
            "model",
            "starting the model server",
            f"model server ready: {models} with SmolLM2-135M",
            lambda: _start_models(with_vllm=with_vllm),
        ),
        Step("install", "installing with Helm", f"laneway installed with Helm in {release.NAMESPACE}", release.install),
        Step("apply", f"applying {folders}", f"{folders} applied", lambda: _apply(examples)),
        Step("run", f"waiting for {runs}", f"{runs} finished", lambda: _wait(examples)),
    ]


def show(*, until: str, with_vllm: bool) -> None:
    """Carries the steps out up to and with `until`; after the last, shows the runs."""
    plan = steps(with_vllm=with_vllm)
    shown = Steps(len(plan))
    for step in plan:
        with shown.step(step.doing, step.done):
            step.act()
        if step.name == until:
            break
    if until != plan[-1].name:
        return
    show_table()
    for example in _examples(with_vllm=with_vllm):
        example.show()
    _say_what_next()


def remove() -> None:
    """Removes the release and the cluster, and checks that nothing is left."""
    if cluster.healthy():
        release.uninstall()
        say(f"release {release.NAME} removed")
    cluster.down()
    say(
        f"what was built and downloaded stays in {CACHE}: the next demo takes seconds; delete that folder to be rid of it too"
    )


def _examples(*, with_vllm: bool) -> list[Example]:
    return [QUICKSTART, VLLM] if with_vllm else [QUICKSTART]


def _make_environment() -> None:
    commands.run("python dependencies", ["make", "-s", "-C", str(TREE), ".venv/bin/.ready"], log=LOGS / "make.log")


def _start_cluster() -> None:
    cluster.up()
    cluster.need_clients()
    release.restrict()


def _load_image() -> None:
    cluster.need_image(images.need_laneway())


def _start_models(*, with_vllm: bool) -> None:
    release.start_ollama()
    if with_vllm:
        release.start_vllm()


def _apply(examples: list[Example]) -> None:
    for example in examples:
        if example.apply():
            say(
                f"  agentrun/{example.run} had finished before and is not run again; to do that: kubectl delete agentrun {example.run}"
            )


def _wait(examples: list[Example]) -> None:
    for example in examples:
        example.wait()


def _say_what_next() -> None:
    say('\ntry next, after  eval "$(hack/cluster env)"')
    say(f"  kubectl describe agentrun {QUICKSTART.run}")
    say(f"  kubectl delete agentrun {QUICKSTART.run} && kubectl apply -f examples/quickstart/   # run it again")
    say(f"  kubectl -n {release.NAMESPACE} logs deployment/laneway-gateway")
    say("\nremove everything:  make demo-down")
