"""Three disjoint parts of one data set, and how data sources make them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from ...errors import DataError
from ..schema import DataSection
from .images import ImageData, check_labels

SPLIT_SEED = 0
MANY_CLASSES = 1000
"""So many are taken from any number of images; a larger label that most others are missing below is no class number."""


@dataclass(frozen=True)
class Splits:
    """Three disjoint parts of one data set.

    Attributes:
        train: What students are taught on; the only part that may be augmented.
        validation: What the search chooses by.
        test: What is looked at once, at the end.
        labels: Names of the classes 0, 1, 2, ...; empty where the data name none.
    """

    train: ImageData
    validation: ImageData
    test: ImageData
    labels: tuple[str, ...] = ()


def labelled(images: Tensor, labels: Tensor, section: DataSection) -> ImageData:
    """Return images [N, C, H, W] and labels [N] as data that is normalised and augmented as `section` says."""
    return ImageData(images, labels, section.mean, section.std, section.augment)


def not_augmented(train: ImageData, validation: ImageData, test: ImageData) -> Splits:
    """Return the three parts with augmentation on `train` alone."""
    return Splits(train, replace(validation, augment="none"), replace(test, augment="none"))


def with_validation(train: ImageData, test: ImageData, section: DataSection) -> Splits:
    """Take a validation part off `train`, or off `test` where `section` says so.

    Raises:
        DataError: Training labels are negative, images differ in shape, or a part would be empty.
    """
    check_labels(train.labels, train.classes, "train")
    if train.classes < 2:
        raise DataError("train has one class: a classifier needs images of two or more")
    if train.classes > max(MANY_CLASSES, len(train)):
        raise DataError(
            f"train has label {train.classes - 1} for {len(train)} images: number the classes 0, 1, 2, and so on"
        )
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"train images are {list(train.images.shape[1:])}, test images {list(test.images.shape[1:])}: "
            "make them one size, or set image_size"
        )
    if section.validation_from == "test":
        kept, validation = test.split(section.validation, SPLIT_SEED)
        return not_augmented(train, validation, kept)
    kept, validation = train.split(section.validation, SPLIT_SEED)
    return not_augmented(kept, validation, test)
