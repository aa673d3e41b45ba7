"""A bundle stands alone: it runs, says what it is, is known again when a byte was changed, and can be made again."""

from __future__ import annotations

import json
import re
import shutil
import string
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress import BundleError, Front, UnknownName, UsageError
from autocompress.files import digest
from autocompress.search.bundle.checksums import NAME, check
from autocompress.search.bundle.recipe import read_recipe, toml_text
from autocompress.search.bundle.record import Figure, read_record
from autocompress.search.bundle.scripts import PACKAGES, ScriptFacts, infer_script
from autocompress.search.bundle.sources import changed, find_folder, portable
from autocompress.search.bundle.templates import code, markdown, quoted
from autocompress.search.bundle.verify import check_files, verify
from autocompress.search.report.intervals import MetricIntervals
from autocompress.search.store.samples import sample_rows
from autocompress.spaces.target import Target
from autocompress.studies.kinds import KINDS
from autocompress.studies.metric import MetricLabel
from autocompress.studies.preprocessing import Preprocessing

yaml = pytest.importorskip("yaml")

HERE = "onnxruntime"
ODD = ["null", "eins|pipe", "<b>zwei</b>", 'dr"ei', "vier `x`", "fünf 🎉", "se\nchs", "# sieben", "- acht", "neun: \\"]

WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError(f"blocked: {name}")
sys.meta_path.insert(0, Blocked())
from autocompress.cli import main
main()
"""


@pytest.fixture(scope="session")
def bundle(finished: Front, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the front's best model."""
    return finished.pick().save(tmp_path_factory.mktemp("bundle") / "deploy").parent


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd, timeout=600, check=False)


def expected_classes(folder: Path) -> tuple[Any, list[int]]:
    with np.load(folder / "samples.npz") as kept:
        return kept["input:input"], kept[f"answer:{HERE}"].argmax(1).tolist()


# -- what is in it -----------------------------------------------------------------------------------------------------


def test_a_bundle_holds_the_model_and_all_that_is_known_of_it(finished: Front, bundle: Path) -> None:
    entry, record = finished.pick().entry, read_record(bundle)
    assert {path.name for path in bundle.iterdir()} == {
        *("README.md", "measurement.json", "plan.json", "recipe.toml", "preprocessing.json", "labels.json"),
        *("samples.npz", "requirements.txt", "infer.py", "model.onnx", NAME),
    }
    assert (bundle / "model.onnx").read_bytes() == finished.paths(entry)[HERE].read_bytes()
    assert record.trial == entry.number and record.validation.value == entry.accuracy
    assert record.files[HERE].latency == entry.latencies[HERE]
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
    venv.create(tmp_path / "fresh", with_pip=True)
    python = tmp_path / "fresh" / "bin" / "python"
    installed = run(python, "-m", "pip", "install", "-q", "-r", bundle / "requirements.txt")
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


def write_script(folder: Path, kind: str, inputs: dict[str, str]) -> None:
    """Write an infer.py for texts as bytes, with what it reads."""
    facts = ScriptFacts("model.onnx", "", Target(), "1", kind, Preprocessing(tokenizer="bytes"), inputs)
    (folder / "infer.py").write_text(infer_script(facts))
    about = [{"name": name, "shape": [8], "dtype": dtype} for name, dtype in inputs.items()]
    (folder / "preprocessing.json").write_text(json.dumps({"inputs": about, "picture": None, "text": None}))
    (folder / "labels.json").write_text("[]")


