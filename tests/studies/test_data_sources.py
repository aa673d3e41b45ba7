"""Data sources: what is read is what is stored, and every fault of a file is told in one line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from autocompress.errors import DataError, UnknownName
from autocompress.studies.data.digits import Digits
from autocompress.studies.data.image_folder import ImageFolder
from autocompress.studies.data.parquet import Parquet
from autocompress.studies.data.source import DATA_SOURCES, DataSource, build_data
from autocompress.studies.data.splits import Splits
from autocompress.studies.data.torchvision import Torchvision
from autocompress.studies.schema import DataSection
from autocompress.testing.data_source import DataSourceConformance


def pixels(seed: int, size: int = 8, channels: int = 3) -> np.ndarray[Any, Any]:
    shape = (size, size, channels) if channels == 3 else (size, size)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(seed: int, size: int = 8, channels: int = 3) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(seed, size, channels)).save(file, "PNG")
    return file.getvalue()


def write_parquet(path: Path, images: Any, labels: Any, struct: bool = True) -> None:
    column = [{"bytes": image, "path": ""} for image in images] if struct else images
    pq.write_table(pa.table({"image": column, "label": labels}), path)


def write_files(folder: Path) -> Path:
    """Write 20 images to train on and 10 to test on."""
    for name, first, count in (("train", 0, 20), ("test", 100, 10)):
        write_parquet(folder / f"{name}.parquet", [png(first + i) for i in range(count)], [i % 5 for i in range(count)])
    return folder


def write_folders(folder: Path) -> Path:
    """Write 6 images of each of two classes to train on, and 2 to test on; images of a class differ in size."""
    for part, count, seed in (("train", 6, 0), ("test", 2, 100)):
        for label, name in enumerate(("cat", "dog")):
            place = folder / part / name
            place.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                (place / f"{i}.png").write_bytes(png(seed + 10 * label + i, 8 + i))
    return folder


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_files(tmp_path)


def section_of(**values: Any) -> DataSection:
    return DataSection.model_validate({"validation": 5, **values})


PARQUET = {"kind": "parquet", "train": "train.parquet", "test": "test.parquet"}
FOLDERS = {"kind": "image_folder", "train": "train", "test": "test", "image_size": 8, "validation": 4}


def parquet(folder: Path, **values: Any) -> Splits:
    return Parquet().read(section_of(**{**PARQUET, **values}), folder)


class TestDigits(DataSourceConformance):
    def make_source(self) -> DataSource:
        return Digits()

    def sample_section(self, folder: Path) -> DataSection:
        return DataSection()


class TestParquet(DataSourceConformance):
    def make_source(self) -> DataSource:
        return Parquet()

    def sample_section(self, folder: Path) -> DataSection:
        write_files(folder)
        return section_of(**PARQUET)


class TestImageFolder(DataSourceConformance):
    def make_source(self) -> DataSource:
        return ImageFolder()

    def sample_section(self, folder: Path) -> DataSection:
        write_folders(folder)
        return section_of(**FOLDERS)


def test_all_sources_are_registered_under_their_names(files: Path) -> None:
    for source in (Digits, Parquet, ImageFolder, Torchvision):
        assert isinstance(DATA_SOURCES.make(source.name), source)
    assert len(build_data(section_of(**PARQUET), files).test) == 10
    with pytest.raises(UnknownName, match="unknown data kind 'parkett'; did you mean 'parquet'"):
        build_data(section_of(kind="parkett"))


def test_digits_are_real_disjoint_and_stratified() -> None:
    splits = Digits().read(DataSection(), None)
    sizes = [len(part) for part in (splits.train, splits.validation, splits.test)]
    assert sum(sizes) == 1797 and sizes == [1077, 360, 360]
    assert splits.train.images.shape[1:] == (1, 16, 16) and splits.train.images.dtype == torch.uint8
    assert splits.train.images.max() == 255
    for part in (splits.train, splits.validation, splits.test):
        assert part.labels.bincount().min() > 0.08 * len(part)


@pytest.mark.parametrize("struct", [True, False])
def test_parquet_gives_back_the_very_pixels(files: Path, struct: bool) -> None:
    write_parquet(files / "test.parquet", [png(100 + i) for i in range(10)], [i % 5 for i in range(10)], struct)
    splits = parquet(files)
    assert len(splits.train) == 15 and len(splits.validation) == 5
    for i in range(10):
        assert np.array_equal(splits.test.images[i].permute(1, 2, 0).numpy(), pixels(100 + i))
    assert splits.test.labels.tolist() == [i % 5 for i in range(10)]


def test_parquet_validation_never_overlaps_train(files: Path) -> None:
    splits = parquet(files)
    train = {row.numpy().tobytes() for row in splits.train.images}
    validation = {row.numpy().tobytes() for row in splits.validation.images}
    assert len(train | validation) == 20 and not train & validation
    assert torch.equal(parquet(files).validation.images, splits.validation.images)


def test_grey_images_have_one_channel_and_sizes_can_be_set(files: Path) -> None:
    for name in ("train", "test"):
        write_parquet(files / f"{name}.parquet", [png(i, 8 + i, 1) for i in range(9)], [0, 1, 0] * 3)
    assert parquet(files, image_size=6).test.images.shape == (9, 1, 6, 6)
    with pytest.raises(DataError, match=r"row 1: 9 x 9 pixels, but .*row 0 has 8 x 8: .*image_size"):
        parquet(files)


def test_missing_parquet_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match=r"no data file 'train.parquet'") as caught:
        parquet(tmp_path)
    for folder in (tmp_path, Path.cwd(), tmp_path / "elsewhere"):
        assert str(folder) in str(caught.value)


def test_data_folder_of_the_environment_is_the_last_resort(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_DATA", str(files))
    assert len(parquet(tmp_path / "studies").test) == 10


def test_corrupt_parquet(files: Path) -> None:
    path = files / "test.parquet"
    content = path.read_bytes()
    for damaged in (b"", b"not parquet at all", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"test.parquet: not a readable parquet file") as caught:
            parquet(files)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"img": [b""], "label": [1]}, "no column 'image', it has img, label"),
        ({"image": [b""]}, "no column 'label'"),
        ({"image": ["text"], "label": [1]}, "column 'image' has type string"),
        ({"image": [png(0)], "label": ["cat"]}, "column 'label' has type string"),
        ({"image": [png(0)], "label": [None]}, "column 'label'"),
        ({"image": [png(0), b"junk"], "label": [0, 1]}, "row 1: not a readable image"),
        ({"image": [png(0), png(1)[:60]], "label": [0, 1]}, "row 1: not a readable image"),
        ({"image": [png(0), None], "label": [0, 1]}, "row 1: not a readable image"),
        ({"image": [png(0, channels=1), png(1)], "label": [0, 1]}, "row 1: a colour image among grey"),
        ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}, "has no rows"),
        ({"image": [png(i) for i in range(9)], "label": [0] * 8 + [-1]}, "label -1"),
    ],
)
def test_unusable_parquet_gets_one_line(files: Path, table: dict[str, Any], message: str) -> None:
    pq.write_table(pa.table(table), files / "train.parquet")
    with pytest.raises(DataError, match=message) as caught:
        parquet(files)
    assert "\n" not in str(caught.value)


def test_folder_of_images(tmp_path: Path) -> None:
    section = section_of(**FOLDERS)
    splits = ImageFolder().read(section, write_folders(tmp_path))
    assert len(splits.train) == 8 and splits.test.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(splits.test.images[0].permute(1, 2, 0).numpy(), pixels(100))
    (tmp_path / "test" / "bird").mkdir()
    with pytest.raises(DataError, match=r"no such class in train, which has cat, dog"):
        ImageFolder().read(section, tmp_path)
    (tmp_path / "file").write_text("no folder")
    for key in ("train", "test"):
        with pytest.raises(DataError, match="one folder per class"):
            ImageFolder().read(section_of(**{**FOLDERS, key: "file"}), tmp_path)


def test_hidden_folders_and_files_among_pictures_are_passed_over(tmp_path: Path) -> None:
    section = section_of(**FOLDERS)
    write_folders(tmp_path)
    picture = next((tmp_path / "train" / "cat").iterdir())
    for part in ("train", "test"):
        for hidden in (".ipynb_checkpoints", "cat/.thumbnails"):
            (tmp_path / part / hidden).mkdir()
            (tmp_path / part / hidden / f"copy{picture.suffix}").write_bytes(picture.read_bytes())
        (tmp_path / part / ".DS_Store").write_bytes(b"Bud1")
        (tmp_path / part / "cat" / f"._{picture.name}").write_bytes(b"Mac OS X")
        (tmp_path / part / "cat" / "Thumbs.db").write_bytes(b"thumbs")
    splits = ImageFolder().read(section, tmp_path)
    assert len(splits.train) == 8 and splits.test.labels.tolist() == [0, 0, 1, 1] and splits.train.classes == 2


def test_validation_can_come_off_test_for_checkpoints_that_have_seen_all_of_train(files: Path) -> None:
    splits = parquet(files, validation=3, validation_from="test")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [20, 3, 7]
    shown = {image.numpy().tobytes() for image in splits.train.images}
    assert not shown & {image.numpy().tobytes() for image in (*splits.validation.images, *splits.test.images)}


@pytest.mark.parametrize("validation", [1, 1700, 0.0001])
def test_a_validation_part_of_digits_that_cannot_be_is_told_in_one_line(validation: float) -> None:
    with pytest.raises(DataError, match="validation = ") as caught:
        Digits().read(DataSection(validation=validation), None)
    assert "\n" not in str(caught.value)


# -- names of classes --------------------------------------------------------------------------------------------------


def test_sources_keep_the_names_of_classes(tmp_path: Path) -> None:
    write_folders(tmp_path)
    assert build_data(section_of(**FOLDERS), tmp_path).labels == ("cat", "dog")
    assert build_data(DataSection(kind="digits"), tmp_path).labels == tuple("0123456789")
    write_files(tmp_path)
    assert parquet(tmp_path).labels == ()
    names = ["a", "b|c", "<d>", "é", "5"]
    told = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    path = tmp_path / "train.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"huggingface": json.dumps(told).encode()}), path)
    assert parquet(tmp_path).labels == tuple(names)
    pq.write_table(table.replace_schema_metadata({b"huggingface": b"no JSON"}), path)
    assert parquet(tmp_path).labels == ()
