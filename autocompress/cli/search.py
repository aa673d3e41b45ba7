"""The command `search`."""

from __future__ import annotations

import sys
from typing import Any

import click
from click.core import ParameterSource

from ..errors import ConditionsChanged, UsageError
from .options import LOG_LEVELS, RUN_CODE, find_study, folder_of, with_options
from .paths import PATH, STUDY
from .show import print_front, print_outcome


@click.command()
@click.argument("study", type=STUDY, required=False)
@click.option("--budget-ms", type=float, help="Latency that models must meet, in milliseconds.")
@click.option("--budget", help="The same with a unit: 5ms, or 50% of the teacher's.")
@click.option("--speedup", type=float, help="How many times faster than the teacher models must be.")
@click.option("--percentile", type=click.Choice(["50", "90", "95", "99"]), help="Of latency, held against the budget.")
@click.option("--max-drop", help="Of the metric below the teacher's that models may have: 1%, 1pt, or a number.")
@click.option("--min-accuracy", type=float, help="Metric that models must have; the most, where lower is better.")
@click.option("--max-mb", type=float, help="Largest model file, in megabytes; makes file size count in the search.")
@click.option("--max-size", help="Largest model file, as a part of the teacher's: 25%.")
@click.option("--task", "task_spec", help="Your own task: my_task.py, my_task.py:function or module:function.")
@click.option("--trials", type=int, help="Stop after this many trials of this run.")
@click.option("--minutes", type=float, help="Be done after this many minutes, preparing and confirming included.")
@click.option("--hours", type=float, help="The same in hours.")
@click.option("--patience", type=float, help="Stop when the front has not moved for this many minutes.")
@click.option("--workers", type=int, help="Trials at a time.")
@click.option("--executor", help="Where trials run: local, processes, ray or an installed one.")
@click.option("--address", help="Of a Ray cluster: auto for the one that this machine has joined, or host:port.")
@click.option("--cpus-per-job", type=int, help="Cores of a job on a Ray cluster.  [default: up to 4]")
@click.option("--gpus-per-job", type=float, help="GPUs of a job on a Ray cluster.  [default: none]")
@click.option("--shared", is_flag=True, default=None, help="Its machines all see --runs by that path.")
@click.option("--storage", help="Database server for the trials: postgresql+psycopg://user@host/database.")
@click.option("--baselines", help="Made by hand to compare with: all, none, default, or techniques: pruning-alone,...")
@click.option("--seed", type=int, help="Of the search.")
@click.option("--target", "targets", multiple=True, help="RUNTIME or RUNTIME@DEVICE to ship to; repeatable.")
@click.option("--any-of", is_flag=True, help="Each model is for the best of the targets, not for all of them.")
@click.option("--threads", type=int, help="Threads of the runtime on the target.")
@click.option("--batch", type=int, help="Images per inference on the target.")
@click.option("--precision", help="Of ratios to the teacher's latency: half of the 95 % interval, such as 2%.")
@click.option("--runs", type=PATH, default="runs", help="Where studies are kept.")
@click.option("--forget-limits", is_flag=True, help="Drop the limits of earlier runs that are not said again.")
@click.option("--remeasure", is_flag=True, help="Calibrate again, and measure finished models anew, before going on.")
@click.option("--dry-run", is_flag=True, help="Prepare, say what a search will take, and stop before the first trial.")
@click.option("--fresh", is_flag=True, help="Start anew in a new folder instead of resuming.")
@RUN_CODE
@click.option("--tensorboard", type=PATH, help="Folder to log each trial into, for TensorBoard.")
@click.option("--mlflow", help="Where to log each trial with MLflow: http://server:5000, sqlite:///mlflow.db, ...")
@click.option(
    "--log-level", type=click.Choice(LOG_LEVELS), default="info", help="Of runs/<study>/logs.  [default: info]"
)
@click.option("--quiet", is_flag=True, help="Plain lines instead of a live display.")
def search(study: str | None, **options: Any) -> None:
    """Search a STUDY: a .toml file, a bundled study, or the folder of a study, which goes on.

    Without one, ./autocompress.toml if it exists, else the bundled study `digits`. The same command resumes a study
    that was stopped. Ctrl-C ends a search cleanly; SIGTERM and SIGHUP do within seconds.
    """
    from ..search.followers.asked import followers_asked
    from ..search.pace import Stop
    from ..search.run import run_search
    from ..search.signals import ended_by_signals

    settings = with_options(find_study(study, options["task_spec"], options["run_code"]), options)
    if study is not None and (runs := folder_of(study)) is not None:
        if click.get_current_context().get_parameter_source("runs") is ParameterSource.COMMANDLINE:
            raise UsageError(f"{study} is a study's own folder, in which it goes on; leave out --runs")
        options["runs"] = runs
    followers = followers_asked(options["tensorboard"], options["mlflow"])
    progress = make_progress(options["quiet"])
    stop = Stop()
    try:
        with ended_by_signals(stop):
            how = (options["dry_run"], options["remeasure"], options["log_level"], followers)
            outcome = run_search(settings, None, options["runs"], options["fresh"], progress, stop, *how)
    finally:
        progress.close()
    if options["dry_run"]:
        click.echo(f"dry run: nothing was searched; what was measured is kept in {outcome.front.folder}")
        return
    print_front(outcome.front)
    print_outcome(outcome)
    if outcome.trouble:
        raise ConditionsChanged(outcome.trouble)


def make_progress(quiet: bool) -> Any:
    """Return a live display in a terminal, plain lines elsewhere or if quiet."""
    from .progress import LiveProgress, PlainProgress

    kind = LiveProgress if sys.stdout.isatty() and not quiet else PlainProgress
    return kind()
