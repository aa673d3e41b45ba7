"""Jobs on a Ray cluster of several nodes, with no folder shared: nodes come, go and die."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autocompress.errors import TimingHostLost
from autocompress.evaluators.timing.host import TimingHost
from autocompress.search.evaluate.context import open_context
from autocompress.search.evaluate.first_machine import check_first_machine
from autocompress.search.evaluate.job import Job, JobResult
from autocompress.search.executors.base import ExecutorContext, JobLost
from autocompress.search.executors.registry import make_executor
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.testing import TimingHostConformance

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.xdist_group("opened_context")]

PATIENCE_S = 240.0


def on_cluster(given: ExecutorContext, address: str, said: list[str], **host: Any) -> ExecutorContext:
    """The same study, whose jobs are done on a cluster."""
    settings = given.settings.changed("search", executor="ray", address=address, cpus_per_job=1)
    settings = settings.changed("recovery", epochs=10.0)  # long enough to die of
    return replace(given, settings=settings, say=said.append, **host)


def until(done: Callable[[], bool], executor: Any) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end_s, "it never came"
        executor.run_pending()
        time.sleep(0.1)


def result(answer: Future[JobResult], executor: Any) -> JobResult:
    until(answer.done, executor)
    return answer.result(0)


def test_a_node_that_dies_loses_its_job_alone_and_a_new_one_is_used(
    opened_context: ExecutorContext, cluster: Any
) -> None:
    said: list[str] = []
    first = cluster.add_node(num_cpus=1)
    executor: Any = make_executor("ray", on_cluster(opened_context, cluster.address, said), 1)
    try:
        until(lambda: any(worker.ready for worker in executor._workers), executor)
        assert executor.slots == 1
        spec = StudentSpec(recovery=Recovery(alpha=0.35))
        assert result(executor.submit(Job(961, spec, "rung", 0)), executor).accuracy is not None
        lost = executor.submit(Job(961, spec, "rung", 1))
        until(lambda: executor.running_s(lost) > 0, executor)
        cluster.remove_node(first, allow_graceful=False)
        until(lost.done, executor)
        with pytest.raises(JobLost, match="is gone"):
            lost.result(0)
        again = executor.submit(Job(961, spec, "rung", 1))
        executor.run_pending()
        assert not again.done(), "it waits for a machine"
        cluster.add_node(num_cpus=2)
        assert result(again, executor).accuracy is not None, "from the checkpoint of the rung before"
        until(lambda: executor.slots == 2, executor)
        built = result(executor.submit(Job(961, spec, "build")), executor)
        assert built.measured and (opened_context.folder / "trials" / "0961" / "model.onnx").is_file()
    finally:
        executor.close()


def test_files_are_timed_where_the_hardware_is_and_a_machine_of_several_that_dies_costs_nothing(
    opened_context: ExecutorContext, cluster: Any, tmp_path: Path
) -> None:
    from autocompress.search.executors.on_ray import RayExecutor
    from autocompress.search.executors.ray_pool import RayTimingPool
    from autocompress.search.executors.ray_timing import RESOURCE, RayTimingHost

    targets = [cluster.add_node(num_cpus=1, resources={RESOURCE: 1}) for _ in range(2)]
    cluster.add_node(num_cpus=1)
    said: list[str] = []
    settings = on_cluster(opened_context, cluster.address, said).settings
    first = RayExecutor.timing_host(settings, said.append)
    assert isinstance(first, RayTimingHost) and any("files are timed on" in line for line in said)
    context = open_context(opened_context.context.task, settings, tmp_path, host=first)
    executor: Any = make_executor(
        "ray", on_cluster(opened_context, cluster.address, said, context=context, folder=tmp_path), 1
    )
    try:
        assert any("on 2 machines that agree" in line for line in said), said
        pool = executor.host
        assert isinstance(pool, RayTimingPool) and pool.first is first
        with pool.chosen() as one, pool.chosen() as second:
            assert one is first and second.node in {n.node_id for n in targets} - {first.node}
        spec = StudentSpec(bits={layer.name: 8 for layer in context.network.layers})
        (latency,) = result(executor.submit(Job(981, spec, "gate")), executor).latencies.values()
        assert latency.conditions["host"] in {first.name, second.name} and latency.p50_ms > 0
        assert executor.slots == 1, "the machines with the hardware train nothing"
        keys = {node.node_id for node in targets}
        assert executor._workers and all(worker.node.key not in keys for worker in executor._workers)
        node = next(n for n in targets if n.node_id == second.node)
        cluster.remove_node(node, allow_graceful=False)
        for number in (982, 983):
            channels = StudentSpec(channels={group.name: number - 980 for group in context.network.groups[:1]})
            assert result(executor.submit(Job(number, channels, "gate")), executor).latencies, "on the other one"
        built = result(executor.submit(Job(984, spec, "build")), executor)
        (file,) = built.measured.values()
        assert file.latency.conditions["host"] == first.name and file.accuracy > 0.5
    finally:
        executor.close()


def test_a_machine_with_the_hardware_that_joins_a_running_search_times_files_too(
    opened_context: ExecutorContext, cluster: Any, tmp_path: Path
) -> None:
    from autocompress.search.executors.on_ray import RayExecutor
    from autocompress.search.executors.ray_timing import RESOURCE

    cluster.add_node(num_cpus=1, resources={RESOURCE: 1})
    cluster.add_node(num_cpus=1)
    said: list[str] = []
    settings = on_cluster(opened_context, cluster.address, said).settings
    first = RayExecutor.timing_host(settings, said.append)
    context = open_context(opened_context.context.task, settings, tmp_path, host=first)
    executor: Any = make_executor(
        "ray", on_cluster(opened_context, cluster.address, said, context=context, folder=tmp_path), 1
    )
    try:
        spec = StudentSpec(bits={layer.name: 8 for layer in context.network.layers})
        assert result(executor.submit(Job(991, spec, "gate")), executor).latencies, "its worker knows the first alone"
        late = cluster.add_node(num_cpus=1, resources={RESOURCE: 1})
        until(lambda: any("on 2 machines that agree" in line for line in said), executor)
        with executor.host.chosen():
            spec = StudentSpec(channels={group.name: 3 for group in context.network.groups[:1]})
            assert result(executor.submit(Job(992, spec, "gate")), executor).latencies, "by the worker of before"
        with executor.host.chosen(), executor.host.chosen() as other:
            assert other.node == late.node_id
    finally:
        executor.close()


@pytest.mark.parametrize("agrees", [True, False])
def test_what_takes_the_place_of_the_machine_that_times_files_is_held_against_it(
    opened_context: ExecutorContext, cluster: Any, tmp_path: Path, agrees: bool
) -> None:
    """Ray starts the service anew on another machine, which another driver of the study's could not know either."""
    from autocompress.search.executors.on_ray import RayExecutor
    from autocompress.search.executors.ray_timing import RESOURCE

    target = cluster.add_node(num_cpus=1, resources={RESOURCE: 1})
    cluster.add_node(num_cpus=1)
    said: list[str] = []
    settings = on_cluster(opened_context, cluster.address, said).settings
    first = RayExecutor.timing_host(settings, said.append)
    context = open_context(opened_context.context.task, settings, tmp_path, host=first)
    check_first_machine(context, said.append)
    (kept,) = tmp_path.rglob("control.json")
    if not agrees:  # as if the first one took twice as long for the control
        known = json.loads(kept.read_text())
        known["measured"]["ratio"] *= 2
        kept.write_text(json.dumps(known))
    executor: Any = make_executor(
        "ray", on_cluster(opened_context, cluster.address, said, context=context, folder=tmp_path), 1
    )
    try:
        until(lambda: any(worker.ready for worker in executor._workers), executor)
        cluster.remove_node(target, allow_graceful=False)
        cluster.add_node(num_cpus=1, resources={RESOURCE: 1})
        spec = StudentSpec(channels={group.name: 5 for group in context.network.groups[:1]})
        answer = executor.submit(Job(996, spec, "gate"))
        if agrees:
            assert result(answer, executor).latencies
            assert any("times files in place of" in line and "agrees with it" in line for line in said), said
        else:
            with pytest.raises(TimingHostLost, match=r"took the place of .* a control takes .* Run the same"):
                result(answer, executor)
            with pytest.raises(TimingHostLost, match="took the place of"):
                first.conditions(context.targets[0])
    finally:
        executor.close()


