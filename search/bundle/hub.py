"""What a repository on the Hugging Face Hub has besides a bundle. Nothing is uploaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...files import read_json, write_bytes, write_json
from .record import read_record

LARGE = ("*.onnx", "*.data", "*.tflite", "*.pte", "*.pt2", "*.engine", "*.npz", "*.mlmodel", "*.bin")
"""Files that a Hub repository keeps in Git LFS."""


def add_hub_files(folder: Path) -> None:
    """Add what the Hub's own tools read: `.gitattributes`, `config.json`, and `preprocessor_config.json` for pictures.

    Args:
        folder: The bundle.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    lines = [f"{pattern} filter=lfs diff=lfs merge=lfs -text" for pattern in LARGE]
    write_bytes(folder / ".gitattributes", ("\n".join(lines) + "\n").encode())
    record, labels = read_record(folder), read_json(folder / "labels.json")
    config: dict[str, Any] = {
        "model_type": "autocompress",
        "task": record.kind,
        "files": [f.file for f in record.files.values()],
    }
    if labels:
        config["id2label"] = {str(i): name for i, name in enumerate(labels)}
        config["label2id"] = {name: i for i, name in enumerate(labels)}
    write_json(folder / "config.json", config)
    picture = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))["picture"]
    if picture is not None and picture["channels"] is not None:
        write_json(folder / "preprocessor_config.json", _preprocessor(picture))


def _preprocessor(picture: dict[str, Any]) -> dict[str, Any]:
    """Return how pictures become inputs, in the words of the library transformers."""
    height, width = picture["size"]
    channels = picture["channels"]
    mean, std = picture["mean"] or [0.0] * channels, picture["std"] or [1.0] * channels
    return {
        "do_resize": True,
        "size": {"height": height, "width": width},
        "do_convert_rgb": channels == 3,
        "do_rescale": True,
        "rescale_factor": picture["scale"],
        "do_normalize": bool(picture["mean"] or picture["std"]),
        "image_mean": mean,
        "image_std": std,
        "data_format": "channels_first" if picture["layout"] == "NCHW" else "channels_last",
    }
