"""Which recipes this user wrote, so that code which they name may run unasked; see `store.made_here` for studies.

A recipe is sent with its bundle, so no mark of its maker can lie in it: this user's cache knows the recipes of his.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ...cache import Cache
from ...errors import UsageError
from ...spaces.plain import to_plain
from ...spaces.spec import FIRST_PARTS, Recovery
from ...studies.study_file import StudyFile
from ..store.made_here import is_made_here
from .recipe import Recipe
from .sources import changed, code_files

_KNOWN = "recipes"
LATER = ("calibration", "criterion", "importance")
"""Parts that earlier versions did not write: a recipe without them is known by the key that it had then."""
FIRST_TEACHING = frozenset(
    ("temperature", "alpha", "learning_rate", "feature_weight", "quantization_aware", "fresh", "optimizer")
)
"""Settings of a recovery that they did write."""


def recipe_key(recipe: Recipe) -> str:
    """Return what a recipe is known by: the same for the same recipe, however it was written."""
    plain = {key: value for key, value in to_plain(recipe).items() if key not in LATER or value}
    for student in plain["students"]:
        spec = student["spec"]
        student["spec"] = {key: value for key, value in spec.items() if key in FIRST_PARTS or value}
        if spec["recovery"] is not None:
            usual, taught = vars(Recovery()), spec["recovery"]
            student["spec"]["recovery"] = {k: v for k, v in taught.items() if k in FIRST_TEACHING or v != usual[k]}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def remember_recipe(recipe: Recipe, study: Path, settings: StudyFile) -> None:
    """Note that this user wrote a recipe, if its study is his own too and names code.

    Args:
        recipe: As it is read back.
        study: The study's folder.
        settings: The study's.
    """
    if settings.code and is_made_here(study, settings):
        _cache().write(recipe_key(recipe), True, code=list(settings.code))


def check_own_recipe(recipe: Recipe, settings: StudyFile) -> None:
    """Refuse a recipe that names code, unless this user wrote it and its code is what it was then.

    Args:
        recipe: The recipe.
        settings: Its study's, in the folder where its files were found.

    Raises:
        UsageError: It names code of somebody else, or code that was changed since.
    """
    files = code_files(settings)
    if not settings.code or (
        len(files) == len(settings.code)
        and all(name in recipe.sources and (settings.folder / name).is_file() for name in files)
        and not set(files) & set(changed(recipe.sources, settings.folder))
        and _cache().read(recipe_key(recipe))
    ):
        return
    other = "" if settings.task.source is None else ", or name the task with --task"
    raise UsageError(
        f"the recipe names code, {settings.code[0]} of {settings.folder}, and was written elsewhere, or that code was "
        f"changed since: look at it, then give --run-code{other}"
    )


def _cache() -> Cache[bool]:
    return Cache(_KNOWN, 1, bool, bool)
