"""Plug-ins by name: packages that clash, names that are not known, and plug-ins that are broken."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import pytest

from autocompress.errors import PluginError, UnknownName, UsageError
from autocompress.spaces import plugins
from autocompress.spaces.axes.registry import AXES
from autocompress.spaces.plugins import Registry, by_name

GROUP = "autocompress.test_pumps"


@runtime_checkable
class Pump(Protocol):
    name: str

    def pump(self) -> int: ...


class Good:
    name = "good"

    def pump(self) -> int:
        return 1


class Lacking:
    name = "lacking"


def failing() -> None:
    raise ZeroDivisionError("nothing\nis zero")


@pytest.fixture
def pumps(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is installed: name -> value; a test may install more."""
    import sys

    module = ModuleType("pumps_of_a_test")
    module.__dict__.update(Good=Good, Lacking=Lacking, failing=failing)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    installed: dict[str, str] = {"good": "pumps_of_a_test:Good"}

    def found(group: str) -> list[EntryPoint]:
        return [EntryPoint(name, value, group) for name, value in installed.items()] if group == GROUP else []

    monkeypatch.setattr(plugins, "installed", found)
    return installed


def registry(**more: Any) -> Registry[Pump]:
    return Registry("pump", GROUP, Pump, **more)


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_plug_in_is_found_by_its_name(pumps: dict[str, str]) -> None:
    assert registry().names() == ("good",)
    assert registry().load("good") is Good
    assert registry().make("good").pump() == 1


def test_two_packages_with_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [EntryPoint("good", "one:Pump", GROUP), EntryPoint("good", "other:Pump", GROUP)]
    with pytest.raises(UsageError, match="two packages bring the pump 'good': one:Pump and other:Pump"):
        by_name(both, "pump")
    monkeypatch.setattr(plugins, "installed", lambda group: both)
    for verb in (registry().names, lambda: registry().load("good"), registry().make_all):
        with pytest.raises(UsageError, match="uninstall one of them") as caught:
            verb()
        one_line(caught)


def test_the_same_package_found_twice_is_one() -> None:
    twice = [EntryPoint("good", "one:Pump", GROUP)] * 2  # an editable install beside its own build folder
    assert set(by_name(twice, "pump")) == {"good"}


def test_an_unknown_name_names_the_known_ones_and_what_to_install(pumps: dict[str, str]) -> None:
    with pytest.raises(UnknownName, match=r"unknown pump 'goof'; did you mean 'good'\? Known: good\.") as caught:
        registry().load("goof")
    assert GROUP in one_line(caught)
    with pytest.raises(UnknownName, match="Install it: pip install rare"):
        registry(extras={"rare": "pip install rare"}).make("rare")


def test_an_unknown_axis_names_the_built_in_ones() -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'width'\? Known: .*bits, channels, .*target, width"):
        AXES.make("widthh")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:Pump", "cannot be loaded: No module named 'no_such_module'"),
        ("pumps_of_a_test:Missing", "cannot be loaded"),
        ("pumps_of_a_test:failing", "cannot be made: nothing is zero"),
        ("pumps_of_a_test:Lacking", "lacks parts of the seam"),
    ],
)
def test_a_broken_plug_in_is_told_in_one_line_and_hides_no_other(pumps: dict[str, str], value: str, words: str) -> None:
    pumps["broken"] = value
    with pytest.raises(PluginError) as caught:
        registry().make("broken")
    text = one_line(caught)
    assert "pump 'broken'" in text and words in text
    found = registry().make_all()
    assert isinstance(found["broken"], PluginError) and isinstance(found["good"], Good)


def test_a_broken_axis_is_told_where_a_space_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    from autocompress.spaces.space import build_space
    from autocompress.testing import sample_context

    known = {name: AXES.load(name) for name in AXES.names()}
    real = [EntryPoint(name, f"{cls.__module__}:{cls.__qualname__}", AXES.group) for name, cls in known.items()]
    broken = EntryPoint("odd", "no_such_module:OddAxis", AXES.group)
    monkeypatch.setattr(plugins, "installed", lambda group: [*real, broken] if group == AXES.group else [])
    with pytest.raises(PluginError, match=r"axis 'odd' \(no_such_module:OddAxis\) cannot be loaded") as caught:
        build_space(sample_context(), ("channels", "odd"))
    one_line(caught)
