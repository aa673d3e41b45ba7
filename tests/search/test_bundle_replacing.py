"""A bundle takes the place of an earlier one, and never of what somebody else put there."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autocompress import Front, UsageError
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