@pytest.mark.parametrize(
    ("kind", "what", "answer"),
    [
        ("language_model", "ab", "next: 98"),
        ("language_model", "abcdefghijk", "next: 107"),
        ("tokens", "hé", "104 195 169"),
        ("tokens", "abcdefghijk", " ".join(map(str, range(97, 105)))),
    ],
)
def test_infer_tells_nothing_of_what_a_text_was_filled_up_with(
    tmp_path: Path, kind: str, what: str, answer: str
) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    # the answer at each place is its own token, [N, 8, 256]
    values = numpy_helper.from_array(np.array([0, 1], np.float32), "values")
    depth = numpy_helper.from_array(np.array([256], np.int64), "depth")
    node = helper.make_node("OneHot", ["ids", "depth", "values"], ["output"])
    given = helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 8])
    gives = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 8, 256])
    graph = helper.make_graph([node], "echo", [given], [gives], [values, depth])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    write_script(tmp_path, kind, {"ids": "int64"})
    done = run(sys.executable, tmp_path / "infer.py", what)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(answer) and "0" not in done.stdout.strip().removeprefix(answer).split(", ")[0]
    np.save(tmp_path / "ids.npy", np.arange(8))
    whole = run(sys.executable, tmp_path / "infer.py", tmp_path / "ids.npy").stdout
    assert whole.startswith("next: 7" if kind == "language_model" else "0 1 2 3 4 5 6 7")


def test_infer_gives_each_input_of_a_text_what_its_name_says(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    names = ["input_ids", "token_type_ids", "attention_mask", "position_ids"]
    nodes = [helper.make_node("Concat", names, ["all"], axis=1)]
    nodes.append(helper.make_node("Cast", ["all"], ["output"], to=TensorProto.FLOAT))
    given = [helper.make_tensor_value_info(name, TensorProto.INT64, ["N", 8]) for name in names]
    gives = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 32])
    graph = helper.make_graph(nodes, "sides", given, [gives])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    write_script(tmp_path, "regression", dict.fromkeys(names, "int64"))
    done = run(sys.executable, tmp_path / "infer.py", "ab")
    assert done.returncode == 0, done.stderr
    said = np.array(list(map(int, done.stdout.split()))).reshape(4, 8).tolist()
    assert said == [[97, 98] + [0] * 6, [0] * 8, [1, 1] + [0] * 6, list(range(8))]


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


# -- verify ------------------------------------------------------------------------------------------------------------


def test_verify_needs_no_torch(bundle: Path) -> None:
    done = run(sys.executable, "-c", WITHOUT_TORCH, "verify", bundle, "--no-latency")
    assert (done.returncode, done.stderr) == (0, "")
    assert "answers to 8 samples differ by" in done.stdout


@pytest.mark.slow
def test_verify_times_without_torch(bundle: Path) -> None:
    done = run(sys.executable, "-c", WITHOUT_TORCH, "verify", bundle)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"p50 here +\d", done.stdout) and "p50 there" in done.stdout


@given(data=st.data())
def test_any_changed_byte_is_found(bundle: Path, data: st.DataObject) -> None:
    names = sorted(p.name for p in bundle.iterdir() if p.is_file())
    path = bundle / data.draw(st.sampled_from(names))
    before = path.read_bytes()
    offset = data.draw(st.integers(0, len(before) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != before[offset]))
    path.write_bytes(before[:offset] + bytes([byte]) + before[offset + 1 :])
    try:
        with pytest.raises(BundleError):
            check_files(bundle)
    finally:
        path.write_bytes(before)
    assert check_files(bundle) == len(names)


