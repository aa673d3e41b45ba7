"""The data source `digits`: handwritten digits that come with scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ...errors import DataError, one_line
from ..schema import DataSection
from .splits import SPLIT_SEED, Splits, labelled, not_augmented

TEST_PART = 0.2


class Digits:
    """Reads 1,797 grey images [N, 1, 16, 16], every class equally in all parts.

    Of each class a fifth is test, and `validation` of the rest is validation.
    """

    name = "digits"
    keys: tuple[str, ...] = ("validation", "mean", "std", "augment")

    def read(self, section: DataSection, folder: Path | None) -> Splits:
        """Read the digits; nothing is looked for in `folder`.

        Raises:
            DataError: `validation` asks for more images than there are, or for less than one of each class.
        """
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        bunch = load_digits()
        greys = torch.from_numpy(bunch.images).mul(255 / 16).round().to(torch.uint8)
        images = greys.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None].contiguous()
        labels = bunch.target
        everything = labelled(images, torch.from_numpy(labels).long(), section)
        rest, test = train_test_split(range(len(labels)), test_size=TEST_PART, stratify=labels, random_state=SPLIT_SEED)
        try:
            train, validation = train_test_split(
                rest, test_size=section.validation, stratify=labels[rest], random_state=SPLIT_SEED
            )
        except ValueError as error:
            raise DataError(f"[data] validation = {section.validation}: {one_line(error)}") from error
        splits = not_augmented(everything.take(train), everything.take(validation), everything.take(test))
        return replace(splits, labels=tuple(str(digit) for digit in bunch.target_names))