class TestRayTimingHost(TimingHostConformance):
    """A service of its own on this machine, as on one with the target's hardware."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def joined(cls, ray_head: Any) -> Iterator[None]:
        import ray

        ray_head.wait_for_nodes(60.0)
        ray.init(address=ray_head.address, log_to_driver=False, configure_logging=False)
        try:
            yield
        finally:
            ray.shutdown()

    def make_host(self) -> TimingHost:
        import ray

        from autocompress.search.executors.ray_timing import RayTimingHost, TimingService

        service = ray.remote(TimingService).options(num_cpus=0).remote()
        return RayTimingHost(service, ray.get(service.name.remote()))

    def travelled(self, host: TimingHost) -> TimingHost:
        import ray

        found: TimingHost = ray.get(ray.put(host))
        return found


@pytest.fixture
def another_cluster() -> Iterator[Any]:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    import ray
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


def test_without_an_address_a_cluster_that_runs_here_is_left_alone(another_cluster: Any) -> None:
    """Ray's own default joins it, and it would have no place for jobs.

    It comes last: this process's third cluster leaves the head of the other tests unable to start workers.
    """
    import ray

    from autocompress.search.executors.ray_cluster import join
    from autocompress.studies.schema import SearchSection

    assert not join(SearchSection(executor="ray")), "it is this search's own"
    assert ray.get_runtime_context().gcs_address != another_cluster.address
