"""The runtimes on the screen."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


def describe_runtimes() -> list[dict[str, Any]]:
    """Every known runtime in plain values: whether it can be used here and why not, version, devices, and the bits
    and channel counts that it can really use on the first of its devices."""
    from .evaluators.runtimes.registry import all_runtimes
    from .spaces.target import Target

    found = []
    for name, runtime in sorted(all_runtimes().items()):
        state = runtime.available()
        entry: dict[str, Any] = {"name": name, "available": state.ok, "reason": state.reason, "version": state.version}
        entry["devices"] = list(state.devices)
        if state.ok and state.devices:
            can = runtime.capabilities(Target(name, state.devices[0]))
            entry |= {
                "latency_bits": list(can.latency_bits),
                "storage_bits": list(can.storage_bits),
                "channel_multiple": can.channel_multiple,
            }
        found.append(entry)
    return found


def print_runtimes(described: list[dict[str, Any]]) -> None:
    """Print what `describe_runtimes` says."""
    heads = ("runtime", "here", "version", "devices", "bits that can be faster", "that store less", "channels by")
    table = Table(box=box.SIMPLE_HEAD)
    for head in heads:
        table.add_column(head, overflow="fold")
    for entry in described:
        table.add_row(
            entry["name"],
            "yes" if entry["available"] else f"no: {entry['reason']}",
            entry["version"] or "-",
            " ".join(entry["devices"]) or "-",
            " ".join(map(str, entry.get("latency_bits", []))) or "-",
            " ".join(map(str, entry.get("storage_bits", []))) or "-",
            str(entry.get("channel_multiple", "-")),
        )
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=150)  # a file is as wide as it needs to be
    console.print(table)
