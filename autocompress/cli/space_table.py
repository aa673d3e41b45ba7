"""A space on the screen."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


def print_space(described: dict[str, Any]) -> None:
    """Print what `search.describe.describe` says as tables."""
    from ..search.report.space_report import patterns_probed

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=150)  # a file is as wide as it needs to be
    layers = _table("Layers", ("layer", "kind", "weight", "MMACs", "group", "region", "bits", "patterns"))
    for layer in described["layers"]:
        region = layer["bits_region"]
        layers.add_row(
            layer["name"],
            layer["kind"],
            " x ".join(map(str, layer["weight"])),
            f"{layer['macs'] / 1e6:.2f}",
            layer["group"] or "-",
            "-" if region is None else str(region),
            " ".join(map(str, layer["bits"])),
            " ".join(layer["patterns"]),
        )
    console.print(layers)
    groups = _table("Groups: layers whose channels shrink together", ("group", "kind", "channels", "choices", "layers"))
    for group in described["groups"]:
        choices = " ".join(map(str, group["choices"]))
        groups.add_row(group["name"], group["kind"], str(group["channels"]), choices, ", ".join(group["layers"]))
    console.print(groups)
    numbers = _table("Numbers the sampler draws", ("number", "range"))
    for name, parameter in described["numbers"].items():
        if "options" in parameter:
            numbers.add_row(name, " | ".join(parameter["options"]))
        else:
            scale = ", logarithmic" if parameter["log"] else ""
            numbers.add_row(name, f"{parameter['low']:g} to {parameter['high']:g}{scale}")
    console.print(numbers)
    if described["left_out"]:
        left = _table("Left out", ("what", "why"))
        for entry in described["left_out"]:
            left.add_row(entry["name"], entry["reason"])
        console.print(left)
    if described.get("knobs"):  # not in what earlier versions wrote
        _print_knobs(console, described["knobs"])
    for target, patterns in patterns_probed(described).items():
        for kind, p in patterns.items():
            console.print(
                f"probe: the teacher with {kind} zeros takes {p['ratio_to_dense']:.2f} "
                f"({p['low']:.2f} to {p['high']:.2f}) of the dense teacher's time on {target}"
            )


def _print_knobs(console: Console, knobs: dict[str, Any]) -> None:
    heads = ("kind", "decision", "time", "95 % interval", "verdict")
    bits = _table("What fewer bits win: time of small networks of one kind over that in 32 bits", (*heads, "on"))
    for entry in knobs["bits"]:
        frozen = ": frozen" if entry["frozen"] else ": kept" if entry["verdict"] == "does not pay" else ""
        verdict = f"{entry['verdict']}{frozen}"
        bits.add_row(entry["kind"], f"{entry['bits']} bits", *_measured(entry), verdict, entry["target"])
    console.print(bits)
    if knobs["channels"]:
        title = "What fewer channels win: a step pays that wins half of what its arithmetic promises"
        channels = _table(title, (*heads, "on"))
        for entry in knobs["channels"]:
            count = f"{entry['channels'] - entry['step']} of {entry['channels']} in {entry['bits']} bits"
            channels.add_row(entry["kind"], count, *_measured(entry), entry["verdict"], entry["target"])
        console.print(channels)
    steps = ", ".join(f"{kind} {step}" for kind, step in knobs["steps"].items())
    console.print(f"channels in steps of: {steps} (a group: the largest of its layers; declared {knobs['declared']})")


def _measured(entry: dict[str, Any]) -> tuple[str, str]:
    disturbed = ", disturbed" if entry["disturbed"] else ""
    return f"{entry['ratio']:.2f}", f"{entry['low']:.2f} to {entry['high']:.2f}{disturbed}"


def _table(title: str, heads: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table
