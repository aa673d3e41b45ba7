"""A sample of the zoo: small networks of three libraries, found to shrink, whose joint plans run."""

from __future__ import annotations

import copy
import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from autocompress.spaces.graph.capture import capture
from autocompress.spaces.groups import remove_channels
from autocompress.spaces.network import look_at_network
from benchmarks import zoo_row
from benchmarks.zoo_networks import SOURCES
from benchmarks.zoo_row import alike, coverage

SAMPLE = [
    ("torchvision", "squeezenet1_1"),
    ("torchvision", "shufflenet_v2_x1_0"),
    ("torchvision", "mobilenet_v3_small"),
    ("timm", "resnet26d"),
    ("timm", "convnextv2_atto"),
    ("timm", "skresnet18"),
    ("timm", "mixer_s32_224"),
    ("timm", "starnet_s1"),
    ("transformers", "Bert"),
    ("transformers", "GPT2"),
    ("transformers", "Llama"),
    ("transformers", "Swin"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("library", "name"), SAMPLE, ids=[name for _, name in SAMPLE])
def test_most_of_a_network_lies_in_groups_and_any_joint_plan_runs(library: str, name: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: pip install 'autocompress[zoo]'")
    torch.manual_seed(0)
    make, _ = SOURCES[library]
    module, example = make(name)
    graph = capture(module.eval(), example)
    network = look_at_network(graph, example)
    assert coverage(graph, network)["covered"] >= 0.9
    inputs, draw = alike(example, 2), random.Random(0)
    with torch.no_grad():
        torch.testing.assert_close(graph(inputs), module(inputs), rtol=1e-4, atol=1e-4)
        for _ in range(2):
            student = copy.deepcopy(graph)
            kept = {group.name: draw.choice(group.choices(8, 0.1)) for group in network.groups}
            remove_channels(student, network.groups, kept)
            outputs = student(inputs)
            assert outputs.shape == module(inputs).shape and outputs.isfinite().all()


@pytest.mark.slow
def test_the_command_writes_files_of_both_plans_that_are_their_students() -> None:
    command = [sys.executable, "zoo.py", "torchvision", "squeezenet1_1"]
    told = subprocess.run(command, cwd=Path(zoo_row.__file__).parent, capture_output=True, text=True, check=True).stdout
    assert "1 of 1 without a traceback" in told and "2 of 2 files within 1e-04, 2 in int8" in told, told
