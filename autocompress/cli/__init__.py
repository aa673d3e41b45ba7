"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from ..errors import AutoCompressError, UsageError
from .options import find_study, study_path, with_options
from .sensitivity import sensitivity
from .show import print_front, print_outcome

if TYPE_CHECKING:
    from ..search.run import Stop
    from ..studies.study_file import StudyFile


class Commands(click.Group):
    """Shows what a user did wrong in one line (exit code 2), and anything else with a traceback (exit code 1)."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.exceptions.Exit as leave:
            sys.exit(leave.exit_code)
        except click.ClickException as error:
            fail(error.format_message())
        except AutoCompressError as error:
            fail(str(error))
        except (click.Abort, KeyboardInterrupt):
            fail("interrupted; what was measured is kept, run the same command again to go on", code=130)
        except BrokenPipeError:
            sys.exit(0)
        except Exception as error:
            import errno

            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                fail(f"the disk is full ({error.filename or 'while writing'}); free some space and run it again")
            traceback.print_exc()
            sys.exit(1)


def fail(message: str, code: int = 2) -> None:
    """One line on standard error, then exit."""
    click.echo(f"autocompress: {' '.join(message.split())}", err=True)
    sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="autocompress")
def main() -> None:
    """Search compressed versions of a trained PyTorch network that meet a latency budget on this machine."""


@main.command()
@click.argument("study", required=False)
@click.option("--budget-ms", type=float, help="Latency that models must meet, in milliseconds.")
@click.option("--percentile", type=click.Choice(["50", "90", "95", "99"]), help="Of latency, held against the budget.")
@click.option("--max-mb", type=float, help="Largest model file, in megabytes; makes file size count in the search.")
@click.option("--task", "task_spec", help="Your own task: my_task.py, my_task.py:function or module:function.")
@click.option("--trials", type=int, help="Stop after this many trials of this run.")
@click.option("--minutes", type=float, help="Stop after this many minutes of searching.")
@click.option("--hours", type=float, help="The same in hours.")
@click.option("--patience", type=float, help="Stop when the front has not moved for this many minutes.")
@click.option("--workers", type=int, help="Trials at a time.")
@click.option("--executor", help="Where trials run: local, processes or ray.")
@click.option("--seed", type=int, help="Of the search.")
@click.option("--target", "targets", multiple=True, help="RUNTIME or RUNTIME@DEVICE to ship to; repeatable.")
@click.option("--any-of", is_flag=True, help="Each model is for the best of the targets, not for all of them.")
@click.option("--threads", type=int, help="Threads of the runtime on the target.")
@click.option("--batch", type=int, help="Images per inference on the target.")
@click.option("--precision", help="Of ratios to the teacher's latency: half of the 95 % interval, such as 2%.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), help="Where studies are kept.")
@click.option("--fresh", is_flag=True, help="Start anew in a new folder instead of resuming.")
@click.option("--quiet", is_flag=True, help="Plain lines instead of a live display.")
def search(study: str | None, **options: Any) -> None:
    """Search a STUDY: a .toml file or a bundled study.

    Without one, ./autocompress.toml if it exists, else the bundled study `digits`. The same command resumes a study
    that was stopped. Ctrl-C ends a search cleanly.
    """
    from ..search.run import Stop, run_search

    settings = with_options(find_study(study, options["task_spec"]), options)
    progress = make_progress(settings, options["quiet"])
    stop = Stop()
    restore = listen_to_ctrl_c(stop)
    try:
        outcome = run_search(settings, None, options["runs"], options["fresh"], progress, stop)
    finally:
        restore()
        progress.close()
    print_front(outcome.front)
    print_outcome(outcome)


@main.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--csv", "form", flag_value="csv", help="All trials as CSV, every decision a column.")
@click.option("--json", "form", flag_value="json", help="All trials as JSON, one object a trial.")
@click.option("--parquet", type=click.Path(path_type=Path), help="Write all trials to this Parquet file.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write a picture of the front (.svg or .png).")
def front(study: Path, form: str | None, parquet: Path | None, plot: Path | None) -> None:
    """Print the front of STUDY, a study's folder or its name."""
    from ..search.store.study import read_front

    found = read_front(study_path(study))
    if parquet is not None:
        found.to_pandas().to_parquet(parquet)
    if plot is not None:
        from ..search.report.plot import plot as draw

        draw(found, plot)
    if form == "csv":
        click.echo(found.to_pandas().to_csv(index=False), nl=False)
    elif form == "json":
        click.echo(found.to_pandas().to_json(orient="records", indent=1))
    elif parquet is None and plot is None:
        print_front(found)


