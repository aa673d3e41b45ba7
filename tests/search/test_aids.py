"""What a study keeps as an aid: where it is damaged, a search makes it anew or does without, and does not end by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autocompress.errors import StorageError
from autocompress.search.store.facts import TaskFacts, known_facts, read_facts, write_facts
from autocompress.search.store.samples import Samples, known_samples, read_answers, write_answers, write_samples


@pytest.mark.parametrize("content", ["", "[]", "null", "{", '{"metric": 7}', "\x00"])
def test_damaged_facts_of_a_task_are_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    write_facts(tmp_path, TaskFacts(teacher=0.9))
    assert known_facts(tmp_path).teacher == 0.9
    (tmp_path / "task.json").write_text(content)
    with pytest.raises(StorageError, match=r"task\.json"):
        read_facts(tmp_path)
    assert known_facts(tmp_path) == TaskFacts()
    (said,) = [record.getMessage() for record in caplog.records]
    assert "task.json: damaged; it is written anew" in said


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"rubbish" * 100])
def test_damaged_samples_end_no_search(tmp_path: Path, content: bytes) -> None:
    samples = Samples(np.array([0, 2]), {"input": np.zeros((2, 3))})
    write_samples(tmp_path, samples)
    write_answers(tmp_path, 1, {"onnxruntime": np.arange(3.0)})
    assert list(read_answers(tmp_path, 1)["onnxruntime"]) == [0.0, 2.0]
    (tmp_path / "samples.npz").write_bytes(content)
    assert known_samples(tmp_path) is None
    write_answers(tmp_path, 2, {"onnxruntime": np.arange(3.0)})
    assert not read_answers(tmp_path, 2)
    np.savez(tmp_path / "samples.npz", other=np.zeros(1))
    assert known_samples(tmp_path) is None
    write_samples(tmp_path, samples)
    assert known_samples(tmp_path) is not None


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file here fails as a dying disk does")
def test_what_the_disk_does_not_give_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "task.json").symlink_to("/proc/self/mem")
    with pytest.raises(StorageError, match="the disk gives an error"):
        known_facts(tmp_path)
