"""How the front is found and kept. The package is also the function `autocompress.search(task, budget_ms=5)`."""

from __future__ import annotations

import sys
import types
from typing import Any


class _CallablePackage(types.ModuleType):
    """Lets `autocompress.search` be both the package of this name and the function users call."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from ..api import search

        return search(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
