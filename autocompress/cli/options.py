"""From words on the command line to the settings of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UnknownName, UsageError

if TYPE_CHECKING:
    from ..studies.study_file import StudyFile

DEFAULT_STUDY = "autocompress.toml"
ON_RAY = ("address", "cpus_per_job", "gpus_per_job", "shared")
SEARCH = ("trials", "patience", "workers", "executor", "seed", "storage", *ON_RAY)
"""Options that are keys of the section [search]."""


LOG_LEVELS = ("debug", "info", "warning", "error")
"""The same as `search.logs.LEVELS`, which takes a second to import."""
RUN_CODE = click.option("--run-code", is_flag=True, help="Run the code that a study or recipe from elsewhere names.")


def find_study(study: str | None, task_spec: str | None, run_code: bool = False) -> StudyFile:
    """Return the study to search.

    Args:
        study: Path of a study file or of a study folder, or name of a bundled study; None for ./autocompress.toml, or
            `digits` without one.
        task_spec: A user's own task, in place of a study.
        run_code: Whether to run code that a study's folder from elsewhere names.

    Raises:
        UsageError: Both were given, or a folder from elsewhere names code.
        AutoCompressError: The study cannot be read.
    """
    from ..studies.study_file import StudyFile, load_study, safe_name

    if task_spec is not None:
        if study is not None:
            raise UsageError(f"both a study ({study}) and --task ({task_spec}) were given; give one of them")
        # from the right, because a path may have colons of its own
        source = task_spec if task_spec.endswith(".py") else task_spec.rpartition(":")[0]
        name = Path(source).stem if source.endswith(".py") else source.rpartition(".")[2]
        named = StudyFile(name=safe_name(name), path=Path(DEFAULT_STUDY).absolute())
        settings = named.changed("task", **{"from": task_spec})
        return settings.changed("search", minutes=10.0)
    if study is not None and (Path(study) / "study.json").is_file():
        from ..search.store.made_here import check_made_here
        from ..search.store.settings import read_settings

        found = read_settings(Path(study))
        if not run_code:
            check_made_here(Path(study), found)
        return found
    if study is not None:
        try:
            return load_study(study)
        except UnknownName:
            folder = Path("runs") / study
            if not (folder / "study.json").is_file():
                raise
            raise UsageError(f"{study} is no study file; to go on with the study of this name, give {folder}") from None
    if not Path(DEFAULT_STUDY).exists():
        return load_study("digits")
    found = load_study(DEFAULT_STUDY)
    runs = f", which runs {found.code[0]}" if found.code else ""
    click.echo(f"no STUDY was given: taking ./{DEFAULT_STUDY}{runs}", err=True)
    return found


def folder_of(study: str) -> Path | None:
    """Return the folder that a study's own folder lies in, None where `study` is no such folder.

    Raises:
        UsageError: A later study of the name lies beside it, and would go on in its place.
    """
    folder = Path(study)
    if not (folder / "study.json").is_file():
        return None
    from ..search.store.settings import read_settings
    from ..search.study import study_folder

    folder = folder.resolve()
    latest = study_folder(folder.parent, read_settings(folder).name, fresh=False)
    if not latest.exists():
        raise UsageError(f"{study} was renamed: to go on, name the folder {latest.name} again")
    if latest != folder:
        raise UsageError(f"{study} has a later study beside it, {latest.name}: only that one goes on")
    return folder.parent


def with_options(settings: StudyFile, options: dict[str, Any]) -> StudyFile:
    """Return the study with what the command line says on top.

    Raises:
        UsageError: An option has a value that cannot be.
    """
    from ..studies.budget import LATENCY_KEYS
    from ..studies.study_file import StudyFile

    percentile = options["percentile"]
    minutes = options["minutes"] if options["hours"] is None else 60 * options["hours"]
    if options["minutes"] is not None and options["hours"] is not None:
        raise UsageError("both --minutes and --hours were given; give one of them")
    wanted = {
        "budget": {
            **budget_asked(options["budget"], options["budget_ms"]),
            **{key: options[key] for key in ("speedup", "max_mb", "max_size", "min_accuracy", "max_drop")},
            "percentile": None if percentile is None else int(percentile),
        },
        "search": {k: options[k] for k in SEARCH} | {"minutes": minutes, "baselines": _names(options["baselines"])},
        "target": {k: options[k] for k in ("threads", "batch")} | _targets(options) | _precision(options),
    }
    for section, values in wanted.items():
        given = {k: v for k, v in values.items() if v is not None}
        if given.keys() & LATENCY_KEYS:  # in place of what the study's file asks for
            given = dict.fromkeys(LATENCY_KEYS - given.keys()) | given
        if given:
            settings = settings.changed(section, **given)
    if options["forget_limits"]:
        unsaid = StudyFile().budget.model_dump().items()
        settings = settings.changed("budget", **{k: v for k, v in unsaid if k not in settings.budget.model_fields_set})
    if options["trials"] is not None and minutes is None:
        settings = settings.changed("search", minutes=None)  # a number of trials was asked for, not a time
    if settings.search.address and options["executor"] is None and settings.search.executor == "local":
        settings = settings.changed("search", executor="ray")
    workers = settings.search.workers
    if workers > 1 and options["executor"] == "local":
        raise UsageError(f"--executor local runs one trial at a time, and workers = {workers}; leave one of them out")
    if workers > 1 and settings.search.executor == "local":
        settings = settings.changed("search", executor="processes")
    return settings


def _names(listed: str | None) -> tuple[str, ...] | None:
    return None if listed is None else tuple(part.strip() for part in listed.split(",") if part.strip()) or None


def budget_asked(budget: str | None, budget_ms: float | None) -> dict[str, Any]:
    """Return the keys of a study file's budget that --budget and --budget-ms stand for.

    Args:
        budget: Such as "5ms" or "50%".
        budget_ms: Milliseconds.

    Raises:
        UsageError: Both were given, or `budget` is neither.
    """
    if budget is None:
        return {"latency_ms": budget_ms}
    if budget_ms is not None:
        raise UsageError("both --budget and --budget-ms were given; give one of them")
    if budget.endswith("%"):
        return {"latency": budget}
    try:
        return {"latency_ms": float(budget.removesuffix("ms"))}
    except ValueError:
        raise UsageError(
            f"--budget {budget}; allowed: milliseconds such as 5ms, or a part of the teacher's: 50%"
        ) from None


def _targets(options: dict[str, Any]) -> dict[str, Any]:
    names = options["targets"]
    if options["any_of"] and len(names) < 2:
        raise UsageError("--any-of chooses between targets; give --target twice or more")
    if not names:
        return {}
    return {"runtime": names[0] if len(names) == 1 else tuple(names), "any_of": options["any_of"]}


def _precision(options: dict[str, Any]) -> dict[str, Any]:
    if options["precision"] is None:
        return {}
    from ..evaluators.bench import parse_precision

    return {"precision": parse_precision(options["precision"])}
