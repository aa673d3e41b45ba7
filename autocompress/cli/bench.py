"""The command `bench`."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import click

from ..errors import UsageError


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="[RUNTIME[@DEVICE]:]MODELS...")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--runtime", "runtimes", multiple=True, help="Runtime of the models; several compare them with each other."
)
@click.option("--device", help="Device to run on, such as cuda; by default the CPU where the runtime knows it.")
@click.option("--precision", help="Add processes until the 95 % intervals are as narrow: ± 2% or ± 0.02.")
@click.option(
    "--processes", type=click.IntRange(min=1), default=3, show_default=True, help="Fresh processes to time in."
)
@click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Start no process later than that.")
@click.option("--task", "task_spec", help="Scores the files too: my_task.py, my_task.py:function or module:function.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(
    models: tuple[str, ...],
    threads: int,
    batch: int,
    runtimes: tuple[str, ...],
    device: str | None,
    precision: str | None,
    processes: int,
    max_seconds: float | None,
    task_spec: str | None,
    as_json: bool,
) -> None:
    """Measure model files, side by side when there are several, also files of different runtimes.

    The runtime is chosen by the file's suffix: .onnx onnxruntime, .pt2 pytorch, others as `autocompress runtimes`
    lists them; write openvino:model.onnx, or --runtime, for another one. With --precision, processes are added, up
    to 7, for 120 seconds unless --max-seconds says otherwise. With --task, files run on its inputs, and are scored on
    its validation split.
    """
    import json

    from ..evaluators.bench import bench as measure
    from ..evaluators.bench import conditions_line, labels, parse_precision, shortfall, timed_files
    from ..evaluators.score import file_bytes
    from ..evaluators.shipping import MeasuredFile, which_to_ship
    from ..spaces.plain import to_plain
    from ..studies.metric import ACCURACY
    from ..temporary import temporary_folder
    from .files_table import print_files

    if device is not None and not device.strip():
        raise UsageError("--device is empty; allowed: a device such as cpu or cuda")
    if max_seconds is not None and not isfinite(max_seconds):
        raise UsageError(f"--max-seconds {max_seconds:g}; allowed: a number above 0")
    wanted = None if precision is None else parse_precision(precision)
    files = timed_files(models, runtimes, device, threads, batch)
    limit = max_seconds or (None if wanted is None else 120.0)
    scores: list[float | None] = [None] * len(files)
    sds: list[float | None] = [None] * len(files)
    metric, examples = None, 0
    with temporary_folder() as folder:
        if task_spec is not None:
            from ..search.evaluate.scored_files import score_files
            from ..studies.task import load_task

            scored = score_files(load_task(task_spec), files, Path(folder))
            files, metric, examples = list(scored.files), scored.metric, scored.examples
            scores, sds = list(scored.qualities), list(scored.sds)
        latencies = measure(files, wanted, processes, limit_seconds=limit)
    if as_json:
        rows = [
            {"file": str(f.path), **vars(f.target), "throughput_per_s": x.throughput_per_s, **to_plain(x)}
            | ({} if metric is None or q is None else {metric.key: metric.shown(q)})
            for f, x, q in zip(files, latencies, scores, strict=True)
        ]
        click.echo(json.dumps(rows))
    else:
        sizes = [file_bytes(file.path) for file in files]
        rows_of = zip(labels(files), latencies, sizes, scores, sds, strict=True)
        measured = [MeasuredFile(*row) for row in rows_of]
        print_files(measured, metric, which_to_ship(measured, metric or ACCURACY, examples))
        click.echo(conditions_line(latencies))
    if wanted is not None and (words := shortfall(latencies, wanted)):
        click.echo(words, err=True)
