"""Archives of PyTorch (.pt2) that somebody sent: whatever is in them, none of it runs."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autocompress.errors import MeasurementError
from autocompress.evaluators.runtimes.pytorch import PyTorch
from autocompress.spaces.target import Target

TARGET = Target("pytorch")
Parts = dict[str, bytes]


class Gadget:
    """Touches a file when it is unpickled."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.touched,)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.constant = torch.arange(4.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.inner(x) + self.constant, x], dim=0).reshape(-1, 8)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, nn.Module]:
    """A program as any user saves one: with its example inputs, which are pickled."""
    net, path = Net().eval(), tmp_path / "net.pt2"
    batch = {0: torch.export.Dim("batch", min=1)}
    torch.export.save(torch.export.export(net, (torch.rand(3, 4),), dynamic_shapes=(batch,)), path)
    return path, net


def changed(path: Path, change: Callable[[Parts], None]) -> Path:
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].partition("/")[0]
        parts = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(f"{root}/{name}", content)
    return path


def program(change: Callable[[Any], None]) -> Callable[[Parts], None]:
    def changes(parts: Parts) -> None:
        content = json.loads(parts["models/model.json"])
        change(content)
        parts["models/model.json"] = json.dumps(content).encode()

    return changes


def test_a_program_of_a_users_own_loads_and_answers_as_it_did(saved: tuple[Path, nn.Module]) -> None:
    path, net = saved
    inputs = torch.rand(6, 4)
    loaded = PyTorch().load(path, TARGET)
    assert np.allclose(loaded.run(inputs.numpy()), net(inputs).detach().numpy(), atol=1e-6)
    assert PyTorch().inspect(path, TARGET)["aten.linear.default"] == 1


def test_masks_that_are_joined_by_operators_of_python_load(tmp_path: Path) -> None:
    class Masked(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            near, far = x < 0.5, x > 0.25
            return x.masked_fill((near & far) | (near ^ far), 0.0) + ((near.long() << 2) >> 1)

    net, path, inputs = Masked(), tmp_path / "masked.pt2", torch.rand(6, 4)
    torch.export.save(torch.export.export(net, (inputs,)), path)
    assert {"aten.__and__.Tensor", "aten.__or__.Tensor"} <= PyTorch().inspect(path, TARGET).keys()
    assert np.array_equal(PyTorch().load(path, TARGET).run(inputs.numpy()), net(inputs).numpy())


def test_what_is_pickled_beside_a_program_is_left_alone(saved: tuple[Path, nn.Module], tmp_path: Path) -> None:
    path, touched = saved[0], tmp_path / "touched"
    changed(path, lambda parts: parts.update({"data/sample_inputs/model.pt": pickle.dumps(Gadget(touched))}))
    with pytest.raises(Exception):  # noqa: B017 - PyTorch's own reader runs it, which is why there is another
        torch.export.load(path)
    assert touched.exists()
    touched.unlink()
    PyTorch().load(path, TARGET)
    assert not touched.exists()


def pickled_weights(parts: Parts, gadget: bytes) -> None:
    config = json.loads(parts["data/weights/model_weights_config.json"])
    next(iter(config["config"].values()))["use_pickle"] = True
    parts["data/weights/model_weights_config.json"] = json.dumps(config).encode()
    parts["data/weights/weight_0"] = gadget


def custom_object(parts: Parts, gadget: bytes) -> None:
    config = json.loads(parts["data/constants/model_constants_config.json"])
    next(iter(config["config"].values()))["path_name"] = "opaque_obj_0"
    parts["data/constants/model_constants_config.json"] = json.dumps(config).encode()
    parts["data/constants/opaque_obj_0"] = gadget


def first_node(content: Any) -> Any:
    return content["graph_module"]["graph"]["nodes"][0]


@pytest.mark.parametrize(
    "change",
    [
        pickled_weights,
        custom_object,
        lambda parts, gadget: parts.update({"data/weights/model.pt": gadget}),
        lambda parts, gadget: parts.update({"data/constants/model.pt": gadget}),
        lambda parts, gadget: parts.update({"data/aotinductor/model/net.so": b"\x7fELF"}),
        lambda parts, gadget: parts.update({"models/../../evil.json": parts["models/model.json"]}),
    ],
    ids=["pickled weights", "opaque object", "old weights", "old constants", "compiled", "outside"],
)
def test_an_archive_that_needs_code_is_refused(
    saved: tuple[Path, nn.Module], tmp_path: Path, change: Callable[[Parts, bytes], None]
) -> None:
    touched = tmp_path / "touched"
    path = changed(saved[0], lambda parts: change(parts, pickle.dumps(Gadget(touched))))
    with pytest.raises(MeasurementError, match="could run code"):
        PyTorch().load(path, TARGET)
    assert not touched.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda node: node.update(target="torch.ops.load_library"),
        lambda node: node.update(target="torch.hub.load"),
        lambda node: node.update(target="torch.utils.cpp_extension.load_inline"),
        lambda node: node.update(target="torch.ops.aten.__class__.__init__"),
        lambda node: node.update(target="torch.ops.aten.__and__.__init__"),
        lambda node: node.update(target="torch.ops.aten.__and__init__.Tensor"),
        lambda node: node.update(target="torch.ops.aten.from_file.default"),
        lambda node: node.update(target="torch.ops.aten.save.default"),
        lambda node: node.update(target="torch.ops.aten.add.overloads"),
        lambda node: node.update(target="torch.ops.higher_order.call_torchbind"),
        lambda node: node["inputs"][0].update(arg={"as_operator": "torch.hub.load"}),
        lambda node: node["inputs"][0].update(arg={"as_operator": "torch.ops.aten.save.default"}),
        lambda node: node.update(target="_operator.methodcaller"),
        lambda node: node.update(target="builtins.exec"),
        lambda node: node["inputs"][0].update(name="x=__import__('os').abort(), y"),
        lambda node: node.update(name="x\nimport os"),
    ],
)
def test_an_operator_that_does_more_than_compute_is_refused(
    saved: tuple[Path, nn.Module], change: Callable[[Any], None]
) -> None:
    path = changed(saved[0], program(lambda content: change(first_node(content))))
    with pytest.raises(MeasurementError, match="could run code"):
        PyTorch().load(path, TARGET)


