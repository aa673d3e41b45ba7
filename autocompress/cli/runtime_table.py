"""The runtimes on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from .screen import screen


def describe_runtimes() -> list[dict[str, Any]]:
    """Return every known runtime in plain values.

    They say whether it can be used here and why not, its version, its devices, and the bits and channel counts that it
    can really use on the first of its devices.
    """
    from ..errors import PluginError
    from ..evaluators.runtimes.base import Availability
    from ..evaluators.runtimes.registry import all_runtimes
    from ..spaces.target import Target

    found = []
    for name, runtime in sorted(all_runtimes().items()):
        state = Availability(False, str(runtime)) if isinstance(runtime, PluginError) else runtime.available()
        entry: dict[str, Any] = {
            "name": name,
            "available": state.ok,
            "builds": state.builds,
            "reason": state.reason,
            "version": state.version,
            "devices": list(state.devices),
        }
        if not isinstance(runtime, PluginError) and state.builds and state.devices:
            can = runtime.capabilities(Target(name, state.devices[0]))
            entry |= {
                "latency_bits": list(can.latency_bits),
                "storage_bits": list(can.storage_bits),
                "channel_multiple": can.channel_multiple,
                "weight_top": can.weight_top,
                "patterns": list(can.patterns),
                "table_bits": list(can.table_bits),
                "ways": _by_bits(can.ways),
                "recurrent": {kind: _by_bits(ways) for kind, ways in can.recurrent.items()},
            }
        found.append(entry)
    return found


def _by_bits(ways: Mapping[int, tuple[str, ...]]) -> dict[str, list[str]]:
    return {str(bits): list(forms) for bits, forms in ways.items()}


def print_runtimes(described: list[dict[str, Any]]) -> None:
    """Print what `describe_runtimes` says."""
    heads = (
        "runtime",
        "here",
        "version",
        "devices",
        "bits that can be faster",
        "that store less",
        "zeros",
        "channels by",
    )
    table = Table(box=box.SIMPLE_HEAD)
    for head in heads:
        table.add_column(head, overflow="fold")
    for entry in described:
        table.add_row(
            entry["name"],
            _here(entry),
            entry["version"] or "-",
            " ".join(entry["devices"]) or "-",
            " ".join(map(str, entry.get("latency_bits", []))) or "-",
            " ".join(map(str, entry.get("storage_bits", []))) or "-",
            " ".join(entry.get("patterns", [])) or "-",
            str(entry.get("channel_multiple", "-")),
        )
    screen(150).print(table)


def _here(entry: dict[str, Any]) -> str:
    if entry["available"]:
        return "yes"
    return f"{'builds only' if entry['builds'] else 'no'}: {entry['reason']}"
