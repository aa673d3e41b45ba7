"""What a runtime, fewer bits and fewer channels are worth: latency beside ONNX Runtime in fp32 of the same network.

    python benchmarks/runtime_ratios.py [--networks resnet20] [--runtimes onnxruntime openvino] [--folder builds]

For every runtime that can run here: fp32, 16 bits and int8 where it offers them, half the channels of every group
(snapped to what the runtime likes), and both. Files of one runtime take turns with the reference in the same processes.
With --folder, files are kept, and a second run only measures. A cell that cannot be built or run says why.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from networks import NETWORKS, Network, Variant, machine_line

from autocompress.errors import AutoCompressError, PluginError
from autocompress.evaluators.bench import bench
from autocompress.evaluators.runtimes.registry import all_runtimes, get_runtime
from autocompress.evaluators.timing.processes import TimedFile, TimingRequest, time_in_fresh_process

VARIANTS = (Variant(), Variant(16), Variant(8), Variant(32, 0.5), Variant(8, 0.5))


def built(network: Network, runtime: str, folder: Path) -> dict[Variant, TimedFile]:
    """Return those variants that can be built and run; the others are printed with their reason."""
    found = {}
    for variant in VARIANTS:
        start = time.perf_counter()
        try:
            file = network.build(runtime, variant, folder)
            time_in_fresh_process(TimingRequest((file,), max_rounds=0))
        except Exception as error:  # converters raise what they like; one cell must not end the table
            print_row(network.name, runtime, variant.name, " ".join(f"absent: {error}".split())[:200])
            if not isinstance(error, AutoCompressError):
                print(f"    ({type(error).__name__})")
        else:
            found[variant] = file
            print(f"    {variant.name} built and tried in {time.perf_counter() - start:.0f} s", flush=True)
    return found


def remark(file: TimedFile, network: Network, variant: Variant) -> str:
    """Return in what the file differs from what was asked for, if it does."""
    runtime = get_runtime(file.target.runtime)
    try:
        bits = network.spec(variant, runtime.capabilities(file.target)).bits
        operators = runtime.inspect(file.path, file.target)
        return runtime.remark(operators, [bits.get(layer.name, 32) for layer in network.layers])
    except AutoCompressError as error:
        return str(error)


def print_row(*cells: str) -> None:
    """Print one row of the table."""
    print("{:13} {:12} {:19} {}".format(*cells), flush=True)


def usable(names: list[str] | None) -> list[str]:
    """Return the runtimes of these names, or of all, that can run on this CPU; the others are printed."""
    found = []
    for name, runtime in all_runtimes().items():
        if names and name not in names:
            continue
        if isinstance(runtime, PluginError):
            print(f"{name}: {runtime}")
        elif not (state := runtime.available()).ok:
            print(f"{name}: cannot run here: {state.reason}")
        elif "cpu" not in state.devices:
            print(f"{name}: runs on {', '.join(state.devices)}, this compares CPUs")
        else:
            found.append(name)
    return found


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet20", "resnet18", "mobilenet_v2"], choices=NETWORKS)
    parser.add_argument("--runtimes", nargs="+", help="By default all that can run here.")
    parser.add_argument("--folder", type=Path, help="Where files are kept between runs.")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="Of timing per file and process.")
    options = parser.parse_args()
    print(f"{machine_line()}; batch 1, 1 thread, {options.processes} processes")
    runtimes = usable(options.runtimes)
    with tempfile.TemporaryDirectory() as passing:
        folder = options.folder or Path(passing)
        for name in options.networks:
            network = Network(name)
            reference = network.build("onnxruntime", Variant(), folder)
            for runtime in runtimes:
                files = built(network, runtime, folder)
                if not files:
                    continue
                try:
                    _, *latencies = bench(
                        [reference, *files.values()], processes=options.processes, max_seconds=options.seconds
                    )
                except AutoCompressError as error:
                    print_row(name, runtime, "all", f"absent: {error}")
                    continue
                for (variant, file), latency in zip(files.items(), latencies, strict=True):
                    told = remark(file, network, variant)
                    print_row(
                        name,
                        runtime,
                        variant.name,
                        f"{latency.ratio:.3f} ({latency.ratio_low:.3f} to {latency.ratio_high:.3f})  "
                        f"{latency.p50_ms:.3f} ms  {latency.peak_memory_mb:.0f} MB"
                        + (f"  [{told}]" if told else "")
                        + ("  [disturbed]" if latency.disturbed else ""),
                    )


if __name__ == "__main__":
    main()
