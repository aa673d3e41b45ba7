"""How `gpu_check` makes the project and its missing dependencies importable, and in which state the machine is.

Nothing is installed into the machine's own environment: everything goes into one folder, for PYTHONPATH.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
RUNTIMES = "autocompress.runtimes"


def prepare_imports(folder: Path, wheels: Path | None) -> list[str]:
    """Make `autocompress` importable here and in processes that start from here.

    Args:
        folder: Where files for that may be put.
        wheels: A folder of wheels, of which those are used whose package is not installed.

    Returns:
        What was done, and which dependencies are still missing, in words.

    Raises:
        subprocess.CalledProcessError: pip cannot unpack a wheel.
    """
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    said, paths = [], []
    if wheels is not None and (
        missing := [w for w in sorted(wheels.glob("*.whl")) if not _installed(w.name.split("-")[0])]
    ):
        site = folder / "site"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
        # without dependencies, because with --target pip would want torch's own from the folder too
        subprocess.run([*command, "--no-deps", "--target", site, *missing], check=True)
        paths.append(str(site))
        said.append(f"from {wheels}: {', '.join(w.name.split('-')[0] for w in missing)}")
    if not _project_is_installed():
        paths.append(str(_linked_project(project, folder / "project")))
        said.append(f"autocompress runs from {REPOSITORY}, it is not installed")
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
    names = [_package(requirement) for requirement in project["project"]["dependencies"]]
    if absent := [name for name in names if not _installed(name)]:
        said.append(f"missing here: {', '.join(absent)}; parts that need them will fail, give them with --wheels")
    return said


def machine_facts(device: str) -> list[str]:
    """Return what the check runs on, one fact a line: the GPU, its driver and clocks, and versions."""
    import torch

    cudnn = torch.backends.cudnn.version()
    versions = [f"torch {torch.__version__}", f"CUDA {torch.version.cuda}", f"cuDNN {cudnn}"]
    names = ("triton", "onnx", "onnxruntime")
    versions += [f"{name} {_version(name) or 'absent'}" for name in names]
    facts = [f"Python {platform.python_version()}, {', '.join(versions)}"]
    if device == "cuda":
        gpu = torch.cuda.get_device_properties(0)
        facts.insert(0, f"{gpu.name}, compute capability {gpu.major}.{gpu.minor}, {gpu.total_memory / 2**30:.0f} GiB")
        facts.append(f"nvidia-smi: {gpu_state()}")
        convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        facts.append(f"TF32 in fp32 convolutions: {convolutions}, in fp32 matrix products: {products}")
    facts.append(f"{os.cpu_count()} CPU cores, load {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} torch threads")
    return facts


def gpu_state() -> str:
    """Return the driver's version and the clocks of this moment, or why they are not known."""
    query = "driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw"
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "not found"
    command = [tool, "--id=0", f"--query-gpu={query}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return f"{' '.join(done.stdout.split())} ({query})" if done.returncode == 0 else "gave no answer"


def _project_is_installed() -> bool:
    try:
        return find_spec("autocompress.evaluators") is not None and bool(metadata.entry_points(group=RUNTIMES))
    except ImportError:
        return False


def _linked_project(project: dict[str, Any], folder: Path) -> Path:
    """Return a folder that holds the project as if it were installed: its rooms under `autocompress`, by symbolic
    links, beside the entry points that pyproject.toml declares.
    """
    package = folder / "autocompress"
    package.mkdir(parents=True)
    rooms = {name: place for name, place in project["tool"]["setuptools"]["package-dir"].items() if "." in name}
    for path in (REPOSITORY / "autocompress").iterdir():
        (package / path.name).symlink_to(path)
    for name, place in rooms.items():
        link = package / name.partition(".")[2]
        if not link.exists():
            link.symlink_to(REPOSITORY / place)
    about = project["project"]
    info = folder / f"{about['name']}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    groups = about.get("entry-points", {})
    sections = [f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in names.items()) for group, names in groups.items()]
    (info / "entry_points.txt").write_text("\n\n".join(sections) + "\n")
    return folder


def _installed(name: str) -> bool:
    return _version(name) != ""


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _package(requirement: str) -> str:
    """Return the name at the beginning of a requirement such as "torch>=2.11"."""
    return requirement.split(";")[0].split("[")[0].split(">")[0].split("<")[0].split("=")[0].split("!")[0].strip()
