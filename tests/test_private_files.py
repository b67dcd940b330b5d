"""Files that others must not read or write."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from appliance.model.errors import Invalid
from appliance.private_files import check_not_writable, make_private_directory, read_private, write_private


def test_req_S_55_a_private_file_is_made_for_its_owner_alone_and_replaces_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new é\r\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes() == "new é\r\n".encode()
    assert read_private(file) == "new é\r\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_private_file_replaces_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "f").symlink_to(tmp_path / "target")
    write_private(tmp_path / "f", "new")
    assert (tmp_path / "target").read_text() == "kept"
    assert (tmp_path / "f").read_text() == "new"


def test_what_a_write_that_was_cut_short_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    write_private(tmp_path / "f", "one")
    left = tmp_path / f".f.{os.getpid()}.part"
    left.write_text("half")
    write_private(tmp_path / "f", "two")
    assert (tmp_path / "f").read_text() == "two"
    assert not left.exists()


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o601, 0o620, 0o602])
def test_req_S_55_a_file_with_any_right_for_others_is_not_read(mode: int, tmp_path: Path) -> None:
    write_private(tmp_path / "f", "secret")
    (tmp_path / "f").chmod(mode)
    with pytest.raises(Invalid, match="chmod 600"):
        read_private(tmp_path / "f")


def test_a_file_that_is_too_large_or_no_text_is_not_read(tmp_path: Path) -> None:
    write_private(tmp_path / "f", "x" * 70_000)
    with pytest.raises(Invalid, match="too large"):
        read_private(tmp_path / "f")
    write_private(tmp_path / "f", "")
    (tmp_path / "f").write_bytes(b"\xff")
    with pytest.raises(Invalid, match="not text"):
        read_private(tmp_path / "f")


def test_a_private_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    make_private_directory(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    make_private_directory(tmp_path / "a" / "b")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_req_S_89_a_directory_that_others_may_write_to_is_refused(mode: int, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    with pytest.raises(Invalid, match="chmod go-w"):
        make_private_directory(tmp_path / "open")


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o644, 0o600])
def test_what_others_may_only_read_is_not_refused_as_configuration(mode: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    (tmp_path / "f").chmod(mode)
    check_not_writable(tmp_path / "f")
