"""A bundle stands alone: it has all that is known of its model, runs by itself, and comes in several layouts."""

from __future__ import annotations

import json
import shutil
import string
import sys
import venv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import HERE, expected_classes, run

from autocompress import BundleError, Front, UnknownName
from autocompress.search.bundle.checksums import NAME
from autocompress.search.bundle.record import read_record
from autocompress.search.bundle.scripts import PACKAGES, ScriptFacts, infer_script
from autocompress.search.bundle.verify import check_files, verify
from autocompress.spaces.target import Target
from autocompress.studies.kinds import KINDS
from autocompress.studies.preprocessing import Preprocessing

yaml = pytest.importorskip("yaml")

ODD = ["null", "eins|pipe", "<b>zwei</b>", 'dr"ei', "vier `x`", "fünf 🎉", "se\nchs", "# sieben", "- acht", "neun: \\"]


def test_a_bundle_holds_the_model_and_all_that_is_known_of_it(finished: Front, bundle: Path) -> None:
    entry, record = finished.pick().entry, read_record(bundle)
    assert {path.name for path in bundle.iterdir()} == {
        *("README.md", "measurement.json", "plan.json", "recipe.toml", "preprocessing.json", "labels.json"),
        *("samples.npz", "requirements.txt", "infer.py", "model.onnx", NAME),
    }
    assert (bundle / "model.onnx").read_bytes() == finished.paths(entry)[HERE].read_bytes()
    assert record.trial == entry.number and record.validation.value == entry.accuracy
    latency = entry.reported[HERE]
    told = {key: value for key, value in latency.conditions.items() if key != "host"}  # a bundle is given away
    assert record.files[HERE].latency == replace(latency, conditions=told)
    assert record.samples is not None and record.samples.split == "validation"
    assert json.loads((bundle / "plan.json").read_text())["choices"] == dict(entry.trial.plan.choices)
    versions = (bundle / "requirements.txt").read_text().split()
    assert f"numpy=={np.__version__}" in versions and all("==" in line for line in versions)


def test_the_samples_are_of_the_validation_split(finished: Front, bundle: Path, tiny_task: Path) -> None:
    from autocompress.studies.task import load_task

    record = read_record(bundle)
    assert record.samples is not None
    images = load_task(str(tiny_task)).validation.tensors[0].numpy()  # type: ignore[union-attr]
    inputs, _ = expected_classes(bundle)
    assert np.array_equal(inputs, images[list(record.samples.rows)]) and len(inputs) == 8


