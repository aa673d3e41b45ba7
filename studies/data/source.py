"""The data-source seam: where ready-made data comes from. An installed package can bring a source of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from ...spaces.plugins import Registry
from ..schema import DataSection
from .splits import Splits


@runtime_checkable
class DataSource(Protocol):
    """One kind of ready-made data. It is made without arguments and holds no state.

    Register the class under the entry-point group `autocompress.data_sources`, and try it against
    `autocompress.testing.data_source.DataSourceConformance`.

    Attributes:
        name: An identifier, the same as the entry point's; study files name the source by it.
        keys: The keys of [data], besides `kind`, that have an effect. Others are refused in study files.
    """

    name: str
    keys: tuple[str, ...]

    def read(self, section: DataSection, folder: Path | None) -> Splits:
        """Read the data that a [data] section describes.

        Args:
            section: The whole section.
            folder: The study file's folder, where relative files are looked for first; None if there is none.

        Returns:
            Three disjoint splits, the same ones at each call.

        Raises:
            DataError: A file is missing or cannot be used.
            StudyFileError: A key is missing.
            UnknownName: There is no data set of this name.
        """
        ...


DATA_SOURCES: Registry[DataSource] = Registry("data kind", "autocompress.data_sources", DataSource)


def build_data(section: DataSection, folder: Path | None = None) -> Splits:
    """Read the data that a [data] section describes, whatever its kind.

    Args:
        section: The whole section.
        folder: The study file's folder, where relative files are looked for first.

    Raises:
        DataError: A file is missing or cannot be used.
        StudyFileError: A key is missing.
        UnknownName: There is no such kind of data, or no data set of this name.
    """
    return DATA_SOURCES.make(section.kind).read(section, folder)
