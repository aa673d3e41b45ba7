"""The layout in memory that students are trained in."""

from __future__ import annotations

import subprocess
import sys

TRAINED = """
import torch
from torch import nn
from autocompress.compression.precision import module_to_training_layout, to_training_layout

torch.set_num_threads(1)
cpu = torch.device("cpu")
layer = module_to_training_layout(nn.Conv2d(4, 8, 1, 2, bias=False), cpu)
for _ in range(1500):
    layer(to_training_layout(torch.randn(24, 4, 8, 8), cpu)).sum().backward()
    kept = [torch.empty(int(size)) for size in torch.randint(1, 400, (20,))]
print("trained")
"""


def test_the_gradient_of_a_strided_pointwise_convolution_spoils_no_memory() -> None:
    """With AVX2 and one thread it did, wherever channels were no multiple of 8: the process died somewhere later."""
    done = subprocess.run([sys.executable, "-c", TRAINED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr[-500:]