def test_the_card_is_one_of_the_hub(finished: Front, bundle: Path) -> None:
    text = (bundle / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    metadata, record = yaml.safe_load(front), read_record(bundle)
    assert metadata["library_name"] == "onnx" and HERE in metadata["tags"]
    (model,) = metadata["model-index"]
    values = {r["dataset"]["split"]: r["metrics"][0]["value"] for r in model["results"]}
    assert values["validation"] == record.validation.value
    assert f"{record.validation.low:.4f}" in body and record.files[HERE].sha256 in body
    assert "test" in values and "95 % interval" in body and "teacher" in body


def test_infer_runs_on_arrays(bundle: Path, tmp_path: Path) -> None:
    inputs, classes = expected_classes(bundle)
    np.save(tmp_path / "all.npy", inputs)
    np.save(tmp_path / "one.npy", inputs[0])
    done = run(sys.executable, bundle / "infer.py", tmp_path / "all.npy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [int(line.split()[0]) for line in done.stdout.splitlines()] == classes
    one = run(sys.executable, bundle / "infer.py", tmp_path / "one.npy", cwd=tmp_path)
    assert one.stdout.split()[0] == str(classes[0])
    assert run(sys.executable, bundle / "infer.py", cwd=tmp_path).returncode == 1


@pytest.mark.slow
def test_infer_needs_its_requirements_alone(bundle: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "fresh")
    python = tmp_path / "fresh" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-compile")
    installed = run(*pip, "-r", bundle / "requirements.txt")
    assert installed.returncode == 0, installed.stderr
    inputs, classes = expected_classes(bundle)
    np.save(tmp_path / "all.npy", inputs)
    alone = Path(shutil.copytree(bundle, tmp_path / "elsewhere"))
    done = run(python, "infer.py", tmp_path / "all.npy", cwd=alone)
    assert done.returncode == 0, done.stderr
    assert [int(line.split()[0]) for line in done.stdout.splitlines()] == classes


@pytest.mark.parametrize("kind", [*KINDS, ""])
@pytest.mark.parametrize("runtime", PACKAGES)
def test_every_runtime_has_a_script_that_is_python(runtime: str, kind: str) -> None:
    picture = Preprocessing((8, 8), 3, mean=(0.5, 0.5, 0.5))
    for known, inputs in (
        (picture, {"input": "float32"}),
        (Preprocessing(tokenizer='odd"name'), {"input_ids": "int64", "attention_mask": "int64"}),
        (Preprocessing(), {"x": "float32"}),
        (Preprocessing(), {"ids": "int64"}),
    ):
        for device in ("cpu", "cuda"):
            facts = ScriptFacts("model.x", "../", Target(runtime, device), "1.0", kind, known, inputs)
            script = infer_script(facts)
            compile(script, "infer.py", "exec")
            assert len(script.splitlines()) < 85 and max(map(len, script.splitlines())) < 160


def one_text_model(path: Path) -> None:
    """Give eight tokens back as numbers."""
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("Cast", ["ids"], ["output"], to=TensorProto.FLOAT)
    given = helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 8])
    gives = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 8])
    graph = helper.make_graph([node], "text", [given], [gives])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.mark.parametrize(
    ("tokenizer", "what", "numbers"), [("bytes", "hé", [104, 195, 169]), ("", "12 5 7", [12, 5, 7])]
)
def test_infer_takes_texts(tmp_path: Path, tokenizer: str, what: str, numbers: list[int]) -> None:
    one_text_model(tmp_path / "model.onnx")
    known = Preprocessing(tokenizer=tokenizer)
    facts = ScriptFacts("model.onnx", "", Target(), "1", "regression", known, {"ids": "int64"})
    (tmp_path / "infer.py").write_text(infer_script(facts))
    about = {"inputs": [{"name": "ids", "shape": [8], "dtype": "int64"}], "picture": None, "text": None}
    (tmp_path / "preprocessing.json").write_text(json.dumps(about))
    (tmp_path / "labels.json").write_text("[]")
    done = run(sys.executable, tmp_path / "infer.py", what)
    assert done.returncode == 0, done.stderr
    assert list(map(int, done.stdout.split())) == numbers + [0] * (8 - len(numbers))


