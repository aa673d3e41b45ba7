"""Ready-made data: digits, parquet files, torchvision's datasets, folders of images."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .images import ImageData, check_labels
from ...errors import DataError, UnknownName
from .decoding import decode_images
from .paths import data_folders, find_data
from ..schema import DataSection

TORCHVISION_NAMES = ("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "STL10", "SVHN", "USPS")
SPLIT_SEED = 0
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Splits:
    """Three disjoint parts, one kind of images; only `train` is augmented."""

    train: ImageData
    validation: ImageData
    test: ImageData


def build_data(section: DataSection, study_folder: Path | None = None) -> Splits:
    """The data that a [data] section describes; validation never overlaps train, test stands on its own.

    Raises DataError for missing or unusable files, UnknownName for a kind or dataset that is not known.
    """
    match section.kind:
        case "digits":
            return digits(section)
        case "parquet":
            return parquet(section, study_folder)
        case "torchvision":
            return torchvision(section, study_folder)
        case "image_folder":
            return image_folder(section, study_folder)
        case _:
            raise UnknownName("data kind", section.kind, ("digits", "parquet", "torchvision", "image_folder"))


def digits(section: DataSection) -> Splits:
    """scikit-learn's 1,797 handwritten digits as [N, 1, 16, 16], every class equally in all parts.

    Of each class a fifth is test, and section.validation of the rest validation.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    greys = torch.from_numpy(bunch.images).mul(255 / 16).round().to(torch.uint8)
    images = greys.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None].contiguous()
    everything = ImageData(images, torch.from_numpy(bunch.target).long(), section.mean, section.std, section.augment)
    labels = bunch.target
    rest, test = train_test_split(range(len(labels)), test_size=0.2, stratify=labels, random_state=SPLIT_SEED)
    train, validation = train_test_split(
        rest, test_size=section.validation, stratify=labels[rest], random_state=SPLIT_SEED
    )
    return Splits(everything.take(train), everything.take(validation), everything.take(test))


def parquet(section: DataSection, study_folder: Path | None = None) -> Splits:
    """Two parquet files: column `image` of encoded bytes (or a struct with `bytes`), column `label` of integers."""
    train, test = section.file("train"), section.file("test")
    train_path, test_path = find_data(train, study_folder), find_data(test, study_folder)
    return _splits(_read_parquet(train_path, section), _read_parquet(test_path, section), section)


def torchvision(section: DataSection, study_folder: Path | None = None) -> Splits:
    """A torchvision dataset that fits into memory, by the name of its class; downloaded where it is not there yet."""
    from torchvision import datasets

    name = section.file("name")
    if name not in TORCHVISION_NAMES:
        raise UnknownName("torchvision dataset", name, TORCHVISION_NAMES)
    builder = getattr(datasets, name)
    return _splits(
        _read_torchvision(builder, section, study_folder, training=True),
        _read_torchvision(builder, section, study_folder, training=False),
        section,
    )


def image_folder(section: DataSection, study_folder: Path | None = None) -> Splits:
    """Folders `train` and `test`, in each one folder per class; the names in `train`, sorted, give the labels."""
    train_folder = find_data(section.file("train"), study_folder)
    test_folder = find_data(section.file("test"), study_folder)
    classes = sorted(p.name for p in train_folder.iterdir() if p.is_dir()) if train_folder.is_dir() else []
    if not classes:
        raise DataError(f"{train_folder} has no folders: make one folder per class, with its images")
    return _splits(_read_folder(train_folder, classes, section), _read_folder(test_folder, classes, section), section)


def _splits(train: ImageData, test: ImageData, section: DataSection) -> Splits:
    check_labels(train.labels, train.classes, "train")
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"train images are {list(train.images.shape[1:])}, test images {list(test.images.shape[1:])}: "
            "make them one size, or set image_size"
        )
    if section.validation_from == "test":
        kept, validation = test.split(section.validation, SPLIT_SEED)
        return Splits(train, validation, kept)
    kept, validation = train.split(section.validation, SPLIT_SEED)
    return Splits(kept, validation, test)


def _data(images: Tensor, labels: Tensor, section: DataSection) -> ImageData:
    return ImageData(images, labels, section.mean, section.std, section.augment)


def _read_parquet(path: Path, section: DataSection) -> ImageData:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        missing = [name for name in ("image", "label") if name not in names]
        if missing:
            raise DataError(f"{path}: no column {missing[0]!r}, it has {', '.join(names)}: rename or add it")
        table = pq.read_table(path, columns=["image", "label"])
    except (pa.ArrowException, OSError) as error:
        message = str(error).splitlines()[0]
        raise DataError(f"{path}: not a readable parquet file ({message}): fetch or write it again") from error
    if table.num_rows == 0:
        raise DataError(f"{path}: has no rows: give at least one image")
    column, label_column = table.column("image"), table.column("label")
    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pa.chunked_array([chunk.field("bytes") for chunk in column.chunks])
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise DataError(f"{path}: column 'image' has type {column.type}: store encoded bytes (JPEG, PNG)")
    if not pa.types.is_integer(label_column.type) or label_column.null_count:
        raise DataError(
            f"{path}: column 'label' has type {label_column.type} and {label_column.null_count} empty rows: "
            "store one integer per row"
        )
    encoded = [value or b"" for value in column.to_pylist()]
    images = decode_images(encoded, lambda row: f"{path}: row {row}", section.image_size)
    return _data(images, torch.tensor(label_column.to_pylist(), dtype=torch.int64), section)


def _read_torchvision(builder: Any, section: DataSection, study_folder: Path | None, training: bool) -> ImageData:
    import numpy as np

    candidates = [folder / section.root for folder in data_folders(study_folder)]
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
            cause = (str(error).splitlines() or [""])[0]
            looked = ", ".join(map(str, candidates))
            raise DataError(
                f"dataset {builder.__name__} is not in {looked} and cannot be downloaded "
                f"({type(error).__name__}: {cause}): connect, or copy it there"
            ) from error
    images = torch.as_tensor(np.asarray(dataset.data))
    labels = dataset.targets if hasattr(dataset, "targets") else dataset.labels
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[-1] in (1, 3):
        images = images.permute(0, 3, 1, 2)
    return _data(images.contiguous(), torch.as_tensor(labels).long(), section)


def _read_folder(folder: Path, classes: list[str], section: DataSection) -> ImageData:
    paths: list[Path] = []
    labels: list[int] = []
    for child in sorted(p for p in folder.iterdir() if p.is_dir()):
        if child.name not in classes:
            raise DataError(f"{child}: no such class in train, which has {', '.join(classes[:20])}: rename it")
        found = sorted(p for p in child.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        paths += found
        labels += [classes.index(child.name)] * len(found)
    if not paths:
        raise DataError(f"{folder} has no images ({', '.join(IMAGE_SUFFIXES)}): put them in one folder per class")
    images = decode_images(paths, lambda row: str(paths[row]), section.image_size)
    return _data(images, torch.tensor(labels), section)
