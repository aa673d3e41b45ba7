"""Data in memory: what a batch holds depends on (seed, epoch, step) and on nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

from autocompress.errors import DataError, UnknownName
from autocompress.studies.data.images import ImageData, check_labels
from autocompress.studies.data.sources import as_data, materialise
from autocompress.studies.data.streams import StreamedData


def images(count: int = 50, channels: int = 3, size: int = 16, **options: Any) -> ImageData:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
    return ImageData(pixels, torch.arange(count) % 10, **options)


@pytest.mark.parametrize("augment", ["none", "crop", "crop_flip"])
def test_same_epoch_and_step_give_the_same_batch(augment: str) -> None:
    data = images(augment=augment)
    plan = data.epoch_plan(epoch=3, batch_size=8, seed=5)
    later = [plan.batch(i) for i in reversed(range(plan.steps))][::-1]
    for step, (inputs, labels) in enumerate(later):
        again, same_labels = data.batch(3, step, 8, 5)
        assert torch.equal(inputs, again) and torch.equal(labels, same_labels)


def test_epochs_seeds_and_steps_differ() -> None:
    data = images(augment="crop_flip")
    first = data.batch(0, 0, 8, 0)[0]
    for other in ((1, 0, 8, 0), (0, 1, 8, 0), (0, 0, 8, 1)):
        assert not torch.equal(first, data.batch(*other)[0])


def test_an_epoch_visits_each_row_at_most_once_and_its_labels_follow() -> None:
    data = images(50)
    plan = data.epoch_plan(0, 8, 0)
    rows = torch.cat([plan.indices(i) for i in range(plan.steps)])
    assert plan.steps == 6 and len(rows) == 48 and len(rows.unique()) == 48
    for step in range(plan.steps):
        inputs, labels = plan.batch(step)
        assert torch.equal(inputs, data.inputs(plan.indices(step)))
        assert torch.equal(labels, data.labels[plan.indices(step)])


def test_data_smaller_than_a_batch_is_one_batch() -> None:
    plan = images(5).epoch_plan(0, 8, 0)
    assert plan.steps == 1 and len(plan.batch(0)[1]) == 5


@pytest.mark.parametrize("augment", ["crop", "crop_flip"])
def test_augmented_image_is_a_window_of_the_padded_one(augment: str) -> None:
    data = images(20, augment=augment)
    plan = data.epoch_plan(0, 20, 0)
    inputs, labels = plan.batch(0)
    assert inputs.shape == (20, 3, 16, 16) and torch.equal(labels, data.labels[plan.indices(0)])
    for image, row in zip(inputs, plan.indices(0).tolist(), strict=True):
        padded = torch.nn.functional.pad(data.inputs([row])[0], (2, 2, 2, 2))
        windows = [padded[:, y : y + 16, x : x + 16] for y in range(5) for x in range(5)]
        mirrored = [w.flip(-1) for w in windows] if augment == "crop_flip" else []
        assert any(torch.equal(image, window) for window in windows + mirrored)


def test_inputs_are_never_augmented() -> None:
    assert torch.equal(images(augment="crop_flip").inputs(slice(0, 9)), images().inputs(range(9)))


@settings(max_examples=30, deadline=None)
@given(
    mean=st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    std=st.lists(st.floats(0.05, 3), min_size=3, max_size=3),
)
def test_normalisation_is_undone_by_its_inverse(mean: list[float], std: list[float]) -> None:
    data = images(4, mean=tuple(mean), std=tuple(std))
    back = data.inputs(range(4)) * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
    assert torch.allclose(back * 255, data.images.float(), atol=1e-2)


def test_plain_float_inputs_pass_as_they_are() -> None:
    data = ImageData(torch.randn(12, 7), torch.zeros(12, dtype=torch.int64))
    inputs, _ = data.batch(0, 0, 12, 0)
    assert inputs.shape == (12, 7)
    before = data.images.clone()
    data.inputs(slice(None)).zero_()
    assert torch.equal(data.images, before), "a batch must not share memory with the data"


@settings(max_examples=30, deadline=None)
@given(count=st.integers(2, 60), fraction=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_split_is_disjoint_complete_and_repeatable(count: int, fraction: float, seed: int) -> None:
    data = ImageData(torch.arange(count).float()[:, None], torch.zeros(count, dtype=torch.int64))
    if not 0 < round(fraction * count) < count:
        with pytest.raises(DataError, match="at least one"):
            data.split(fraction, seed)
        return
    rest, part = data.split(fraction, seed)
    values = rest.images.flatten().tolist() + part.images.flatten().tolist()
    assert sorted(values) == list(range(count)) and len(part) == round(fraction * count)
    assert torch.equal(data.split(fraction, seed)[1].images, part.images)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"images": torch.zeros(2, 3, 4, 4, dtype=torch.float64)}, "uint8 or float32"),
        ({"labels": torch.zeros(2)}, "labels must be int64"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "do not belong together"),
        ({"mean": (0.5,)}, "mean has 1 numbers for 3 channels"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be above 0"),
        ({"images": torch.zeros(2, 3), "augment": "crop"}, "needs images"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"images": torch.zeros(2, 3, 8, 8), "labels": torch.zeros(2, dtype=torch.int64)}
    with pytest.raises(DataError, match=message) as caught:
        ImageData(**{**good, **parts})
    assert "\n" not in str(caught.value)


def test_unknown_augmentation_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'crop_flip'"):
        images(augment="cropflip")


@pytest.mark.parametrize("wrong", [-1, 10])
def test_label_out_of_range_names_row_and_range(wrong: int) -> None:
    with pytest.raises(DataError, match=f"test labels: row 2 has label {wrong}, allowed are 0 to 9"):
        check_labels(torch.tensor([0, 9, wrong, 3]), 10, "test")


class Flipping(Dataset[tuple[Tensor, int]]):
    """Items that change from one fetch to the next."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.full((3, 4, 4), float(index)) + torch.rand(1), index % 5


