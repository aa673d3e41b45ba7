"""The data source `parquet`: encoded images and labels in two files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...errors import DataError, one_line
from ..schema import DataSection
from .decoding import decode_images
from .images import ImageData
from .paths import find_data
from .splits import Splits, labelled, with_validation


class Parquet:
    """Reads two parquet files.

    Column `image` holds encoded bytes, or a struct with `bytes`; column `label` holds integers. Names of the classes
    are taken from what Hugging Face's `datasets` writes beside the columns.
    """

    name = "parquet"
    keys: tuple[str, ...] = ("train", "test", "validation", "validation_from", "mean", "std", "augment", "image_size")

    def read(self, section: DataSection, folder: Path | None) -> Splits:
        """Read the files `train` and `test`, which are looked for in `folder` first.

        Raises:
            DataError: A file is missing, is not readable, or has other columns.
            StudyFileError: `train` or `test` is absent.
        """
        names = section.required("train"), section.required("test")
        train, test = (find_data(name, folder) for name in names)
        splits = with_validation(_read(train, section), _read(test, section), section)
        labels = _label_names(train)
        return replace(splits, labels=labels if len(labels) == splits.train.classes else ())


def _read(path: Path, section: DataSection) -> ImageData:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        missing = [name for name in ("image", "label") if name not in names]
        if missing:
            raise DataError(f"{path}: no column {missing[0]!r}, it has {', '.join(names)}: rename or add it")
        table = pq.read_table(path, columns=["image", "label"])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file ({one_line(error)}): fetch or write it again") from error
    if table.num_rows == 0:
        raise DataError(f"{path}: has no rows: give at least one image")
    encoded = _encoded(table.column("image"), path)
    labels = _labels(table.column("label"), path)
    images = decode_images(encoded, lambda row: f"{path}: row {row}", section.image_size)
    return labelled(images, labels, section)


def _label_names(path: Path) -> tuple[str, ...]:
    import pyarrow.parquet as pq

    try:
        told = json.loads((pq.read_schema(path).metadata or {})[b"huggingface"])
        return tuple(map(str, told["info"]["features"]["label"]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()


def _encoded(column: Any, path: Path) -> list[bytes]:
    import pyarrow as pa

    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pa.chunked_array([chunk.field("bytes") for chunk in column.chunks])
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise DataError(f"{path}: column 'image' has type {column.type}: store encoded bytes (JPEG, PNG)")
    return [value or b"" for value in column.to_pylist()]


def _labels(column: Any, path: Path) -> torch.Tensor:
    import pyarrow as pa

    if not pa.types.is_integer(column.type) or column.null_count:
        raise DataError(
            f"{path}: column 'label' has type {column.type} and {column.null_count} empty rows: "
            "store one integer per row"
        )
    return torch.tensor(column.to_pylist(), dtype=torch.int64)
