"""Keys name checkpoints and measurements in folders of studies: a later version must give each student its old key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocompress.spaces.spec import Pattern, Recovery, StudentSpec

FRESH, LABELS = Recovery(fresh=True), Recovery(optimizer="adamw", alpha=0.0)
AWARE = Recovery(quantization_aware=True, feature_weight=0.5)
HALF = Pattern("2:4", 0.5)


@pytest.mark.parametrize(
    ("spec", "key", "shape_key", "training_key"),
    [
        (StudentSpec(), "b370eedf5226df82", "b370eedf5226df82", "b370eedf5226df82"),
        (StudentSpec({"a": 3}), "80313afa01d2a76e", "80313afa01d2a76e", "80313afa01d2a76e"),
        (StudentSpec({"b": 2, "a": 3}, {"x": 8}), "31aaf2416a972930", "31aaf2416a972930", "5642aec8f469cb1a"),
        (
            StudentSpec(bits={"x": 4, "y": 16}, target="arm"),
            "08c769d79de62d45",
            "08c769d79de62d45",
            "b370eedf5226df82",
        ),
        (
            StudentSpec(patterns={"x": HALF}, recovery=Recovery()),
            "05ccb8fff7ea8a7e",
            "b176775e45ac7872",
            "05ccb8fff7ea8a7e",
        ),
        (
            StudentSpec({"a": 3}, {"x": 8}, recovery=FRESH),
            "1000b7a407e729ca",
            "8f467b8d7af1f216",
            "777f5faddde78f2e",
        ),
        (
            StudentSpec({"a": 3}, {"x": 8}, recovery=LABELS),
            "928e04caedd22d8c",
            "8f467b8d7af1f216",
            "401ed584903f708e",
        ),
        (
            StudentSpec(bits={"x": 8}, recovery=AWARE, replacements={"act": "ReLU"}, target="arm"),
            "30851c4b76d6f247",
            "128014898486a0c3",
            "ad5b12aa7722b0b7",
        ),
    ],
)
def test_students_of_earlier_versions_keep_their_keys(
    spec: StudentSpec, key: str, shape_key: str, training_key: str
) -> None:
    assert (spec.key(), spec.shape_key(), spec.training_key()) == (key, shape_key, training_key)


def test_bits_and_activations_do_not_divide_a_training_that_does_not_see_them() -> None:
    plain = StudentSpec(bits={"x": 8}, recovery=Recovery())
    dynamic = replace(plain, activations={"x": "dynamic"})
    assert dynamic.key() != plain.key() and dynamic.shape_key() != plain.shape_key()
    assert dynamic.training_key() == plain.training_key()
    seen = [replace(spec, recovery=AWARE).training_key() for spec in (plain, dynamic)]
    assert seen[0] != seen[1]
