"""``orchestra backup`` and ``orchestra restore`` as a person types them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tests.backup.place import Site, log_file
from tests.cli.conftest import Run


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def test_a_backup_says_what_it_holds_and_that_its_restore_was_tried(orchestra: Run, site: Site, tmp_path: Path) -> None:
    with site.running() as life:
        life.ended(b"hello\n")
        ran = orchestra("--data", site.directory, "backup", tmp_path / "b.tar.gz", "--verify")
    assert ran.code == 0, ran.err
    assert b"1 runs, 1 logs" in ran.out and b"the restore was tried: it works" in ran.out


def test_a_damaged_log_is_exit_code_1_and_one_line(orchestra: Run, site: Site, tmp_path: Path) -> None:
    with site.running() as life:
        run = life.ended(b"hello\n")
    log_file(site.directory, run).write_bytes(b"jello\n")
    ran = orchestra("--data", site.directory, "backup", tmp_path / "b.tar", "--verify", "--json")
    assert ran.code == 1
    document = json.loads(ran.out)
    assert (document["runs"], document["logs"], len(document["findings"])) == (1, 1, 2)


def test_a_restore_says_where_the_old_state_is_and_what_to_do_next(orchestra: Run, site: Site, tmp_path: Path) -> None:
    assert orchestra("--data", site.directory, "backup", tmp_path / "b.tar").code == 0
    ran = orchestra("--data", site.directory, "restore", tmp_path / "b.tar")
    assert ran.code == 0, ran.err
    assert b"before-restore-" in ran.out and b"next: start the server" in ran.out
    again = orchestra("--data", site.directory, "restore", tmp_path / "b.tar", "--json")
    assert Path(json.loads(again.out)["aside"]).is_dir()


def test_a_new_machine_needs_the_key(
    orchestra: Run, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchestra("--data", site.directory, "backup", tmp_path / "b.tar")
    there = tmp_path / "there"
    ran = orchestra("--data", there, "restore", tmp_path / "b.tar")
    assert ran.code == 1 and "--master-key-stdin" in ran.err
    monkeypatch.setattr(sys, "stdin", io.StringIO("no key\n"))
    ran = orchestra("--data", there, "restore", tmp_path / "b.tar", "--master-key-stdin")
    assert ran.code == 1 and "64 hexadecimal digits" in ran.err
    monkeypatch.setattr(sys, "stdin", io.StringIO((site.directory / "master.key").read_text()))
    assert orchestra("--data", there, "restore", tmp_path / "b.tar", "--master-key-stdin").code == 0
    assert orchestra("--data", there, "db", "check").code == 0


@pytest.mark.parametrize("content", [b"", b"no tar at all", bytes(10240), b"\x1f\x8b\x08" + bytes(30)])
def test_what_is_no_backup_is_one_clear_line(orchestra: Run, site: Site, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.tar").write_bytes(content)
    ran = orchestra("--data", site.directory, "restore", tmp_path / "b.tar")
    assert ran.code == 1 and ran.err.count("\n") == 1 and "backup" in ran.err and "bug" not in ran.err
