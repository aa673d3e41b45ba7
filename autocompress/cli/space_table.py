"""A space on the screen."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .screen import screen

MANY = 8
"""Of a variable with more options, the first few and the last one are shown."""


def print_space(described: dict[str, Any]) -> None:
    """Print what `search.report.space_report.describe_space` says as tables."""
    console = screen(150)
    layers = _table("Layers", ("layer", "kind", "weight", "MMACs", "group", "decided by"))
    everywhere = {variable["name"] for variable in described["variables"] if variable.get("everywhere")}
    for layer in described["layers"]:
        decided = [name for name in layer["variables"] if name not in everywhere]
        layers.add_row(
            layer["name"],
            layer["kind"],
            " x ".join(map(str, layer["weight"])),
            f"{layer['macs'] / 1e6:.2f}",
            layer["group"] or "-",
            ", ".join(decided) or "-",
        )
    console.print(layers)
    variables = _table("Decisions", ("variable", "role", "options", "layers"))
    for variable in described["variables"]:
        options = _options(variable) + ("" if variable["searched"] else " (not searched)")
        where = _network_of(variable, described) if variable.get("everywhere") else ", ".join(variable["layers"])
        variables.add_row(variable["name"], variable["role"], options, where or "-")
    console.print(variables)
    if described["left_out"]:
        left = _table("Left out", ("what", "why"))
        for entry in described["left_out"]:
            left.add_row(entry["name"], entry["reason"])
        console.print(left)
    if described["profile"]:
        _print_profile(console, described["profile"])
    for target, patterns in described["patterns"].items():
        for kind, p in patterns.items():
            console.print(
                f"measured on {target}: the teacher with {kind} zeros takes {p['ratio']:.2f} "
                f"({p['low']:.2f} to {p['high']:.2f}) of the dense teacher's time"
            )


def _network_of(variable: dict[str, Any], described: dict[str, Any]) -> str:
    """Return what a decision about all layers of a network is about, in words."""
    network = {layer["name"]: layer.get("network") for layer in described["layers"]}
    names = dict.fromkeys(network.get(name) for name in variable["layers"])
    return "every layer" if None in names else f"every layer of {' and '.join(n or 'the teacher' for n in names)}"


def _options(variable: dict[str, Any]) -> str:
    if variable["range"] is not None:
        low, high, scale = variable["range"]
        return f"{low:g} to {high:g}{', logarithmic' if scale == 'log' else ''}; {variable['options'][0]:g} by default"
    names = variable.get("names", {})
    options = [names.get(str(o)) or (f"{o:g}" if isinstance(o, float) else str(o)) for o in variable["options"]]
    shown = [*options[: MANY - 1], "...", options[-1]] if len(options) > MANY else options
    return " | ".join(shown)


def _print_profile(console: Console, profile: dict[str, Any]) -> None:
    heads = ("kind", "decision", "time", "95 % interval", "verdict")
    bits = _table("What fewer bits win: time of small networks of one kind over that in 32 bits", (*heads, "on"))
    for entry in profile["bits"]:
        kept = entry["offered"] and entry["verdict"] == "does not pay"
        verdict = f"{entry['verdict']}{': kept' if kept else '' if entry['offered'] else ': left at 32'}"
        bits.add_row(entry["kind"], f"{entry['bits']} bits", *_measured(entry), verdict, entry["target"])
    console.print(bits)
    if profile["channels"]:
        title = "What fewer channels win: a step pays that wins half of what its arithmetic promises"
        channels = _table(title, (*heads, "on"))
        for entry in profile["channels"]:
            count = f"{entry['channels'] - entry['step']} of {entry['channels']} in {entry['bits']} bits"
            channels.add_row(entry["kind"], count, *_measured(entry), entry["verdict"], entry["target"])
        console.print(channels)
    steps = ", ".join(f"{kind} {step}" for kind, step in profile["steps"].items())
    console.print(f"channels in steps of: {steps} (a group: the largest of its layers; declared {profile['declared']})")


def _measured(entry: dict[str, Any]) -> tuple[str, str]:
    disturbed = ", disturbed" if entry["disturbed"] else ""
    return f"{entry['ratio']:.2f}", f"{entry['low']:.2f} to {entry['high']:.2f}{disturbed}"


def _table(title: str, heads: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table
