"""The end of a search, after confirming: the runtimes' own profiles of the models that matter, kept for the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...errors import StorageError, one_line
from ...evaluators.layer_shares import LayerShares, profiled_shares, seconds_to_profile
from ...evaluators.runtimes.profiling import ProfilingRuntime
from ...evaluators.score import as_arrays
from ...evaluators.timing.host import HERE
from ...files import read_object, write_json
from ...spaces.factors import names_of_parts
from ...spaces.plain import from_plain, to_plain
from ...spaces.target import PerTarget
from ..evaluate.context import EvaluationContext
from ..evaluate.target_session import TargetSession
from .confirm import by_weight
from .entry import Entry
from .front import Front
from .looks import read_looks


@dataclass(frozen=True)
class Profiles:
    """What is kept of the profiles on one target.

    Attributes:
        offered: Whether the target's runtime makes profiles at all.
        files: SHA-256 of a file -> the shares of its layers.
    """

    offered: bool
    files: Mapping[str, LayerShares] = field(default_factory=dict)


def profile_models(
    context: EvaluationContext,
    front: Front,
    say: Callable[[str], None] = lambda line: None,
    end_s: float | None = None,
) -> None:
    """Profile the files of the models that were confirmed, each once; the shares are kept in `profiles.json`.

    A profile is a by-product: one that cannot be made is said in a line, and left out.

    Args:
        context: What this process has of the study.
        front: The front, with the longer looks.
        say: Takes a line about what is going on.
        end_s: When the search should be over, on the monotonic clock; None without an end. What does not fit is left
            to the next run.

    Raises:
        StorageError: The disk is full or cannot be written, or what was kept cannot be read.
    """
    if context.host != HERE:
        return  # a profile is taken in this process, which is not where files are timed
    looks, kept = read_looks(context.folder), read_profiles(context.folder)
    slower = 1.0  # than estimated: on a busy machine
    for name, session in context.sessions.items():
        runtime = session.runtime
        if not isinstance(runtime, ProfilingRuntime):
            kept = _keep(context.folder, kept, name, Profiles(False))
            continue
        profiles = replace(kept.get(name, Profiles(True)), offered=True)
        for entry in by_weight(front):
            look = looks[entry.number].files.get(name) if entry.number in looks else None
            if look is None or look.sha256 in profiles.files:
                continue
            begun_s, estimate_s = time.monotonic(), seconds_to_profile(look.latency)
            if end_s is not None and begun_s + slower * estimate_s > end_s:
                break
            try:
                shares = _shares(context, session, runtime, front.paths(entry)[name], entry)
            except Exception as error:  # what goes wrong with one file does with the next
                say(f"no profile of trial {entry.number}: {one_line(error)}")
                break
            if shares is None:
                profiles = replace(profiles, offered=False)
                break
            profiles = replace(profiles, files={**profiles.files, look.sha256: shares})
            slower = max(slower, (time.monotonic() - begun_s) / estimate_s)
        kept = _keep(context.folder, kept, name, profiles)


def read_profiles(folder: Path) -> PerTarget[Profiles]:
    """Return the profiles that a study keeps, by target; none where an older version searched.

    Raises:
        StorageError: The file cannot be read.
    """
    try:
        return {name: from_plain(Profiles, each) for name, each in (read_object(_path(folder)) or {}).items()}
    except ValueError as error:
        raise StorageError(f"{_path(folder)}: holds no profiles; delete it, and they are taken again") from error


def read_shares(folder: Path) -> PerTarget[Mapping[int, LayerShares]]:
    """Return the shares of confirmed models, by target and trial number; see `read_profiles`."""
    looks = read_looks(folder)
    return {
        name: {
            number: profiles.files[look.files[name].sha256]
            for number, look in looks.items()
            if name in look.files and look.files[name].sha256 in profiles.files
        }
        for name, profiles in read_profiles(folder).items()
        if profiles.offered
    }


def _path(folder: Path) -> Path:
    return folder / "profiles.json"


def _keep(folder: Path, kept: PerTarget[Profiles], name: str, profiles: Profiles) -> PerTarget[Profiles]:
    if kept.get(name) == profiles:
        return kept
    now = {**kept, name: profiles}
    write_json(_path(folder), {target: to_plain(each) for target, each in now.items()})
    return now


def _shares(
    context: EvaluationContext, session: TargetSession, runtime: ProfilingRuntime, path: Path, entry: Entry
) -> LayerShares | None:
    builder, target = session.builder, session.target
    spec = entry.trial.spec
    layers = builder.templates.get(builder.batching(spec.student).batch, spec.structure()).layers
    whole = {part: name for name in entry.trial.spec.factors for part in names_of_parts(name)}
    layers = {node: whole.get(layer, layer) for node, layer in layers.items()}
    inputs = as_arrays(context.task.validation.inputs(slice(0, target.batch)))
    return profiled_shares(runtime, path, target, inputs, layers)
