"""The data source `image_folder`: folders of image files, one folder for each class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ...errors import DataError
from ..schema import DataSection
from .decoding import decode_images
from .images import ImageData
from .paths import find_data
from .splits import Splits, labelled, with_validation

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ImageFolder:
    """Reads folders `train` and `test`, each with one folder for each class.

    The names of the folders in `train`, sorted, give the labels 0, 1, 2, ... Hidden folders and files, such as those of
    Jupyter (.ipynb_checkpoints) and of a Mac (.DS_Store, ._image.png), are passed over.
    """

    name = "image_folder"
    keys: tuple[str, ...] = ("train", "test", "validation", "validation_from", "mean", "std", "augment", "image_size")

    def read(self, section: DataSection, folder: Path | None) -> Splits:
        """Read the folders `train` and `test`, which are looked for in `folder` first.

        Raises:
            DataError: A folder is missing or has no images, or `test` has a class that `train` does not have.
            StudyFileError: `train` or `test` is absent.
        """
        names = section.required("train"), section.required("test")
        train, test = (find_data(name, folder) for name in names)
        classes = [p.name for p in _folders(train)] if train.is_dir() else []
        if not classes:
            raise DataError(f"{train} has no folders: make one folder per class, with its images")
        if not test.is_dir():
            raise DataError(f"{test} is no folder: make one folder per class, with its images")
        splits = with_validation(_read(train, classes, section, True), _read(test, classes, section, False), section)
        return replace(splits, labels=tuple(classes))


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _read(folder: Path, classes: list[str], section: DataSection, training: bool) -> ImageData:
    paths: list[Path] = []
    labels: list[int] = []
    for child in _folders(folder):
        if child.name not in classes:
            raise DataError(f"{child}: no such class in train, which has {', '.join(classes[:20])}: rename it")
        seen = (p for p in child.rglob("*") if not any(part.startswith(".") for part in p.relative_to(child).parts))
        found = sorted(p for p in seen if p.suffix.lower() in SUFFIXES)
        if training and not found:
            raise DataError(f"{child} has no images ({', '.join(SUFFIXES)}): put some there, or remove the folder")
        paths += found
        labels += [classes.index(child.name)] * len(found)
    if not paths:
        raise DataError(f"{folder} has no images ({', '.join(SUFFIXES)}): put them in one folder per class")
    images = decode_images(paths, lambda row: str(paths[row]), section.image_size)
    return labelled(images, torch.tensor(labels), section)