@main.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--budget-ms", type=float, help="Latency the model must meet; the study's own budget if not given.")
@click.option("--min-accuracy", type=float, help="Accuracy the model must have on the validation split.")
@click.option("--max-mb", type=float, help="Largest file, in megabytes.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to copy the model to.")
def pick(study: Path, budget_ms: float | None, min_accuracy: float | None, max_mb: float | None, out: Path) -> None:
    """Copy the most accurate model of STUDY under the constraints, with its card."""
    from ..search.store.study import read_front

    for name, value in (("budget-ms", budget_ms), ("max-mb", max_mb)):
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{name} {value:g}; allowed: a number above 0")
    found = read_front(study_path(study))
    picked = found.pick(
        found.budget_ms if budget_ms is None else budget_ms,
        found.min_accuracy if min_accuracy is None else min_accuracy,
        found.max_mb if max_mb is None else max_mb,
    )
    path = picked.save(out)
    latency = picked.entry.latency
    click.echo(
        f"{path}: trial {picked.entry.trial.number}, accuracy {picked.entry.accuracy:.4f}, p50 {latency.p50_ms:.3f} ms "
        f"({latency.low_ms:.3f} to {latency.high_ms:.3f}); its card is {path.with_name('card.md')}"
    )


@main.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--trial", type=int, required=True, help="Number of a finished trial.")
@click.option("--to", required=True, help="Runtimes, such as openvino,litert,tensorrt@cuda.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("export"), show_default=True)
@click.option("--task", "task_spec", help="The study's task, where it was searched from Python.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export(study: Path, trial: int, to: str, out: Path, task_spec: str | None, as_json: bool) -> None:
    """Build one trial of STUDY for other runtimes, each file checked against the student it was built from."""
    import json

    from ..search.export import export as build
    from .export_table import print_exported

    names = list(dict.fromkeys(name.strip() for name in to.split(",") if name.strip()))
    task = None
    if task_spec is not None:
        from ..studies.task import load_task

        task = load_task(task_spec)
    found = build(study_path(study), trial, names, out, task, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(json.loads((out / "export.json").read_text()), indent=1))
    else:
        print_exported(found)
    missing = [entry for entry in found if entry.path is None]
    if missing:
        fail("; ".join(f"{entry.target}: {entry.reason}" for entry in missing))


@main.command()
@click.argument("study", required=False)
@click.option("--task", "task_spec", help="Your own task: my_task.py, my_task.py:function or module:function.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def space(study: str | None, task_spec: str | None, as_json: bool) -> None:
    """Show every layer and group of STUDY, the choices it has, and what was left out and why."""
    import json

    from ..search.store.files import read_json
    from .space_table import print_space

    folder = Path(study or "")
    known = next((p for p in (folder, Path("runs") / folder) if study and (p / "space.json").exists()), None)
    if known is not None and task_spec is None:
        described = read_json(known / "space.json")
    else:
        from ..search.store.study import describe_without_measuring

        described = describe_without_measuring(find_study(study, task_spec))
    if as_json:
        click.echo(json.dumps(described, indent=1))
    else:
        print_space(described)


@main.command()
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
    as_json: bool,
) -> None:
    """Measure model files, side by side when there are several, also files of different runtimes.

    The runtime is chosen by the file's suffix: .onnx onnxruntime, .pt2 pytorch, others as `autocompress runtimes`
    lists them; write openvino:model.onnx, or --runtime, for another one. With --precision, processes are added, up
    to 7, for 120 seconds unless --max-seconds says otherwise.
    """
    import json

    from ..evaluators.bench import bench as measure
    from ..evaluators.bench import comparison_lines, conditions_line, parse_precision, shortfall, timed_files

    wanted = None if precision is None else parse_precision(precision)
    files = timed_files(models, runtimes, device, threads, batch)
    limit = max_seconds or (None if wanted is None else 120.0)
    latencies = measure(files, wanted, processes, limit_seconds=limit)
    if as_json:
        rows = [
            {"file": str(f.path), **vars(f.target), "throughput_per_s": x.throughput_per_s, **x.to_dict()}
            for f, x in zip(files, latencies, strict=True)
        ]
        click.echo(json.dumps(rows))
    else:
        for line in comparison_lines(files, latencies):
            click.echo(line)
        click.echo(conditions_line(latencies))
    if wanted is not None and (words := shortfall(latencies, wanted)):
        click.echo(words, err=True)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runtimes(as_json: bool) -> None:
    """List the runtimes a model may ship to: whether each can be used here and why not, and what it can use."""
    import json

    from .runtime_table import describe_runtimes, print_runtimes

    described = describe_runtimes()
    if as_json:
        click.echo(json.dumps(described, indent=1))
    else:
        print_runtimes(described)


main.add_command(sensitivity)


def make_progress(settings: StudyFile, quiet: bool) -> Any:
    """Live in a terminal, plain lines elsewhere or if quiet."""
    from . import progress

    kind = progress.LiveProgress if sys.stdout.isatty() and not quiet else progress.PlainProgress
    return kind(settings.budgets(), settings.budget.percentile)


def listen_to_ctrl_c(stop: Stop) -> Any:
    """Ctrl-C once asks the search to end; twice ends it at once. Returns what restores the old behaviour."""

    def asked(_number: int, _frame: Any) -> None:
        if stop.asked.is_set():
            raise KeyboardInterrupt
        click.echo("\nending after this step (Ctrl-C again ends at once); finished trials are kept", err=True)
        stop.asked.set()

    old = signal.signal(signal.SIGINT, asked)
    return lambda: signal.signal(signal.SIGINT, old)