def test_a_missing_file_and_a_strange_folder_are_told_in_one_line(
    bundle: Path, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (copy / "plan.json").unlink()
    code_, _, err = cli("verify", copy)
    assert code_ == 2 and len(err.splitlines()) == 1 and "plan.json: is missing" in err
    code_, _, err = cli("verify", tmp_path / "nowhere")
    assert code_ == 2 and len(err.splitlines()) == 1 and "no bundle" in err
    (copy / NAME).write_text(f"{'0' * 64}  ../bundle\n")
    with pytest.raises(BundleError, match="outside"):
        check(copy)


def test_other_answers_are_found(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    with np.load(copy / "samples.npz") as kept:
        arrays = dict(kept.items())
    arrays[f"answer:{HERE}"] = arrays[f"answer:{HERE}"] + 10
    np.savez(copy / "samples.npz", **arrays)
    with pytest.raises(BundleError, match="answers differ"):
        list(verify(copy, timed=False))


def test_a_study_without_samples_gives_a_bundle_that_says_so(finished: Front, tmp_path: Path) -> None:
    study = Path(shutil.copytree(finished.folder, tmp_path / finished.folder.name))
    (study / "samples.npz").unlink()
    front = replace(finished, folder=study)
    folder = front.pick().save(tmp_path / "deploy").parent
    assert "the study kept none" in (folder / "README.md").read_text()
    (found,) = verify(folder, timed=False)
    assert found.difference is None and "no samples" in found.reason


def test_an_earlier_bundle_is_replaced_and_other_files_stay(finished: Front, tmp_path: Path) -> None:
    first, second = (finished.trial(entry.number) for entry in finished.entries[:2])
    first.save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    second.save(tmp_path)
    assert read_record(tmp_path).trial == second.entry.number
    assert (tmp_path / "notes.txt").read_text() == "mine"
    check_files(tmp_path)


@pytest.mark.parametrize(
    ("count", "size", "kept"), [(300, 1000, 8), (3, 1000, 3), (300, 600_000, 1), (300, 9_000_000, 0)]
)
def test_samples_are_few_and_small(count: int, size: int, kept: int) -> None:
    rows = sample_rows(count, size)
    assert len(rows) == kept == len(set(rows)) and all(0 <= row < count for row in rows)


# -- the recipe --------------------------------------------------------------------------------------------------------

KEYS = st.text(max_size=8)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
SENSIBLE = st.characters(exclude_categories=("Cs",))


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_what_is_written_as_toml_is_read_back(values: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(values)) == values


@given(st.text(SENSIBLE))
def test_texts_in_the_metadata_are_read_back(text: str) -> None:
    assert yaml.safe_load(f"- name: {quoted(text)}") == [{"name": text}]


@given(st.text(SENSIBLE))
def test_texts_in_the_card_stay_in_their_place(text: str) -> None:
    shown = markdown(text)
    assert "\n" not in shown and "<" not in shown and not re.search(r"(?<!\\)(\\\\)*[|`*_\[]", shown)
    assert "\n" not in code(text)


@given(st.floats(0, 1), st.integers(1, 100_000))
def test_the_interval_of_a_share_holds_it(value: float, count: int) -> None:
    found = MetricIntervals(MetricLabel(), {"test": count}).around(value, "test")
    figure = Figure(found.value, found.low, found.high, count)
    assert figure.low is not None and figure.high is not None
    assert -1e-9 <= figure.low <= value <= figure.high <= 1 + 1e-9 and figure.holds(value)


def test_the_recipe_has_the_students_it_begins_with(finished: Front, bundle: Path) -> None:
    recipe, entry = read_recipe(bundle / "recipe.toml"), finished.pick().entry
    assert recipe.students[-1].number == entry.number and recipe.students[-1].spec == entry.trial.spec
    assert recipe.validation[HERE].value == entry.accuracy
    with pytest.raises(BundleError, match="no such file"):
        read_recipe(bundle / "other.toml")
    assert str(Path.home()) not in (bundle / "README.md").read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/ann/work/data/train.csv", "data/train.csv"),
        ("/home/bob/my_task.py:task", "my_task.py:task"),
        ("C:\\Users\\ann\\task.py", "task.py"),
        ("data/train.csv", "data/train.csv"),
        ("module:function", "module:function"),
        ("/", "."),
        ("", ""),
    ],
)
def test_a_recipe_tells_no_absolute_path(text: str, told: str) -> None:
    folder = Path("/home/ann/work")
    assert portable({"a": [{"b": text}], "c": 1}, folder) == {"a": [{"b": told}], "c": 1}


