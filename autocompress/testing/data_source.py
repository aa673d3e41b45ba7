"""What every data source must do, as a test class that a package which brings one runs against itself.

class TestMySource(DataSourceConformance):
    def make_source(self): return MySource()
    def sample_section(self, folder):
        write_some_images(folder / "mine.bin")
        return DataSection(kind="mine", train="mine.bin")
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch

from ..errors import DataError, StudyFileError
from ..studies.data.images import ImageData
from ..studies.data.source import DataSource
from ..studies.data.splits import Splits
from ..studies.schema import DataSection

NEEDED: tuple[Literal["train", "test", "name"], ...] = ("train", "test", "name")
"""The keys that have no default: a source that has them either needs them or works without."""
FILES: tuple[str, ...] = ("train", "test")
"""The keys that name files."""


class DataSourceConformance:
    """Tests of one data source.

    Subclass it under a name that begins with Test, and fill in the two hooks; pytest does the rest.

    Attributes:
        all_different: Whether no two images of the sample are equal, so that splits can be told apart.
    """

    all_different = True

    def make_source(self) -> DataSource:
        """Return the source under test."""
        raise NotImplementedError("make_source: return your data source")

    def sample_section(self, folder: Path) -> DataSection:
        """Return a [data] section that can be read; write what it needs into `folder`, where it is read from."""
        raise NotImplementedError("sample_section: write a small data set and return the section that reads it")

    def missing_section(self, folder: Path) -> DataSection | None:
        """Return a section that names what is not there; None for a source that reads no files.

        It is the sample with other files, which suits sources that read `train` or `test`.
        """
        keys = [key for key in FILES if key in self.make_source().keys]
        if not keys:
            return None
        return self.sample_section(folder).model_copy(update=dict.fromkeys(keys, "no_such_data"))

    def test_it_is_a_data_source_with_a_usable_name_and_keys_of_the_section(self) -> None:
        """The source has the parts of its seam, and its keys are some of [data]."""
        source = self.make_source()
        assert isinstance(source, DataSource)
        assert source.name.isidentifier()
        assert set(source.keys) <= set(DataSection.model_fields) - {"kind"}
        assert len(set(source.keys)) == len(source.keys)

    def test_every_split_has_images_of_one_shape_and_type(self, tmp_path: Path) -> None:
        """A network that takes one split takes them all."""
        parts = _parts(self._read(tmp_path))
        assert all(isinstance(part, ImageData) and len(part) > 0 for part in parts)
        assert len({part.images.shape[1:] for part in parts}) == 1
        assert len({(part.images.dtype, part.mean, part.std) for part in parts}) == 1

    def test_labels_are_those_of_train(self, tmp_path: Path) -> None:
        """Labels lie in 0..classes-1, where the classes are those of train."""
        splits = self._read(tmp_path)
        for part in _parts(splits):
            assert int(part.labels.min()) >= 0
            assert int(part.labels.max()) < splits.train.classes

    def test_splits_do_not_overlap(self, tmp_path: Path) -> None:
        """No image of one split is in another."""
        splits = self._read(tmp_path)
        if not self.all_different:
            pytest.skip("equal images of this data set cannot be told apart")
        images = [row.numpy().tobytes() for part in _parts(splits) for row in part.images]
        assert len(set(images)) == len(images)

    def test_it_reads_the_same_each_time(self, tmp_path: Path) -> None:
        """A study that is resumed has the splits that it began with."""
        section = self.sample_section(tmp_path)
        one, two = (_parts(self.make_source().read(section, tmp_path)) for _ in range(2))
        for before, after in zip(one, two, strict=True):
            assert torch.equal(before.images, after.images)
            assert torch.equal(before.labels, after.labels)

    def test_only_train_is_augmented(self, tmp_path: Path) -> None:
        """What models are scored on stays as it is."""
        section = self.sample_section(tmp_path)
        if "augment" in self.make_source().keys:
            section = section.model_copy(update={"augment": "crop"})
        train, validation, test = _parts(self.make_source().read(section, tmp_path))
        assert train.augment == section.augment
        assert validation.augment == test.augment == "none"

    def test_what_is_missing_is_told_in_one_line(self, tmp_path: Path) -> None:
        """A file that is not there is a mistake of the user's."""
        section = self.missing_section(tmp_path)
        if section is None:
            pytest.skip("this source reads no files")
        with pytest.raises(DataError) as caught:
            self.make_source().read(section, tmp_path)
        assert "\n" not in str(caught.value)

    def test_a_key_that_is_left_out_is_told_or_not_needed(self, tmp_path: Path) -> None:
        """A key that the source cannot do without is asked for by its name."""
        for key in NEEDED:
            if key not in self.make_source().keys:
                continue
            section = self.sample_section(tmp_path).model_copy(update={key: None})
            try:
                self.make_source().read(section, tmp_path)
            except StudyFileError as error:
                assert key in str(error) and "\n" not in str(error)

    def _read(self, folder: Path) -> Splits:
        return self.make_source().read(self.sample_section(folder), folder)


def _parts(splits: Splits) -> tuple[ImageData, ImageData, ImageData]:
    return splits.train, splits.validation, splits.test