def still(count: int = 40) -> TensorDataset:
    return TensorDataset(torch.arange(count * 12).float().view(count, 3, 2, 2), torch.arange(count) % 5)


def test_unchanging_dataset_is_read_into_memory_in_order() -> None:
    for source in (still(), DataLoader(still(), batch_size=7, shuffle=True, drop_last=True)):
        data = as_data(source)
        assert isinstance(data, ImageData) and data.cacheable
        assert torch.equal(data.images, still().tensors[0]) and torch.equal(data.labels, still().tensors[1])


def test_random_dataset_is_streamed_and_is_not_cacheable() -> None:
    data = as_data(Flipping())
    assert isinstance(data, StreamedData) and not data.cacheable and len(data) == 40
    plan = data.epoch_plan(0, 16, 0)
    assert plan.steps == 2
    rows = torch.cat([plan.batch(i)[0][:, 0, 0, 0].floor() for i in range(2)])
    assert len(rows.unique()) == 32
    with pytest.raises(ValueError, match="in order"):
        plan.batch(0)


def test_too_large_or_specially_sampled_data_is_streamed() -> None:
    assert isinstance(as_data(still(), limit_bytes=100), StreamedData)
    sampler = WeightedRandomSampler([1.0] * 40, 40)
    assert isinstance(as_data(DataLoader(still(), batch_size=8, sampler=sampler)), StreamedData)


def test_a_loaders_own_collate_function_is_used() -> None:
    def doubled(items: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
        return torch.stack([2 * x for x, _ in items]), torch.tensor([int(y) for _, y in items])

    data = as_data(DataLoader(still(), batch_size=8, collate_fn=doubled))
    assert isinstance(data, ImageData) and torch.equal(data.images, 2 * still().tensors[0])

    def noisy(items: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
        inputs, labels = doubled(items)
        return inputs + torch.rand(1), labels

    assert isinstance(as_data(DataLoader(still(), batch_size=8, collate_fn=noisy)), StreamedData)


def test_streamed_labels_are_checked_as_they_come() -> None:
    data = as_data(Flipping())
    assert isinstance(data, StreamedData)
    with pytest.raises(DataError, match="allowed are 0 to 1"):
        data.checked(lambda labels, split: check_labels(labels, 2, split)).epoch_plan(0, 32, 0).batch(0)


class Broken(Dataset[Any]):
    def __init__(self, item: Any) -> None:
        self.item = item

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.item, Exception):
            raise self.item
        return self.item


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([(torch.zeros(3), 0)])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Broken((torch.zeros(3), torch.zeros(3, dtype=torch.complex64))), r"labels must be .* got complex64 \[\d, 3\]"),
        (Broken((torch.zeros(3, dtype=torch.uint8), 1)), "uint8 .* give float tensors"),
        (Broken({"image": torch.zeros(3)}), "have no 'input', only image"),
        (Broken(KeyError("x")), "validation split cannot be read: KeyError"),
        (Broken((torch.full((3,), float("nan")), 1)), "NaN or infinite inputs"),
        (TensorDataset(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)), "validation split is empty"),
    ],
)
def test_unusable_datasets_get_one_line(source: Dataset[Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        materialise(source, "validation")
    assert "\n" not in str(caught.value)


def test_split_too_large_for_memory_says_what_to_do() -> None:
    with pytest.raises(DataError, match="Subset"):
        materialise(still(), "test", limit_bytes=100)
