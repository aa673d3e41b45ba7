"""The studies that benchmarks run beside the bundled ones."""

from __future__ import annotations

from pathlib import Path

import torch

from autocompress.spaces.network import look_at_network
from autocompress.studies.models import build_model
from autocompress.studies.study_file import load_study

STUDY = Path(__file__).parents[1] / "studies" / "mobilenet_cifar10.toml"


def test_the_mobilenet_has_residual_streams_that_are_free_to_be_pruned() -> None:
    settings = load_study(str(STUDY))
    assert settings.teacher is not None and settings.teacher.model is not None
    network = build_model(settings.teacher.model, 10, folder=STUDY.parent).eval()
    image = torch.zeros(2, 3, 32, 32)
    assert network(image).shape == (2, 10)
    groups = look_at_network(network, image).groups
    assert [group.kind for group in groups].count("stream") == 3 and len(groups) > 8
