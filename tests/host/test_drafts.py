"""A file is the old one or the new one."""

import pytest

from nst_jax.files.atomic import whole_file
from nst_jax.host.drafts import draft_of, remove_drafts

BOTH = pytest.mark.parametrize("writer", [draft_of, whole_file])


@BOTH
def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, writer):
    path = tmp_path / "picture.png"
    path.write_text("old")
    with writer(path) as draft:
        draft.write_text("half")
        assert path.read_text() == "old" and draft.parent == tmp_path
        draft.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@BOTH
def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path, writer):
    path = tmp_path / "picture.png"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), writer(path) as draft:
        draft.write_text("half")
        _ = 1 / 0
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_a_name_can_be_has_a_draft(tmp_path):
    path = tmp_path / ("a" * 255)
    with draft_of(path) as draft:
        draft.write_text("new")
    assert path.read_text() == "new"


def test_only_the_drafts_of_one_file_are_removed(tmp_path):
    ours, theirs = writers = [draft_of(tmp_path / name) for name in ("ours.png", "theirs.png")]
    drafts = {writer: writer.__enter__() for writer in writers}
    for draft in drafts.values():
        draft.write_text("half")
    remove_drafts(tmp_path / "ours.png")
    assert not drafts[ours].exists() and drafts[theirs].exists()
