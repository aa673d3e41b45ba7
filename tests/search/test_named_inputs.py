"""A search over a network with two inputs of whole numbers, judged by a metric that is minimized."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import autocompress
from autocompress.errors import StorageError
from autocompress.search.report import table
from autocompress.search.report.front import Front

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("briefly")]

WORDS, LENGTH = 300, 12
QUICK: dict[str, Any] = {
    "target": {"profile_seconds": 0.0, "learn_seconds": 0.0, "precision": 0.5},
    "recovery": {"epochs": 0.5},
    "progress": "none",
}


class Texts(Dataset[dict[str, Any]]):
    """Texts of 3 to 12 words; their label is the mean worth of their words."""

    def __init__(self, count: int, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        lengths = torch.randint(3, LENGTH + 1, (count,), generator=g).tolist()
        self.words = [torch.randint(1, WORDS, (n,), generator=g) for n in lengths]

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> dict[str, Any]:
        words = self.words[index]
        return {
            "input_ids": words,
            "attention_mask": torch.ones_like(words),
            "labels": float((words % 7).float().mean()),
        }


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner, self.head = nn.Embedding(WORDS, 32), nn.Linear(32, 64), nn.Linear(64, 1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        weight = attention_mask.unsqueeze(-1).float()
        mean = (self.table(input_ids) * weight).sum(1) / weight.sum(1)
        return {"logits": self.head(torch.relu(self.inner(mean)))[:, 0]}


def made_task() -> autocompress.Task:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Reader()
        with torch.no_grad():  # each word's worth is in its row
            model.table.weight.mul_(0.1)
            model.table.weight[:, 0] = torch.arange(WORDS) % 7
            model.inner.weight.mul_(0.1)
            model.inner.weight[0] = torch.eye(32)[0]
            model.head.weight.mul_(0.1)
            model.head.weight[0, 0] = 1.0
    splits = [Texts(count, seed) for seed, count in enumerate((400, 150, 150))]
    return autocompress.Task(model.eval(), *splits, kind="regression", length=LENGTH, name="texts")


@pytest.fixture(scope="module")
def searched(briefly: None, tmp_path_factory: pytest.TempPathFactory) -> Front:
    runs = tmp_path_factory.mktemp("texts")
    return autocompress.compress(made_task(), trials=4, max_drop="50%", runs=runs, **QUICK)


def _rows(data: Texts) -> dict[str, np.ndarray[Any, Any]]:
    filled = [{k: torch.nn.functional.pad(item[k], (0, LENGTH - len(item[k]))) for k in ("input_ids", "attention_mask")}
              for item in (data[i] for i in range(len(data)))]  # fmt: skip
    return {name: torch.stack([row[name] for row in filled]).numpy() for name in ("input_ids", "attention_mask")}


def test_an_outsider_finds_the_figures_of_every_file_at_any_batch(searched: Front) -> None:
    data = made_task().validation
    assert isinstance(data, Texts)
    rows, labels = _rows(data), np.array([data[i]["labels"] for i in range(len(data))])
    frame = searched.to_pandas().set_index("trial")
    assert searched.entries
    for entry in searched.entries:
        (path,) = searched.paths(entry).values()
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert [given.name for given in session.get_inputs()] == ["input_ids", "attention_mask"]
        assert [given.type for given in session.get_inputs()] == ["tensor(int64)"] * 2
        outputs = [
            session.run(None, {name: value[i : i + 7] for name, value in rows.items()})[0]
            for i in range(0, len(labels), 7)
        ]
        rmse = float(np.sqrt(np.mean((np.concatenate(outputs) - labels) ** 2)))
        assert entry.accuracy == pytest.approx(rmse, rel=0.02), "a batch of another size may use other kernels"
        assert frame.loc[entry.number, "RMSE"] == entry.accuracy and frame.loc[entry.number, "metric"] == "RMSE"
    assert "accuracy" not in frame.columns and "test_RMSE" in frame.columns


def test_files_are_timed_on_real_words(searched: Front) -> None:
    with np.load(searched.folder / "targets" / "onnxruntime" / "inputs.npz") as kept:
        ids, mask = (kept[name] for name in kept.files)
    words = made_task().validation[0]["input_ids"].numpy()  # type: ignore[index]
    assert ids[0, : len(words)].tolist() == words.tolist() and int(mask.sum()) == len(words)


def test_lower_is_better_wherever_it_is_shown(searched: Front, tmp_path: Path) -> None:
    assert searched.teacher is not None
    assert "RMSE" in table.heads(searched) and "accuracy" not in table.heads(searched)
    assert "RMSE: validation split, lower is better" in table.legend(searched)
    for one in searched.best:
        assert not any(o.accuracy < one.accuracy and o.latency.p50_ms < one.latency.p50_ms for o in searched.entries)
    most = searched.teacher.accuracy * 1.5
    assert searched.limits.min_accuracy == pytest.approx(-most)
    assert [e.number for e in searched.fitting] == [e.number for e in searched.entries if e.accuracy <= most]
    picked = searched.pick(max_drop="50%")
    assert picked.entry is searched.fitting[0] and f"RMSE {picked.entry.accuracy:.4f}" in repr(picked)
    card = json.loads((picked.save(tmp_path).parent / "measurement.json").read_text())
    assert card["metric"] == {"name": "RMSE", "direction": "minimize"}
    assert card["validation"]["value"] == picked.entry.accuracy
    assert "| RMSE, validation split |" in (tmp_path / "README.md").read_text()


def test_a_server_is_told_how_an_answer_without_dimensions_is_shaped(searched: Front, tmp_path: Path) -> None:
    searched.pick(max_drop="50%").save(tmp_path, "triton")
    (path,) = tmp_path.glob("*/config.pbtxt")
    takes, gives = path.read_text().split("output [")
    assert takes.count(f"dims: [ {LENGTH} ]") == 2 and "reshape" not in takes
    assert re.search(r"dims: \[ 1 \]\s+reshape: \{ shape: \[ \] \}", gives)


def test_another_metric_or_other_inputs_do_not_go_into_the_same_study(searched: Front) -> None:
    def largest(outputs: Tensor, labels: Tensor) -> float:
        return float((outputs - labels).abs().max())

    class Reversed(Texts):
        def __getitem__(self, index: int) -> dict[str, Any]:
            item = super().__getitem__(index)
            return {**item, "input_ids": item["input_ids"].flip(0)}

    before = made_task()
    others = {
        "metric": replace(before, metric=largest, metric_direction="minimize"),
        "validation": replace(before, validation=Reversed(150, 1)),
    }
    for part, changed in others.items():
        with pytest.raises(StorageError, match=f"another {part} .* --fresh"):
            autocompress.compress(changed, trials=1, max_drop="50%", runs=searched.folder.parent, **QUICK)
    again = autocompress.open_study(searched.folder)
    assert len(again.trials) == len(searched.trials)