EVIL = (
    "__import__('pathlib').Path('TOUCHED').touch()",
    "exec(chr(49))",
    "s77.func",
    "(lambda: 1)()",
    "Symbol('s77', positive=True).__class__",
    "Float('1.0', precision=5)or open('TOUCHED', 'w')",
)


@pytest.mark.parametrize("evil", EVIL)
def test_an_expression_of_sizes_is_no_code(saved: tuple[Path, nn.Module], tmp_path: Path, evil: str) -> None:
    def change(value: Any) -> None:
        if isinstance(value, dict) and "expr_str" in value:
            value["expr_str"] = evil.replace("TOUCHED", str(tmp_path / "touched"))
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            change(inner)

    path = changed(saved[0], program(change))
    with pytest.raises(MeasurementError, match="could run code"):
        PyTorch().load(path, TARGET)
    assert not (tmp_path / "touched").exists()


LEAF = {"type": None, "context": None, "children_spec": []}


def nested(kind: str | None, context: Any) -> str:
    """How outputs are nested; every letter of it may be written as an escape."""
    said = json.dumps([1, {"type": kind, "context": context, "children_spec": [LEAF]}])
    return said.replace("_", "\\u005f")


@pytest.mark.parametrize("key", ["in_spec", "out_spec"])
def test_a_structure_that_names_a_module_does_not_import_it(
    saved: tuple[Path, nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    touched = tmp_path / "touched"
    (tmp_path / "evilmodule.py").write_text(f"open({str(touched)!r}, 'w')\nclass Kind: one = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    kept = saved[0].read_bytes()
    factory = {"default_factory_module": "evilmodule", "default_factory_name": "Kind", "dict_context": "[]"}
    number = {"__enum__": True, "fqn": "evilmodule:Kind", "name": "one"}
    for evil in (
        nested("collections.defaultdict", json.dumps(factory)),
        nested("builtins.dict", json.dumps([number])),
        nested("builtins.dict", json.dumps(number)),
        nested("builtins.dict", [number]),
        nested("collections.deque", "1"),
    ):

        def change(content: Any, evil: str = evil) -> None:
            for call in content["graph_module"]["module_call_graph"]:
                if call["signature"] is not None:
                    call["signature"][key] = evil

        saved[0].write_bytes(kept)
        path = changed(saved[0], program(change))
        with pytest.raises(MeasurementError):
            PyTorch().load(path, TARGET)
        assert not touched.exists()


class Named(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        return {"twice": 2 * x, "more": [x + 1, (x - 1,)]}


def test_outputs_in_plain_containers_are_none_of_a_danger(tmp_path: Path) -> None:
    path = tmp_path / "named.pt2"
    torch.export.save(torch.export.export(Named(), (torch.rand(3, 4),)), path)
    assert PyTorch().inspect(path, TARGET)["aten.mul.Tensor"] == 1


def test_guards_are_left_out(saved: tuple[Path, nn.Module], tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    evil = f"__import__('pathlib').Path({str(touched)!r}).touch() is None"
    path = changed(saved[0], program(lambda content: content.update(guards_code=[evil])))
    PyTorch().load(path, TARGET).run(np.zeros((2, 4), np.float32))
    assert not touched.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"no archive", None])
def test_what_is_no_archive_is_told_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "some.pt2"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(MeasurementError) as told:
        PyTorch().load(path, TARGET)
    assert "\n" not in str(told.value)


def test_a_damaged_program_is_told_in_one_line(saved: tuple[Path, nn.Module]) -> None:
    for broken in (b"", b"{}", b"[1, 2]", b"\xff"):
        path = changed(saved[0], lambda parts, broken=broken: parts.update({"models/model.json": broken}))
        with pytest.raises(MeasurementError):
            PyTorch().load(path, TARGET)


def takes_files() -> list[str]:
    """All operators of this PyTorch that take the name of a file, as a program names them."""
    import torchvision  # noqa: F401 - brings operators of its own

    found = []
    for schema in torch._C._jit_get_all_schemas():
        texts = [argument.name for argument in schema.arguments if "str" in str(argument.type)]
        if any(word in text for text in texts for word in ("file", "path")):
            namespace, _, name = schema.name.partition("::")
            found.append(f"torch.ops.{namespace}.{name}.{schema.overload_name or 'default'}")
    return found


def test_no_operator_that_takes_the_name_of_a_file_is_run(saved: tuple[Path, nn.Module]) -> None:
    path, _ = saved
    operators = takes_files()
    assert operators, "aten::from_file at least"
    for operator in operators:
        changed(path, program(lambda content, named=operator: first_node(content).update(target=named)))
        with pytest.raises(MeasurementError, match="target"):
            PyTorch().load(path, TARGET)
