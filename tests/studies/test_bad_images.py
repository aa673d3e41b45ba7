"""Image data as it comes: what cannot be used is told in one line that names it, what can be used is used right."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from autocompress.errors import AutoCompressError
from autocompress.studies.data.image_folder import ImageFolder
from autocompress.studies.data.source import build_data
from autocompress.studies.data.splits import Splits
from autocompress.studies.study_file import load_study

TEACHER = '\n[teacher]\nmodel = "digits_net"\nwidth = 8\nepochs = 1\n'


def image(mode: str = "RGB", size: tuple[int, int] = (8, 8), seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def grey_16(seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 65535, (8, 8))
    return Image.fromarray(pixels.astype(np.uint16))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(6):
                image(seed=number).save(tmp_path / split / label / f"{number}.png")
    return tmp_path


def read(folder: Path, keys: str = "", kind: str = "image_folder", train: str = "train", test: str = "test") -> Splits:
    path = folder / "study.toml"
    path.write_text(f'[data]\nkind = "{kind}"\ntrain = "{train}"\ntest = "{test}"\n{keys}{TEACHER}')
    study = load_study(path)
    return build_data(study.data, study.folder)


def refused(*parts: str) -> Any:
    class Told:
        def __enter__(self) -> None:
            self.raised = pytest.raises(AutoCompressError)
            self.told = self.raised.__enter__()

        def __exit__(self, *how: Any) -> bool:
            caught = bool(self.raised.__exit__(*how))
            said = str(self.told.value)
            assert "\n" not in said and all(part in said for part in parts), said
            return caught

    return Told()


@pytest.mark.parametrize(
    ("keys", "parts"),
    [
        ('root = "x"', ("root has no effect", "image_folder")),
        ('name = "x"', ("name has no effect",)),
        ("mean = [0.5]", ("mean has 1 numbers for 3 channels",)),
        ("std = [0.0, 1.0, 1.0]", ("std = 0.0", "above 0")),
        ("std = [-1.0, 1.0, 1.0]", ("std = -1.0", "above 0")),
        ("mean = [nan, 0.0, 0.0]", ("mean = nan",)),
        ("image_size = 0", ("image_size = 0", "from 1")),
        ("image_size = 1000000", ("image_size = 1000000", "up to 4096")),
        ("image_size = 8.5", ("image_size = 8.5", "whole number")),
        ('image_size = "8"', ("image_size = '8'", "whole number")),
        ("validation = 0", ("validation = 0",)),
        ("validation = 1.0", ("validation = 1.0",)),
        ("validation = true", ("validation = True",)),
        ("validation = 1000", ("cannot split 1000 off 12",)),
        ("validation = 0.001", ("cannot split 0.001 off 12",)),
        ("validation = nan", ("validation = nan",)),
        ('augment = "flip"', ("'flip'", "did you mean 'crop_flip'")),
        ('validation_from = "tests"', ("did you mean 'test'",)),
    ],
)
def test_a_key_that_cannot_be(folder: Path, keys: str, parts: tuple[str, ...]) -> None:
    with refused(*parts):
        read(folder, keys)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", ["", "nowhere", "file.zip", "train/a/0.png", "empty", "~nobody/x", "a\\u0000b"])
def test_a_folder_that_is_none(folder: Path, split: str, name: str) -> None:
    (folder / "file.zip").write_bytes(b"PK")
    (folder / "empty").mkdir()
    with refused():
        read(folder, **{split: name})


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no image"),
        lambda path: path.write_bytes(path.read_bytes()[:60]),
        lambda path: image(size=(9, 8)).save(path),
        to_folder,
        to_link,
    ],
    ids=["empty", "text", "cut", "another size", "a folder", "a broken link"],
)
@pytest.mark.parametrize("place", ["train/a/3.png", "test/b/0.png"])
def test_a_picture_that_cannot_be_used_is_named(folder: Path, place: str, change: Callable[[Path], None]) -> None:
    change(folder / place)
    with refused(place):
        read(folder)


def test_classes_without_pictures_and_a_class_alone(folder: Path) -> None:
    (folder / "train" / "c").mkdir()
    with refused("train/c has no images"):
        read(folder)
    (folder / "train" / "c").rmdir()
    assert read(folder).labels == ("a", "b")
    shutil.rmtree(folder / "train" / "b")
    shutil.rmtree(folder / "test" / "b")
    with refused("one class"):
        read(folder)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "F"])
def test_pictures_of_any_mode_are_read_as_they_look(folder: Path, mode: str) -> None:
    plain = image(seed=3)
    suffix = {"CMYK": "jpg", "YCbCr": "jpg", "HSV": "png", "LAB": "tif", "F": "tif", "PA": "png"}.get(mode, "png")
    path = folder / "train" / "a" / "3.png"
    path.unlink()
    made = grey_16(3) if mode == "I;16" else plain.convert("P").convert("PA") if mode == "PA" else plain.convert(mode)
    try:
        made.save(path.with_suffix(f".{suffix}"))
    except OSError:
        pytest.skip(f"Pillow writes no {suffix} in {mode}")
    splits = read(folder, "validation = 1")
    assert splits.train.images.shape[1:] == (3, 8, 8)


def test_16_bits_are_scaled_and_not_cut(tmp_path: Path) -> None:
    from autocompress.studies.data.decoding import decode_images

    wide, path = grey_16(), tmp_path / "wide.png"
    wide.save(path)
    (found,) = decode_images([path], str)
    assert found.shape == (1, 8, 8)
    assert np.array_equal(found[0].numpy(), np.asarray(wide) // 256)


def test_transparency_and_how_a_camera_was_held_are_read_as_torchvision_does(folder: Path) -> None:
    from torchvision.datasets.folder import default_loader

    from autocompress.studies.data.decoding import decode_images

    held = image(size=(8, 8))
    held.getexif()[0x0112] = 6
    held.save(folder / "held.jpg", exif=held.getexif())
    clear = image("RGBA")
    clear.putalpha(100)
    clear.save(folder / "clear.png")
    for name in ("held.jpg", "clear.png"):
        path = folder / name
        (found,) = decode_images([path], str)
        assert np.array_equal(found.permute(1, 2, 0).numpy(), np.asarray(default_loader(str(path))))


def encoded(seed: int = 0) -> bytes:
    held = io.BytesIO()
    image(seed=seed).save(held, "PNG")
    return held.getvalue()


GOOD = [encoded(number) for number in range(12)]


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        ({"label": [10**12] + [0, 1] * 5 + [0]}, ("label 1000000000000 for 12 images",)),
        ({"label": [5000] + [0, 1] * 5 + [0]}, ("label 5000 for 12 images",)),
        ({"label": [-1] + [0, 1] * 5 + [0]}, ("row 0 has label -1",)),
        ({"label": [None] + [0, 1] * 5 + [0]}, ("1 empty rows",)),
        ({"label": [0.5] * 12}, ("type double",)),
        ({"label": ["cat"] * 12}, ("type string",)),
        ({"label": [0] * 12}, ("one class",)),
        ({"image": [None, *GOOD[1:]]}, ("row 0: not a readable image (it is empty)",)),
        ({"image": [b"xx", *GOOD[1:]]}, ("row 0: not a readable image",)),
        ({"image": ["text"] * 12}, ("type string", "encoded bytes")),
        ({"image": [], "label": []}, ("has no rows",)),
        ({"label": None}, ("no column 'label'",)),
        ({"image": None}, ("no column 'image'",)),
    ],
)
def test_a_parquet_file_that_cannot_be_used(folder: Path, columns: dict[str, Any], parts: tuple[str, ...]) -> None:
    whole: dict[str, Any] = {"image": GOOD, "label": [0, 1] * 6}
    pq.write_table(pa.table(whole), folder / "te.parquet")
    changed = {name: values for name, values in {**whole, **columns}.items() if values is not None}
    pq.write_table(pa.table(changed), folder / "tr.parquet")
    with refused(*parts):
        read(folder, kind="parquet", train="tr.parquet", test="te.parquet")


@pytest.mark.parametrize("content", [b"", b"x", None])
def test_what_is_no_parquet_file(folder: Path, content: bytes | None) -> None:
    path = folder / "tr.parquet"
    path.mkdir() if content is None else path.write_bytes(content)
    with refused("tr.parquet", "not a readable parquet file"):
        read(folder, kind="parquet", train="tr.parquet", test="tr.parquet")


@pytest.mark.parametrize(
    ("low", "high", "why"),
    [
        *((0, 1, "become black"), (0.1, 0.9, "become black")),
        *((0, 65535, "0 to 255"), (-1, 1, "0 to 255"), (0, float("nan"), "0 to 255")),
    ],
)
def test_floating_greys_that_are_not_of_8_bits_are_refused(tmp_path: Path, low: float, high: float, why: str) -> None:
    from autocompress.studies.data.decoding import decode_images

    pixels = np.full((4, 4), low, np.float32)
    pixels[0] = high
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with refused(why, "a.tif"):
        decode_images([tmp_path / "a.tif"], lambda row: "a.tif")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
    assert not decode_images([tmp_path / "a.tif"], lambda row: "a.tif").any()


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    from autocompress.studies.data import decoding

    monkeypatch.setattr(decoding, "available_bytes", lambda: 2**20)
    with refused("GiB in memory", "are free"):
        decoding.check_memory(2**21, "10 images")


def test_data_that_do_not_fit_into_memory_are_refused_before_they_are_taken() -> None:
    from autocompress.studies.data.decoding import check_memory

    with refused("GiB in memory", "are free"):
        check_memory(2**60, "10 images")
    check_memory(1000, "10 images")


def test_every_key_counts_or_is_refused() -> None:
    """Each source says which keys count; `root` does with torchvision alone."""
    from autocompress.studies.data.source import DATA_SOURCES

    assert "root" not in ImageFolder.keys
    assert [name for name in DATA_SOURCES.names() if "root" in DATA_SOURCES.make(name).keys] == ["torchvision"]
