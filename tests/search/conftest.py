"""What tests of searching share: an evaluation context over the tiny task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from brief import brief

if TYPE_CHECKING:
    from autocompress import Front
    from autocompress.search.executors.base import ExecutorContext


@pytest.fixture(scope="session")
def opened_context(
    tiny_task: Path, sections: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> ExecutorContext:
    """What executors need, over the tiny task."""
    from autocompress.search.evaluate.context import open_context
    from autocompress.search.executors.base import ExecutorContext
    from autocompress.studies.checkpoint import save_weights
    from autocompress.studies.study_file import StudyFile

    folder = tmp_path_factory.mktemp("context")
    settings = StudyFile().changed("task", **{"from": str(tiny_task)})
    for name, values in sections.items():
        settings = settings.changed(name, **values)
    task = settings.build_task()
    save_weights(task.teacher, folder / "teacher.safetensors")
    with brief():
        return ExecutorContext(open_context(task.prepared(), settings, folder), settings, folder)


@pytest.fixture(scope="session")
def bundle(finished: Front, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the front's best model."""
    return finished.pick().save(tmp_path_factory.mktemp("bundle") / "deploy").parent


@pytest.fixture(scope="module")
def ray_head() -> Iterator[Any]:
    """The head of a Ray cluster, which does no jobs. To start one takes seconds."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        yield found
    finally:
        found.shutdown()


@pytest.fixture
def cluster(ray_head: Any) -> Iterator[Any]:
    """That head alone; nodes are added by each test, and gone after it."""
    import ray

    ray_head.wait_for_nodes(60.0)  # Ray takes machines that were killed for alive for some seconds, and uses them
    try:
        yield ray_head
    finally:
        ray.shutdown()
        for node in list(ray_head.worker_nodes):
            ray_head.remove_node(node)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from browser import browser

    with browser() as driver:
        yield driver