def test_a_bundle_holds_no_place_of_the_machine_that_searched(finished: Front, tiny_task: Path, tmp_path: Path) -> None:
    study = Path(shutil.copytree(finished.folder, tmp_path / finished.folder.name))
    settings = json.loads((study / "study.json").read_text())
    settings["path"], settings["task"]["from"] = str(tiny_task.parent / "autocompress.toml"), str(tiny_task)
    (study / "study.json").write_text(json.dumps(settings))
    facts = json.loads((study / "task.json").read_text())
    facts["preprocessing"] = {**(facts.get("preprocessing") or {}), "tokenizer": str(tmp_path / "own.json")}
    (study / "task.json").write_text(json.dumps(facts))
    (tmp_path / "own.json").write_text("{}")
    folder = replace(finished, folder=study).pick().save(tmp_path / "deploy", "hub").parent
    texts = {path: path.read_bytes() for path in folder.rglob("*") if path.suffix not in (".onnx", ".npz")}
    for place in (tiny_task.parent, tmp_path, Path.home()):
        assert [path for path, text in texts.items() if str(place).encode() in text] == []
    recipe = read_recipe(folder / "recipe.toml")
    assert recipe.study["task"]["from"] == tiny_task.name and recipe.sources == {tiny_task.name: digest(tiny_task)}
    assert (folder / "tokenizer.json").read_text() == "{}"


def test_the_files_of_a_study_are_found_here_or_above_its_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, other, elsewhere = (tmp_path / name for name in ("project", "other", "elsewhere"))
    for folder in (project / "out" / "deploy", other, elsewhere):
        folder.mkdir(parents=True)
    (project / "task.py").write_text("1")
    sources = {"task.py": digest(project / "task.py")}
    monkeypatch.chdir(elsewhere)
    assert find_folder(sources, project / "out" / "deploy") == project
    assert find_folder({}, project) == elsewhere
    (elsewhere / "task.py").write_text("changed")
    assert find_folder(sources, project / "out" / "deploy") == project  # the very same file goes before
    assert find_folder(sources, other) == elsewhere and changed(sources, elsewhere) == ["task.py"]
    monkeypatch.chdir(other)
    with pytest.raises(BundleError, match="--data"):
        find_folder(sources, other)


def test_a_recipe_of_an_earlier_version_is_read(bundle: Path, tmp_path: Path) -> None:
    text = (bundle / "recipe.toml").read_text()
    kept = "".join(line for line in text.split("[sources]")[0].splitlines(keepends=True))
    (tmp_path / "recipe.toml").write_text(kept.replace("format = 1", 'format = 1\nfolder = "/gone"', 1))
    recipe = read_recipe(tmp_path / "recipe.toml")
    assert recipe.folder == "/gone" and recipe.sources == {}


def test_verify_looks_at_bundles_alone(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "deploy")
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "measurement.json").write_text("{}")  # as those in a study's folder
    assert [found.bundle for found in verify(tmp_path, timed=False)] == [tmp_path / "deploy"]


def test_the_interval_of_a_speed_up_holds_it(bundle: Path) -> None:
    record = read_record(bundle)
    assert record.speed_up is not None and record.speed_up_interval is not None
    low, high = record.speed_up_interval
    assert low <= record.speed_up <= high


@pytest.mark.slow
def test_rebuild_gives_the_same_figures(finished: Front, tiny_task: Path, tmp_path: Path) -> None:
    from autocompress.search.bundle.rebuild import first_files, rebuild
    from autocompress.studies.task import load_task

    taught = [e for e in finished.entries if e.trial.spec.recovery is not None and e.confirmed is not None]
    folder = finished.trial(taught[0].number).save(tmp_path / "deploy").parent
    recipe = read_recipe(folder / "recipe.toml")
    first = first_files(recipe, folder)
    made = rebuild(recipe, tmp_path / "again", load_task(str(tiny_task)), first=first)
    assert first and not made.other
    figures = {each.name: each for each in made.compared}
    assert figures["accuracy, validation"].within and figures["accuracy, test"].within
    assert made.files[HERE].is_file()
    with pytest.raises(UsageError, match="not empty"):
        rebuild(recipe, tmp_path / "again")


# -- layouts -----------------------------------------------------------------------------------------------------------


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


# -- choosing ----------------------------------------------------------------------------------------------------------


def test_pick_says_what_it_chose_and_why(finished: Front, cli: Callable[..., Any], tmp_path: Path) -> None:
    code_, out, err = cli("pick", finished.folder, "--policy", "smallest")
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


# -- labels ------------------------------------------------------------------------------------------------------------


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