def test_infer_prepares_pictures_as_the_task_does(tmp_path: Path) -> None:
    """A model that gives back its first pixels tells what the script made of a picture."""
    import onnx
    import torch
    from onnx import TensorProto, helper
    from PIL import Image

    from autocompress.studies.data.images import ImageData
    from autocompress.studies.preprocessing import preprocessing_of

    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 4, 4), dtype=np.uint8)
    data = ImageData(torch.from_numpy(pixels), torch.tensor([0]), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    known = preprocessing_of(data)
    assert known is not None
    node = helper.make_node("Identity", ["input"], ["output"])
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, 4, 4]) for name in ("input", "output")]
    graph = helper.make_graph([node], "same", sides[:1], sides[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "model.onnx"
    )
    facts = ScriptFacts("model.onnx", "", Target(), "1", "regression", known, {"input": "float32"})
    (tmp_path / "infer.py").write_text(infer_script(facts))
    picture = {key: getattr(known, key) for key in ("size", "channels", "scale", "mean", "std", "layout")}
    about = {"inputs": [{"name": "input", "shape": [3, 4, 4], "dtype": "float32"}], "picture": picture, "text": None}
    (tmp_path / "preprocessing.json").write_text(json.dumps(about))
    (tmp_path / "labels.json").write_text("[]")
    Image.fromarray(pixels[0].transpose(1, 2, 0)).save(tmp_path / "picture.png")
    done = run(sys.executable, tmp_path / "infer.py", tmp_path / "picture.png")
    assert done.returncode == 0, done.stderr
    told = np.array(list(map(float, done.stdout.split())))
    assert np.allclose(told, data.inputs(slice(0, 1)).numpy().reshape(-1), atol=1e-5)


def test_a_hub_folder_has_what_the_hub_reads(finished: Front, tmp_path: Path) -> None:
    finished.pick().save(tmp_path, "hub")
    assert "*.onnx filter=lfs" in (tmp_path / ".gitattributes").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["task"] == "classification"
    assert check_files(tmp_path) == len(list(tmp_path.iterdir()))


def test_a_model_repository_has_versions(finished: Front, tmp_path: Path) -> None:
    picked = finished.pick()
    assert picked.save(tmp_path, "triton").parent.name == "1"
    assert picked.save(tmp_path, "triton").parent.name == "2"
    (model,) = tmp_path.iterdir()
    config = (model / "config.pbtxt").read_text()
    assert f'name: "{model.name}"' in config and 'backend: "onnxruntime"' in config
    assert "dims: [ 1, 8, 8 ]" in config and "dims: [ 10 ]" in config and "TYPE_FP32" in config
    assert config.count("{") == config.count("}") and config.count("[") == config.count("]")
    assert len(list(verify(tmp_path, timed=False))) == 2
    (model / "config.pbtxt").write_text(config.replace("10", "11"))
    with pytest.raises(BundleError, match=r"config\.pbtxt"):
        check_files(tmp_path)
    with pytest.raises(UnknownName, match="layout"):
        picked.save(tmp_path / "other", "tritn")


def test_pick_says_what_it_chose_and_why(finished: Front, cli: Callable[..., Any], tmp_path: Path) -> None:
    code_, out, err = cli("pick", finished.folder, "--policy", "smallest", "--min-accuracy", "0.2")
    assert (code_, err) == (0, "")
    assert "chose trial" in out and "it is the smallest model" in out and "next  trial" in out
    assert not list(tmp_path.iterdir())
    number = finished.entries[0].number
    code_, out, _ = cli("pick", finished.folder, "--trial", number, "--out", tmp_path / "deploy")
    assert code_ == 0 and f"chose trial {number} " in out and "because it was named" in out
    assert read_record(tmp_path / "deploy").trial == number
    for wrong in (["--trial", "999"], ["--trial", number, "--max-mb", "1"], ["--max-size", "lots"]):
        code_, _, err = cli("pick", finished.folder, *wrong)
        assert code_ == 2 and len(err.splitlines()) == 1
    teacher = finished.teacher
    assert teacher is not None
    small = finished.pick(max_size="60%", budget_ms=1e6)
    assert small.entry.size_bytes <= 0.6 * teacher.size_bytes


def test_labels_of_any_characters_are_told(finished: Front, tmp_path: Path) -> None:
    from autocompress.search.store.facts import read_facts, write_facts

    study = Path(shutil.copytree(finished.folder, tmp_path / finished.folder.name))
    write_facts(study, replace(read_facts(study), labels=tuple(ODD)))
    folder = replace(finished, folder=study).pick().save(tmp_path / "deploy", "hub").parent
    assert json.loads((folder / "labels.json").read_text()) == ODD
    assert yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert "<b>" not in (folder / "README.md").read_text()
    inputs, classes = expected_classes(folder)
    np.save(tmp_path / "all.npy", inputs)
    done = run(sys.executable, folder / "infer.py", tmp_path / "all.npy")
    assert done.returncode == 0, done.stderr
    for line, number in zip(done.stdout.splitlines(), classes, strict=True):
        assert line.startswith(" ".join(ODD[number].split()))
    replace(finished, folder=study).pick().save(tmp_path / "repo", "triton")
    (names,) = (tmp_path / "repo").glob("*/labels.txt")
    assert len(names.read_text().splitlines()) == len(ODD)


def test_labels_are_one_for_each_class(tiny_task: Path) -> None:
    from autocompress import DataError
    from autocompress.studies.task import load_task

    with pytest.raises(DataError, match="9 labels for 10 classes"):
        replace(load_task(str(tiny_task)), labels=list(string.digits[:9])).prepared()


def test_the_interval_of_a_speed_up_holds_it(bundle: Path) -> None:
    record = read_record(bundle)
    assert record.speed_up is not None and record.speed_up_interval is not None
    low, high = record.speed_up_interval
    assert low <= record.speed_up <= high
