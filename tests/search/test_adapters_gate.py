"""The gate looks at the file that a student with adapters will have, adapters and all."""

from __future__ import annotations

import pytest
import residual_task

from autocompress.search.evaluate.context import EvaluationContext, open_context
from autocompress.search.evaluate.evaluation import evaluate
from autocompress.search.evaluate.job import Job
from autocompress.search.executors.base import ExecutorContext
from autocompress.spaces.spec import Recovery, StudentSpec


@pytest.fixture(scope="module")
def context(
    briefly: None, opened_context: ExecutorContext, tmp_path_factory: pytest.TempPathFactory
) -> EvaluationContext:
    settings = opened_context.settings.changed("recovery", ways=("full", "adapters"))
    return open_context(residual_task.task().prepared(), settings, tmp_path_factory.mktemp("adapters"))


@pytest.mark.slow
def test_the_gate_of_a_student_with_adapters_is_that_of_its_file(context: EvaluationContext) -> None:
    adapted, plain = (
        evaluate(context, Job(number, StudentSpec(recovery=Recovery(tune=tune)), "gate"))
        for number, tune in enumerate(("adapters", "lora"), 1)
    )
    assert adapted.size_bytes > plain.size_bytes
    again = evaluate(context, Job(3, StudentSpec(recovery=Recovery(tune="adapters", alpha=0.2)), "gate"))
    assert again.latencies == adapted.latencies, "how it is taught is nothing that its file shows"
