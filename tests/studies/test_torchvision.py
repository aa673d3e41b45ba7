"""Data sets of torchvision's: all of their layouts become one, and one that is not here is told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocompress.errors import DataError, UnknownName
from autocompress.studies.data.source import DataSource
from autocompress.studies.data.torchvision import Torchvision
from autocompress.studies.schema import DataSection
from autocompress.testing.data_source import DataSourceConformance


def section_of(name: str) -> DataSection:
    return DataSection.model_validate({"validation": 5, "kind": "torchvision", "name": name})


class Stored:
    """A data set of torchvision's that is on this machine: 12 images, in one of the layouts that there are."""

    shape: tuple[int, ...] = (12, 8, 8, 3)

    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        random = np.random.default_rng(int(train))
        self.data = random.integers(0, 256, self.shape, dtype=np.uint8)
        self.targets = [0, 1, 2] * 4


def offline(self: Any) -> None:
    raise OSError("no route to host")


class TestTorchvision(DataSourceConformance):
    @pytest.fixture(autouse=True)
    def stored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from torchvision import datasets

        monkeypatch.setattr(datasets, "CIFAR10", Stored)
        monkeypatch.setattr(datasets.MNIST, "download", offline)

    def make_source(self) -> DataSource:
        return Torchvision()

    def sample_section(self, folder: Path) -> DataSection:
        return section_of("CIFAR10")

    def missing_section(self, folder: Path) -> DataSection:
        return section_of("MNIST")


def test_torchvision_name_and_absence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownName, match="did you mean 'CIFAR10'"):
        Torchvision().read(section_of("CIFAR-10"), None)
    monkeypatch.setattr(datasets.MNIST, "download", offline)
    with pytest.raises(DataError, match=f"dataset MNIST is not in {tmp_path}.*no route to host"):
        Torchvision().read(section_of("MNIST"), None)


@pytest.mark.parametrize("layout", ["grey", "last", "first"])
def test_torchvision_layouts_become_one(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    monkeypatch.setattr(Stored, "shape", {"grey": (12, 8, 8), "last": (12, 8, 8, 3), "first": (12, 3, 8, 8)}[layout])
    monkeypatch.setattr(datasets, "CIFAR10", Stored)
    splits = Torchvision().read(section_of("CIFAR10"), None)
    assert splits.test.images.shape == (12, 1 if layout == "grey" else 3, 8, 8)
