"""Fill the marked blocks of README.md from the files that they show: `python docs/fill_readme.py`.

A block stands between `<!-- name -->` and `<!-- /name -->`. tests/test_readme.py checks that README.md is filled.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = {
    "front": ("text", "docs/front.txt"),
    "export": ("text", "docs/export.txt"),
    "my_task": ("python", "studies/my_task.py"),
    "study_file": ("toml", "studies/cifar10_resnet20.toml"),
}


def filled(text: str) -> str:
    """`text` with every marked block filled anew."""
    for name, (language, source) in SOURCES.items():
        content = (ROOT / source).read_text(encoding="utf-8").rstrip()
        block = f"<!-- {name} -->\n```{language}\n{content}\n```\n<!-- /{name} -->"
        pattern = rf"<!-- {name} -->.*?<!-- /{name} -->"
        text, count = re.subn(pattern, lambda _, block=block: block, text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"README.md: expected one block {name!r}, got {count}")
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text(encoding="utf-8")), encoding="utf-8")
