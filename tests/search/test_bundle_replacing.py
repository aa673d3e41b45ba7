"""A bundle takes the place of an earlier one, and never of what somebody else put there."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autocompress import Front, UsageError
from autocompress.errors import StorageError
from autocompress.files import PARTIAL, move
from autocompress.search.bundle import replacing, triton
from autocompress.search.bundle.checksums import NAME
from autocompress.search.bundle.record import read_record
from autocompress.search.bundle.replacing import put_in_place
from autocompress.search.bundle.verify import check_files


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_with_checksums_of_something_else_loses_nothing(finished: Front, tmp_path: Path) -> None:
    """Many a folder of downloads has a file of this name."""
    (tmp_path / "image.iso").write_bytes(b"mine")
    (tmp_path / NAME).write_text(f"{hashlib.sha256(b'mine').hexdigest()}  image.iso\n")
    before = files(tmp_path)
    with pytest.raises(UsageError, match=NAME):
        finished.pick().save(tmp_path)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("layout", "name"), [("folder", "README.md"), ("folder", "requirements.txt"), ("hub", "config.json")]
)
def test_a_users_own_file_is_not_replaced(
    finished: Front, tmp_path: Path, cli: Callable[..., Any], layout: str, name: str
) -> None:
    (tmp_path / name).write_text("mine")
    code, _, err = cli("pick", finished.folder, "--layout", layout, "--out", tmp_path)
    assert code == 2 and len(err.splitlines()) == 1 and name in err
    assert files(tmp_path) == {name: b"mine"}


def test_what_was_changed_in_a_bundle_since_is_kept(bundle: Path, finished: Front, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (copy / "README.md").write_text("my card")
    with pytest.raises(UsageError, match=r"README\.md"):
        finished.pick().save(copy)
    assert (copy / "README.md").read_text() == "my card" and (copy / "model.onnx").is_file()


def test_a_configuration_of_a_server_that_was_changed_is_kept(finished: Front, tmp_path: Path) -> None:
    model = finished.pick().save(tmp_path, "triton").parent.parent
    (model / "config.pbtxt").write_text("mine")
    with pytest.raises(UsageError, match=r"config\.pbtxt"):
        finished.pick().save(tmp_path, "triton")
    assert (model / "config.pbtxt").read_text() == "mine" and not (model / "2").exists()


@pytest.mark.parametrize("versions", [0, 1])
@pytest.mark.parametrize("step", range(3))
def test_a_version_whose_writing_was_interrupted_can_be_written_again(
    finished: Front, tmp_path: Path, step: int, versions: int
) -> None:
    """At whatever is put in its place: the list of checksums, the version, the configuration."""
    picked, model = finished.pick(), tmp_path / finished.folder.name
    for _ in range(versions):
        picked.save(tmp_path, "triton")
    put = iter(range(3))

    def stopping(source: Path, target: Path) -> None:
        if target.parent == model and next(put) == step:
            raise KeyboardInterrupt
        move(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replacing, "move", stopping)
        with pytest.raises(KeyboardInterrupt):
            picked.save(tmp_path, "triton")
    path = picked.save(tmp_path, "triton")
    assert path.is_file() and int(path.parent.name) > versions
    assert check_files(tmp_path) and (model / "config.pbtxt").is_file()
    assert not list(tmp_path.rglob(f"{PARTIAL}*"))


@pytest.mark.parametrize("versions", [0, 1])
@pytest.mark.parametrize(
    ("name", "fault", "error"),
    [
        ("write_checksums", KeyboardInterrupt(), KeyboardInterrupt),
        ("filled", OSError(errno.ENOSPC, "full"), StorageError),
        ("TYPES", {}, UsageError),
    ],
)
def test_a_version_that_cannot_be_described_leaves_nothing(
    finished: Front,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fault: Any,
    error: type[BaseException],
    versions: int,
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise fault

    picked = finished.pick()
    for _ in range(versions):
        picked.save(tmp_path, "triton")
    before = files(tmp_path)
    monkeypatch.setattr(triton, name, failing if isinstance(fault, BaseException) else fault)
    with pytest.raises(error):
        picked.save(tmp_path, "triton")
    assert files(tmp_path) == before
    assert versions or not any(tmp_path.iterdir()), "the server would take an empty folder for a broken model"


def test_a_repository_is_refused_for_all_targets_before_one_is_written(finished: Front, tmp_path: Path) -> None:
    entry = finished.pick().entry
    (file,) = entry.trial.measured.values()
    trial = replace(entry.trial, measured={"onnxruntime": file, "openvino": file})
    second = tmp_path / f"{finished.folder.name}_openvino"
    second.mkdir()
    (second / "config.pbtxt").write_text("mine")
    before = files(tmp_path)
    with pytest.raises(UsageError, match=r"config\.pbtxt"):
        triton.write_repository(finished, replace(entry, trial=trial), tmp_path)
    assert files(tmp_path) == before and list(tmp_path.iterdir()) == [second]


def made(folder: Path, names: dict[str, str]) -> Path:
    from autocompress.search.bundle.checksums import write_checksums

    for name, content in {**names, "measurement.json": "{}"}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    write_checksums(folder)
    return folder


def test_files_of_several_targets_are_replaced_and_their_folders_keep_what_is_mine(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    put_in_place(made(tmp_path / "a", {"onnxruntime/model.onnx": "1", "openvino/model.xml": "1"}), out)
    put_in_place(made(tmp_path / "b", {"onnxruntime/model.onnx": "2"}), out)
    assert (out / "onnxruntime" / "model.onnx").read_text() == "2" and not (out / "openvino").exists()
    assert check_files(out) == 3
    (out / "onnxruntime" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        put_in_place(made(tmp_path / "c", {"onnxruntime/model.onnx": "3"}), out)
    assert (out / "onnxruntime" / "notes.txt").read_text() == "mine"
    put_in_place(made(tmp_path / "d", {"model.onnx": "4"}), out)
    assert (out / "onnxruntime" / "notes.txt").read_text() == "mine"


def test_a_bundle_that_was_half_written_is_replaced(tmp_path: Path) -> None:
    out = made(tmp_path / "out", {"model.onnx": "1", "README.md": "1"})
    (out / "model.onnx").unlink()
    put_in_place(made(tmp_path / "a", {"model.onnx": "2", "README.md": "2"}), out)
    assert check_files(out) == 4


def test_links_are_no_files_of_ours(finished: Front, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "card.md").write_text("mine")
    (out / "README.md").symlink_to(tmp_path / "card.md")
    with pytest.raises(UsageError, match=r"README\.md"):
        finished.pick().save(out)
    (out / "README.md").unlink()
    finished.pick().save(out)
    assert read_record(out) and (tmp_path / "card.md").read_text() == "mine"
