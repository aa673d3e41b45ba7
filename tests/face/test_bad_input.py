"""Bad input of every kind on the command line: one line and exit code 2, never a traceback, never a wrong answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from refused import assert_refused

from autocompress.cores import usable_cores

Cli = Callable[..., tuple[int, str, str]]
LONG = "x" * 300


pytestmark = pytest.mark.usefixtures("elsewhere")


PICK = [
    (("--min-accuracy", "nan"), ("min-accuracy nan", "finite")),
    (("--min-accuracy", "inf"), ("min-accuracy inf", "finite")),
    (("--min-accuracy=-inf",), ("min-accuracy -inf", "finite")),
    (("--min-accuracy", "high"), ("'high'",)),
    (("--min-accuracy", "2"), ("no model meets",)),
    (("--max-drop", "nan"), ("max_drop = 'nan'",)),
    (("--max-drop", "-1%"), ("max_drop = '-1%'",)),
    (("--max-drop", ""), ("max_drop = ''",)),
    (("--max-drop", "1 %%"), ("max_drop",)),
    (("--max-size", "0%"), ("max_size = '0%'",)),
    (("--max-size", "5"), ("'5'",)),
    (("--max-size", "nan%"), ("'nan%'",)),
    (("--max-size", ""), ("''",)),
    (("--max-mb", "nan"), ("max-mb nan",)),
    (("--max-mb", "-1"), ("max-mb -1",)),
    (("--speedup", "0"), ("speedup 0",)),
    (("--speedup", "nan"), ("speedup nan",)),
    (("--speedup", "inf"), ("speedup inf",)),
    (("--budget", ""), ("--budget ", "5ms")),
    (("--budget", "nan%"), ("nan%",)),
    (("--budget", "nanms"), ("nan",)),
    (("--budget", "-5ms"), ("-5",)),
    (("--budget", "5s"), ("5s",)),
    (("--budget-ms", "1e-9"), ("no model meets",)),
    (("--trial", "-1"), ("no finished trial -1",)),
    (("--trial", "99999"), ("no finished trial 99999",)),
    (("--trial", "one"), ("'one'",)),
    (("--trial", "1", "--max-mb", "1"), ("leave out --max-mb",)),
    (("--policy", "best"), ("'best'",)),
    (("--layout", "zip"), ("'zip'",)),
    (("--out", "file"), ("file",)),
    (("--out", "file/x"), ("file is a file",)),
    (("--out", ""), ("empty",)),
    (("--out", LONG), ("300 bytes",)),
]
LOOK = [
    (("front", "simulated", "--plot", "x.xyz"), (".xyz", ".svg")),
    (("front", "simulated", "--plot", "x"), ("without a suffix",)),
    (("front", "simulated", "--plot", "y.pdf"), (".pdf",)),
    (("front", "simulated", "--plot", "folder"), ("without a suffix",)),
    (("front", "simulated", "--plot", "file/x.svg"), ("file is a file",)),
    (("front", "simulated", "--plot", "/proc/x.svg"), ("cannot be written",)),
    (("front", "simulated", "--plot", ""), ("empty",)),
    (("front", "simulated", "--parquet", "folder"), ("folder: cannot be written",)),
    (("front", "simulated", "--parquet", "file/x"), ("file is a file",)),
    (("front", "simulated", "--parquet", "/proc/x"), ("cannot be written",)),
    (("front", "simulated", "--parquet", ""), ("empty",)),
    (("report", "simulated", "--out", "folder"), ("folder",)),
    (("report", "simulated", "--out", "file/x"), ("file is a file",)),
    (("report", "simulated", "--out", ""), ("empty",)),
    (("compare", "simulated", "simulated", "--out", "folder"), ("folder",)),
    (("compare", "simulated", "--csv", "nothing.csv"), ("nothing.csv",)),
    (("compare", "simulated", "--csv", "folder"), ("folder",)),
    (("compare", "simulated", "--csv", "file"), ("'name' is missing",)),
    (("front", "file"), ("file is a file",)),
    (("front", "folder"), ("no study in folder",)),
    (("front", "."), ("no study in /",)),
    (("front", ""), ("empty",)),
    (("front", LONG), ("300 bytes",)),
    (("front", "a\nb"), ("no study in a b",)),
    (("front", "[red]x"), ("no study in [red]x",)),
    (("space", "file"), ("not valid TOML",)),
    (("space", LONG), ("300 bytes",)),
    (("sensitivity", LONG), ("300 bytes",)),
    (("sensitivity", "folder/x.toml"), ("no study file",)),
    (("search", LONG), ("300 bytes",)),
    (("search", ""), ("unknown study ''",)),
    (("search", "."), ("no study file .",)),
    (("search", "/dev/null"), ("no study file /dev/null",)),
    (("search", "file"), ("not valid TOML",)),
    (("verify", "file"), ("no bundle in file",)),
    (("verify", "folder"), ("no bundle in folder",)),
    (("verify", ""), ("empty",)),
    (("rebuild", "file"), ("file: cannot be read",)),
    (("rebuild", "folder"), ("no such file",)),
    (("export", "simulated", "--trial", "1", "--to", ""), ("no target",)),
    (("export", "simulated", "--trial", "1", "--to", "onnx"), ("unknown runtime 'onnx'",)),
    (("export", "simulated", "--trial", "1", "--to", "onnxruntime@"), ("no device behind the @",)),
    (("export", "simulated", "--trial", "77", "--to", "onnxruntime"), ("no finished trial 77",)),
    (("export", "simulated", "--trial", "1", "--to", "onnxruntime"), ("searched from Python", "--task")),
    (("bench", "onnxruntime@:file"), ("no device behind the @",)),
    (("bench", "file"), ("no runtime has files",)),
    (("bench", "folder"), ("folder",)),
    (("bench", ""), ("",)),
    (("bench", "file.onnx", "--batch", "0"), ("0",)),
    (("bench", "file.onnx", "--max-seconds", "nan"), ("nan",)),
    (("bench", "file.onnx", "--max-seconds", "-1"), ("-1",)),
    (("bench", "file.onnx", "--device", ""), ("device",)),
]
OPTIONS = [
    (("--seed", "4294967296"), ("seed = 4294967296", "up to 4294967295")),
    (("--seed", "99999999999999999999999"), ("seed = 99999999999999999999999",)),
    (("--seed", "-1"), ("seed = -1",)),
    (("--seed", "1.5"), ("'1.5'",)),
    (("--runs", "file"), ("file is a file",)),
    (("--runs", "file/x"), ("file is a file",)),
    (("--runs", ""), ("empty",)),
    (("--runs", "s3://bucket/runs"), ("s3://bucket/runs is no folder", "object storage")),
    (("--shared",), ("[search] shared is for a Ray cluster",)),
    (("--runs", LONG), ("300 bytes",)),
    (("--minutes", "nan"), ("minutes = nan",)),
    (("--minutes", "inf"), ("minutes = inf",)),
    (("--hours", "nan"), ("minutes = nan",)),
    (("--hours", "1e400"), ("minutes = inf",)),
    (("--patience", "nan"), ("patience = nan",)),
    (("--workers", "1000"), ("workers = 1000", "one for each core")),
    (("--workers", "1000", "--executor", "processes"), ("workers = 1000",)),
    (("--workers", "99999999999999999999"), ("workers = ",)),
    (("--threads", "1000000"), ("threads = 1000000", "allowed: up to")),
    (("--threads", str(usable_cores() + 1)), ("threads = ", "allowed: up to")),
    (("--target", "onnxruntime@"), ("runtime = 'onnxruntime@'", "RUNTIME@DEVICE")),
    (("--target", ""), ("runtime = ''",)),
    (("--target", "@cpu"), ("runtime = '@cpu'",)),
    (("--target", " onnxruntime"), ("runtime = ' onnxruntime'",)),
    (("--target", "onnxruntime@tpu"), ("'tpu'",)),
    (("--target", "onnxruntime@cpu", "--target", "onnxruntime"), ("one target twice",)),
    (("--precision", "0"), ("'0'",)),
    (("--precision", "200%"), ("'200%'",)),
    (("--precision", "nan"), ("'nan'",)),
    (("--precision", ""), ("''",)),
    (("--executor", ""), ("unknown executor ''",)),
    (("--baselines", "pruning alone,x"), ("unknown baseline",)),
    (("--max-drop", "nan"), ("max_drop = 'nan'", '"1%"')),
    (("--max-size", "x"), ("max_size = 'x'", '"50%"')),
    (("--min-accuracy", "nan"), ("min_accuracy = nan",)),
    (("--speedup", "inf"), ("speedup = inf",)),
    (("--max-mb", "inf"), ("max_mb = inf",)),
]


@pytest.mark.parametrize(("options", "parts"), PICK, ids=lambda value: " ".join(value)[:40])
def test_pick(cli: Cli, study: Path, options: tuple[str, ...], parts: tuple[str, ...]) -> None:
    assert_refused(cli("pick", "simulated", *options), *parts)


@pytest.mark.parametrize(("command", "parts"), LOOK, ids=lambda value: " ".join(value)[:40])
def test_commands_that_look(cli: Cli, study: Path, command: tuple[str, ...], parts: tuple[str, ...]) -> None:
    def files() -> list[str]:
        return sorted(str(path) for path in study.rglob("*") if not path.name.startswith("study.db-"))

    before = files()
    assert_refused(cli(*command), *parts)
    assert before == files()


@pytest.mark.parametrize(("options", "parts"), OPTIONS, ids=lambda value: " ".join(value)[:40])
def test_options_of_search(cli: Cli, options: tuple[str, ...], parts: tuple[str, ...]) -> None:
    """Told before the task is made: this one could not be."""
    Path("mine.py").write_text("def task(): raise AssertionError('the task was made')")
    assert_refused(cli("search", "--task", "mine.py", "--trials", "1", *options), *parts)
    assert sorted(path.name for path in Path().iterdir()) == ["file", "folder", "mine.py"]


SECTIONS = [
    ("[search]\nobjectives = ['accuracy', 'accuracy']", ("'accuracy' twice",)),
    ("[search]\nobjectives = []", ("objectives", "not empty")),
    ("[search]\nobjectives = ['accurac']", ("did you mean 'accuracy'",)),
    ("[search]\nobjectives = 'accuracy'", ("objectives = 'accuracy'", "list")),
    ("[search]\nobjectives = ['size_bytes']", ("objectives", "accuracy")),
    ("[search]\ntrials = 1.5", ("trials = 1.5", "whole number")),
    ("[search]\ntrials = true", ("trials = True",)),
    ("[search]\ntrials = '3'", ("trials = '3'",)),
    ("[search]\nseed = 4294967296", ("seed = 4294967296",)),
    ("[search]\neta = 0", ("eta = 0",)),
    ("[search]\nwithout = ['rung']", ("did you mean 'rungs'",)),
    ("[search]\nsampler = ''", ("unknown value of sampler ''",)),
    ("[teacher]\nseed = 99999999999999999999999", ("seed = ",)),
    ("[teacher]\nmodel = ''", ("model = ''", "not empty")),
    ("[data]\nroot = 'x'", ("already brings",)),
    ("[budget.on]\nonnxruntime = -1", ("-1", "above 0")),
    ("[budget.on]\nonnxruntime = nan", ("nan",)),
    ("[budget.on]\nonnxruntime = '5'", ("'5'",)),
    ("[budget.on]\nopenvin = 5.0", ("'openvin'", "onnxruntime")),
    ("[budget]\non = 5", ("on = 5",)),
    ("[budget]\nlatency = '50'", ("latency = '50'", "50%")),
    ("[budget]\nlatency = '0%'", ("above 0",)),
    ("[budget]\nmin_accuracy = nan", ("min_accuracy = nan",)),
    ("[budget]\npercentile = 75", ("percentile",)),
    ("[target]\nruntime = ''", ("runtime = ''",)),
    ("[target]\nruntime = []", ("runtime = []",)),
    ("[target]\nruntime = 7", ("runtime = 7",)),
    ("[target]\nruntime = 'onnxruntime@'", ("RUNTIME@DEVICE",)),
    ("[target]\ndevice = ''", ("device = ''",)),
    ("[target]\nthreads = 1000000", ("threads = 1000000",)),
    ("[target]\nbatch = 0", ("batch = 0",)),
    ("[target]\nprofile_seconds = -1", ("profile_seconds = -1",)),
    ("[space]\nbits = []", ("bits = []",)),
    ("[space]\nbits = [7]", ("bits = 7", "4, 8, 16, 32")),
    ("[space]\naxes = ['bits', 'bits']", ("'bits' twice",)),
    ("[space]\naxes = []", ("axes", "not empty")),
    ("[space]\nmin_channels_fraction = 0", ("min_channels_fraction = 0",)),
    ("[space]\nmin_channels_fraction = 2", ("min_channels_fraction = 2",)),
    ("[recovery]\nrungs = []", ("rungs = []",)),
    ("[recovery]\nrungs = [1.0, 0.5]", ("rise strictly",)),
    ("[recovery]\nbatch_size = 0", ("batch_size = 0",)),
    ("[recovery]\nepochs = nan", ("epochs = nan",)),
    ("[recovery]\nepochs = inf", ("epochs = inf",)),
    ("name = '../x'", ("name = '../x'",)),
    ("name = ''", ("name = ''",)),
    ("name = 7", ("name = 7",)),
    ("search = 7", ("[search] must be a section",)),
    ("[serch]", ("did you mean 'search'",)),
    ("[search]\n[search]", ("not valid TOML",)),
    ("path = 'x'", ("unknown section 'path'",)),
    ("format = 2", ("unknown section 'format'",)),
]


@pytest.mark.parametrize(("text", "parts"), SECTIONS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_study_file(cli: Cli, text: str, parts: tuple[str, ...]) -> None:
    task = "" if text.startswith(("search", "name", "path", "format")) else "[task]\nfrom = 'mine.py'\n"
    Path("mine.py").write_text("def task(): raise AssertionError('the task was made')")
    Path("mine.toml").write_text(task + text)
    assert_refused(cli("search", "mine.toml", "--trials", "1"), *parts)
    assert not Path("runs").exists()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00", b"x", b"= 3", b"[a", "x = 'ä".encode("latin-1")])
def test_what_is_no_toml(cli: Cli, content: bytes) -> None:
    Path("mine.toml").write_bytes(content)
    assert_refused(cli("search", "mine.toml"), "mine.toml: not valid TOML")


@pytest.mark.parametrize("stem", ["my task", "_x", "täsk", "7", "名前", "a.b", "[b]x"])
def test_a_task_file_of_any_name_is_taken(cli: Cli, stem: str) -> None:
    Path(f"{stem}.py").write_text("def task(): raise RuntimeError('made')")
    assert_refused(cli("space", "--task", f"{stem}.py"), "RuntimeError: made")


def test_a_folder_named_like_markup_or_a_formula(cli: Cli, study: Path) -> None:
    for name in ("[red]a", "$x$ $y$", ":bee:", "12:30:00", "a b", "ä"):
        odd = study.with_name(name)
        shutil.copytree(study, odd)
        code, out, err = cli("front", odd)
        assert (code, err) == (0, "") and f"{name}: " in out
        assert cli("front", odd, "--plot", "odd.svg")[0] == 0 and Path("odd.svg").stat().st_size > 1000
