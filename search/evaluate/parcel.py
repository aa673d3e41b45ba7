"""Parcels: files of a study that travel with a job, or are named in it where a worker sees the study's folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ...errors import StorageError
from ...files import PARTIAL, disk_errors, make_folder, remove, write_bytes
from ...lines import add_lines, own_file, shared_name
from ..store.importance import FILE as IMPORTANCE
from ..store.layout import checkpoints_folder, students_folder
from .checkpoints import checkpoint_stem
from .job import Job
from .kept_sizes import KEPT as SIZES

GROWING = ".jsonl"
"""Files of which lines are added by several processes, and never taken away."""
LEFT = (".lock",)
"""Suffixes of files that mean something on their own machine alone."""
Stamp = tuple[int, int, int]
"""Size in bytes, time of change in nanoseconds and number of a file."""
Link = tuple[int, int]
"""Size in bytes and time of change in milliseconds of a file that is read where it lies."""


@dataclass(frozen=True)
class Parcel:
    """Files by their path from the study's folder, with forward slashes.

    Attributes:
        files: Their content.
        tails: What was added to files that grow, by the names that all machines have for them; see `lines.shared_name`.
        gone: Files that were removed.
        links: Files that do not travel, since driver and worker see one folder; see `SharedFolder`.
        place: Folder in that one which they lie in, until the driver moves them to their own; empty where they do.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    tails: Mapping[str, bytes] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    links: Mapping[str, Link] = field(default_factory=dict)
    place: str = ""

    @property
    def size_bytes(self) -> int:
        """Of all content that travels."""
        return sum(map(len, (*self.files.values(), *self.tails.values())))


def opening_parcel(folder: Path, teacher: bool = False, linked: bool = False) -> Parcel:
    """Return what a worker opens a study with: what the driver learned of its task and of its targets.

    Args:
        folder: The study's folder.
        teacher: Whether it needs the teacher's weights.
        linked: Whether the files are named alone, since the worker sees the folder.
    """
    known = [folder / "identity.json", folder / "samples.npz", folder / IMPORTANCE, folder / SIZES]
    known += (folder / "profile").rglob("*")
    known += [folder / "teacher.safetensors"] if teacher else []
    known += students_folder(folder).glob("*.pt")
    targets = [path for path in (folder / "targets").rglob("*") if "latency" not in path.relative_to(folder).parts]
    return (_linked if linked else _packed)(folder, (*known, *targets))


def job_parcel(folder: Path, job: Job, linked: bool = False) -> Parcel:
    """Return what is there already of a job: the weights that it goes on from, and its shape if that was measured.

    Args:
        folder: The study's folder.
        job: The job.
        linked: Whether the files are named alone, since the worker sees the folder.
    """
    stem = checkpoint_stem(job.spec, job.warm_start)
    found = list(checkpoints_folder(folder).glob(f"{stem}-[0-9]*"))
    if job.warm_start is not None:
        found.append(checkpoints_folder(folder) / job.warm_start.checkpoint)
    found += (folder / "targets").glob(f"*/latency/{job.spec.shape_key()}.json")
    return (_linked if linked else _packed)(folder, found)


def stamps(folder: Path) -> dict[str, Stamp]:
    """Return how the files below a folder stand, for `made_since`."""
    return {_name(folder, path): _stamp(path) for path in _files(folder.rglob("*"))}


def made_since(folder: Path, before: Mapping[str, Stamp]) -> Parcel:
    """Return what changed below a folder.

    Args:
        folder: The folder.
        before: How it stood; see `stamps`.
    """
    now = stamps(folder)
    files: dict[str, bytes] = {}
    tails: dict[str, bytes] = {}
    for name, stamp in now.items():
        if before.get(name) == stamp:
            continue
        content = (folder / name).read_bytes()
        if name.endswith(GROWING):
            added = content[before[name][0] if name in before else 0 :]
            tails[shared_name(name)] = tails.get(shared_name(name), b"") + added
        else:
            files[name] = content
    return Parcel(files, tails, tuple(name for name in before if name not in now))


def unpack(folder: Path, parcel: Parcel) -> None:
    """Write what a parcel holds into a study's folder: each file whole or not at all, tails at the ends of own files.

    Args:
        folder: The study's folder.
        parcel: The parcel.

    Raises:
        StorageError: The disk is full or cannot be written, or a path leads out of the folder.
    """
    check_inside(folder, parcel)
    with disk_errors(folder):
        for name, content in parcel.files.items():
            write_bytes(folder / name, content)
        for name, content in parcel.tails.items():
            make_folder((folder / name).parent)
            add_lines(own_file(folder / name), content)  # as do others on this machine, but on no other one
        for name in parcel.gone:
            remove(folder / name)


def check_inside(folder: Path, parcel: Parcel) -> None:
    """Refuse a parcel of files that do not lie in the study's folder.

    Raises:
        StorageError: A path leads out of it.
    """
    for name in (*parcel.files, *parcel.tails, *parcel.gone, *parcel.links, parcel.place):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise StorageError(f"a worker sent {name!r}, which leads out of the study {folder}")


def _packed(folder: Path, paths: Iterable[Path]) -> Parcel:
    found = {}
    for path in _files(paths):
        try:
            found[_name(folder, path)] = path.read_bytes()
        except FileNotFoundError:
            continue  # another trial that is taught alike took it away
    return Parcel(found)


def _linked(folder: Path, paths: Iterable[Path]) -> Parcel:
    links, files = {}, {}
    for path in _files(paths):
        with suppress(FileNotFoundError):  # as above
            if path.name.endswith(GROWING):
                files[_name(folder, path)] = path.read_bytes()  # small, and no more the same when a worker reads it
            else:
                links[_name(folder, path)] = link(path)
    return Parcel(files, links=links)


def link(path: Path) -> Link:
    """Return how a file stands, as all machines that see it say alike."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns // 10**6


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        unfinished = any(part.startswith(PARTIAL) for part in path.parts)
        if path.is_file() and path.suffix not in LEFT and not unfinished:
            yield path


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino
