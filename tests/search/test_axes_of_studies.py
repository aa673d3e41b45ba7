"""The axes of a study that goes on: those that it has, until others are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from autocompress.errors import StorageError
from autocompress.search.store.settings import check_settings, with_earlier_choices, write_settings
from autocompress.studies.study_file import StudyFile


def test_a_study_loses_the_axis_size_only_where_it_keeps_the_sizes(tmp_path: Path) -> None:
    begun = StudyFile().changed("space", axes=("channels", "bits", "size"))
    write_settings(tmp_path, begun)
    check_settings(tmp_path, begun.changed("space", axes=("channels", "size", "recovery")))
    with pytest.raises(StorageError, match=r"axis 'size'.*add it to \[space\] axes"):
        check_settings(tmp_path, begun.changed("space", axes=("channels", "bits")))
    (tmp_path / "sizes.json").write_text("{}")
    check_settings(tmp_path, begun.changed("space", axes=("channels", "bits")))


def test_it_may_come_later(tmp_path: Path) -> None:
    begun = StudyFile().changed("space", axes=("channels", "bits"))
    write_settings(tmp_path, begun)
    check_settings(tmp_path, begun.changed("space", axes=("channels", "bits", "size")))


def test_a_study_goes_on_over_the_axes_that_it_has(tmp_path: Path) -> None:
    """Another version may have other ones by default."""
    begun = StudyFile().changed("space", axes=("channels", "pattern", "bits", "recovery"))
    write_settings(tmp_path, begun)
    again, _, axes = with_earlier_choices(tmp_path, StudyFile().changed("space", keep=("stem",)))
    assert again.space.axes == begun.space.axes == tuple(axes)
    assert again.space.keep == ("stem",)
    check_settings(tmp_path, again)


def test_axes_that_are_named_take_their_place(tmp_path: Path) -> None:
    write_settings(tmp_path, StudyFile().changed("space", axes=("channels", "bits")))
    named = StudyFile().changed("space", axes=("channels", "size"))
    again, _, axes = with_earlier_choices(tmp_path, named)
    assert again.space.axes == ("channels", "size") and not axes


def test_nothing_is_said_of_axes_that_are_the_same(tmp_path: Path) -> None:
    write_settings(tmp_path, StudyFile())
    assert with_earlier_choices(tmp_path, StudyFile())[2] == []
