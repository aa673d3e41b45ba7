"""A bundle is known again when a byte was changed, and its answers are those that it was written with."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import HERE, run
from hypothesis import given
from hypothesis import strategies as st

from autocompress import BundleError, Front
from autocompress.search.bundle.checksums import NAME, check
from autocompress.search.bundle.record import read_record
from autocompress.search.bundle.verify import check_files, verify
from autocompress.search.store.samples import LIMIT_OF_ONE_BYTES, Samples, sample_rows

WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError(f"blocked: {name}")
sys.meta_path.insert(0, Blocked())
from autocompress.cli import main
main()
"""


def test_verify_needs_no_torch(bundle: Path) -> None:
    done = run(sys.executable, "-c", WITHOUT_TORCH, "verify", bundle, "--no-latency")
    assert (done.returncode, done.stderr) == (0, "")
    assert "answers to 8 samples differ by" in done.stdout


@pytest.mark.slow
def test_verify_times_without_torch(bundle: Path) -> None:
    done = run(sys.executable, "-c", WITHOUT_TORCH, "verify", bundle)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"p50 here +\d", done.stdout) and "p50 there" in done.stdout


@given(data=st.data())
def test_any_changed_byte_is_found(bundle: Path, data: st.DataObject) -> None:
    names = sorted(p.name for p in bundle.iterdir() if p.is_file())
    path = bundle / data.draw(st.sampled_from(names))
    before = path.read_bytes()
    offset = data.draw(st.integers(0, len(before) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != before[offset]))
    path.write_bytes(before[:offset] + bytes([byte]) + before[offset + 1 :])
    try:
        with pytest.raises(BundleError):
            check_files(bundle)
    finally:
        path.write_bytes(before)
    assert check_files(bundle) == len(names)


def test_a_missing_file_and_a_strange_folder_are_told_in_one_line(
    bundle: Path, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (copy / "plan.json").unlink()
    code_, _, err = cli("verify", copy)
    assert code_ == 2 and len(err.splitlines()) == 1 and "plan.json: is missing" in err
    code_, _, err = cli("verify", tmp_path / "nowhere")
    assert code_ == 2 and len(err.splitlines()) == 1 and "no bundle" in err
    (copy / NAME).write_text(f"{'0' * 64}  ../bundle\n")
    with pytest.raises(BundleError, match="outside"):
        check(copy)


def test_other_answers_are_found(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    with np.load(copy / "samples.npz") as kept:
        arrays = dict(kept.items())
    arrays[f"answer:{HERE}"] = arrays[f"answer:{HERE}"] + 10
    np.savez(copy / "samples.npz", **arrays)
    with pytest.raises(BundleError, match="answers differ"):
        list(verify(copy, timed=False))


def test_a_model_that_no_checksum_covers_is_not_looked_at(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    path = copy / "measurement.json"
    shutil.copy(copy / "model.onnx", tmp_path / "other.onnx")
    path.write_text(path.read_text().replace('"file": "model.onnx"', '"file": "../other.onnx"'))
    with pytest.raises(BundleError, match=r"does not name \.\./other\.onnx"):
        list(verify(copy, timed=False))


def test_a_study_without_samples_gives_a_bundle_that_says_so(finished: Front, tmp_path: Path) -> None:
    study = Path(shutil.copytree(finished.folder, tmp_path / finished.folder.name))
    (study / "samples.npz").unlink()
    front = replace(finished, folder=study)
    folder = front.pick().save(tmp_path / "deploy").parent
    assert "the study kept none" in (folder / "README.md").read_text()
    (found,) = verify(folder, timed=False)
    assert found.difference is None and "no samples" in found.reason


def test_an_earlier_bundle_is_replaced_and_other_files_stay(finished: Front, tmp_path: Path) -> None:
    first, second = (finished.trial(entry.number) for entry in finished.entries[:2])
    first.save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    second.save(tmp_path)
    assert read_record(tmp_path).trial == second.entry.number
    assert (tmp_path / "notes.txt").read_text() == "mine"
    check_files(tmp_path)


@pytest.mark.parametrize(
    ("count", "input_bytes", "answer_bytes", "kept"),
    [
        (300, 900, 100, 8),
        (3, 900, 100, 3),
        (300, 500_000, 100_000, 1),
        (300, 9_000_000, 40, 0),
        (300, 600_000, 22_000_000, 1),  # of a map of pixels, which is not kept
        (300, 1000, 22_000_000, 8),  # of a language model
    ],
)
def test_samples_are_few_and_small(count: int, input_bytes: int, answer_bytes: int, kept: int) -> None:
    rows = sample_rows(count, input_bytes, answer_bytes)
    assert len(rows) == kept == len(set(rows)) and all(0 <= row < count for row in rows)


@given(input_bytes=st.integers(1, 9_000_000), answer_bytes=st.integers(1, 30_000_000))
def test_answers_are_kept_where_one_fits_beside_its_input(input_bytes: int, answer_bytes: int) -> None:
    rows = sample_rows(300, input_bytes, answer_bytes)
    inputs = np.broadcast_to(np.uint8(0), (len(rows), input_bytes))
    kept = Samples(np.array(rows, np.int64), {"input": inputs}).answered(answer_bytes)
    assert not rows or kept == (input_bytes + answer_bytes <= LIMIT_OF_ONE_BYTES)


def test_verify_looks_at_bundles_alone(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "deploy")
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "measurement.json").write_text("{}")  # as those in a study's folder
    assert [found.bundle for found in verify(tmp_path, timed=False)] == [tmp_path / "deploy"]
