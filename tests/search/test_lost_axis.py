"""An axis whose students cannot be made without it stays in a study."""

from __future__ import annotations

from pathlib import Path

import pytest

from autocompress.errors import StorageError
from autocompress.search.store.settings import check_settings, write_settings
from autocompress.studies.study_file import StudyFile


def test_a_study_does_not_lose_the_axis_size(tmp_path: Path) -> None:
    begun = StudyFile().changed("space", axes=("channels", "bits", "size"))
    write_settings(tmp_path, begun)
    check_settings(tmp_path, begun.changed("space", axes=("channels", "size", "recovery")))
    with pytest.raises(StorageError, match=r"axis 'size'.*add it to \[space\] axes"):
        check_settings(tmp_path, begun.changed("space", axes=("channels", "bits")))


def test_it_may_come_later(tmp_path: Path) -> None:
    begun = StudyFile().changed("space", axes=("channels", "bits"))
    write_settings(tmp_path, begun)
    check_settings(tmp_path, begun.changed("space", axes=("channels", "bits", "size")))
