"""The data source `torchvision`: torchvision's data sets of small images."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...errors import DataError, UnknownName, one_line
from ...files import expanded
from ..schema import DataSection
from .images import ImageData
from .paths import data_folders
from .splits import Splits, labelled, with_validation

NAMES = ("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "STL10", "SVHN", "USPS")
"""The data sets that fit into memory, by the names of their classes."""


class Torchvision:
    """Reads a data set of torchvision by the name of its class, and downloads it where it is not there yet."""

    name = "torchvision"
    keys: tuple[str, ...] = ("name", "root", "validation", "validation_from", "mean", "std", "augment")

    def read(self, section: DataSection, folder: Path | None) -> Splits:
        """Read the data set `name` from `root`, which is looked for in `folder` first.

        Raises:
            DataError: The data set is in no folder and cannot be downloaded.
            StudyFileError: `name` is absent.
            UnknownName: There is no such data set.
        """
        from torchvision import datasets

        name = section.required("name")
        if name not in NAMES:
            raise UnknownName("torchvision dataset", name, NAMES)
        builder = getattr(datasets, name)
        (train, labels), (test, _) = (_read(builder, section, folder, training) for training in (True, False))
        splits = with_validation(train, test, section)
        return replace(splits, labels=labels if len(labels) == train.classes else ())


def _read(builder: Any, section: DataSection, folder: Path | None, training: bool) -> tuple[ImageData, tuple[str, ...]]:
    import numpy as np

    candidates = [root / expanded(section.root) for root in data_folders(folder)]
    takes_train = "train" in inspect.signature(builder).parameters
    which = {"train": training} if takes_train else {"split": "train" if training else "test"}
    dataset = None
    for root in candidates:
        try:
            dataset = builder(str(root), download=False, **which)
            break
        except (RuntimeError, OSError):
            continue
    if dataset is None:
        try:
            dataset = builder(str(candidates[-1]), download=True, **which)
        except Exception as error:  # network, disk and archive errors of many kinds
            looked = ", ".join(map(str, candidates))
            raise DataError(
                f"dataset {builder.__name__} is not in {looked} and cannot be downloaded "
                f"({type(error).__name__}: {one_line(error)}): connect, or copy it there"
            ) from error
    images = torch.as_tensor(np.asarray(dataset.data))
    labels = getattr(dataset, "targets", None)
    labels = dataset.labels if labels is None else labels
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[-1] in (1, 3):
        images = images.permute(0, 3, 1, 2)
    names = tuple(map(str, getattr(dataset, "classes", ())))
    return labelled(images.contiguous(), torch.as_tensor(labels).long(), section), names
