"""What engines of TensorRT for RTX are built from, and how large they become; no GPU is needed to build them.

    python benchmarks/engines.py [--networks resnet20 resnet18 mobilenet_v2]

It prints layers with the precision of their kernels as the network was parsed, bytes of the engine and seconds of
building, for each bit-width. Nothing is run: what a GPU makes of an engine is told by `autocompress bench` there.
"""

from __future__ import annotations

import argparse
import time

from networks import NETWORKS, Network, machine_line

from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.tensorrt import TensorRtRtx, network_summary


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet20", "resnet18", "mobilenet_v2"], choices=NETWORKS)
    options = parser.parse_args()
    runtime = TensorRtRtx()
    state = runtime.available()
    print(f"{machine_line()}; TensorRT for RTX {state.version or 'absent'}")
    print(f"engines are run here: {'yes' if state.ok else f'no, {state.reason}'}")
    if not state.builds:
        return
    for name in options.networks:
        network = Network(name)
        model = network.template.write(network.module)
        for bits in (32, 16, 8):
            asked = {} if bits == 32 else {layer.name: bits for layer in network.layers}
            request = BuildRequest(model, network.template.layers, asked, network.inputs.numpy(), network.module)
            start = time.perf_counter()
            said = network_summary(runtime, request)
            print(f"{name:13} {bits:2} bits  {time.perf_counter() - start:4.1f} s  {said}", flush=True)


if __name__ == "__main__":
    main()
