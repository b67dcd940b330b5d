"""``orchestra systemd`` and ``worker join --systemd``, as far as they get on a machine that stays as it is."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from appliance import units
from tests.cli.conftest import Run
from tests.cli.wrong_lines import TOKEN


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An installation that a unit can see, wherever the tests run."""
    monkeypatch.setattr(units, "_HIDDEN", (Path("/nowhere"),))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python3"))
    return tmp_path / "bin/orchestra"


@pytest.fixture
def server(orchestra: Run, tmp_path: Path) -> Path:
    """A data directory."""
    assert orchestra("init", tmp_path / "site").code == 0
    return tmp_path / "site"


def test_a_dry_run_prints_the_unit_and_needs_no_rights(
    orchestra: Run, program: Path, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        monkeypatch.setattr(units, "_BOOTED", Path("/nowhere"))
    ran = orchestra("--data", server, "systemd", "install", "--dry-run", "--allow", "10.0.0.1/8")
    assert ran.code == 0
    lines = ran.out.decode().splitlines()
    assert lines[0] == "# ---- /etc/systemd/system/orchestra.service"
    assert f"ReadWritePaths={server}" in lines
    assert f"ExecStart={program.parent}/python3 -P -m appliance serve --config {server}/orchestra.toml" in lines
    assert "IPAddressAllow=localhost 10.0.0.0/8" in lines


def test_a_dry_run_for_programs_has_every_file(orchestra: Run, program: Path, tmp_path: Path) -> None:
    from appliance.config import write_worker_file

    file = write_worker_file(tmp_path / "worker", url="http://127.0.0.1:1", token=TOKEN, name="b1")
    ran = orchestra("systemd", "install", "--worker", "b1", "--config", file, "--strict", "--dry-run", "--json")
    document = json.loads(ran.out)
    assert document["unit"] == "orchestra-worker@b1.service"
    assert sorted(Path(name).name for name in document["files"]) == [
        "orchestra-worker@.service",
        "place.conf",
        "strict.conf",
    ]


def test_a_worker_of_another_name_is_refused(orchestra: Run, program: Path, tmp_path: Path) -> None:
    from appliance.config import write_worker_file

    file = write_worker_file(tmp_path / "worker", url="http://127.0.0.1:1", token=TOKEN, name="b1")
    ran = orchestra("systemd", "install", "--worker", "b2", "--config", file, "--dry-run")
    assert (ran.code, "is of the worker 'b1', not of 'b2'" in ran.err) == (1, True)


def test_a_directory_that_is_none_is_a_configuration_error(orchestra: Run, tmp_path: Path) -> None:
    ran = orchestra("--data", tmp_path, "systemd", "install", "--dry-run")
    assert (ran.code, "run orchestra init" in ran.err) == (78, True)


JOIN = ("worker", "join", "http://127.0.0.1:1", TOKEN, "--systemd")


@pytest.mark.parametrize("line", [("systemd", "install"), ("systemd", "install", "--worker", "b1"), JOIN])
def test_only_root_installs(orchestra: Run, line: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    ran = orchestra(*line)
    assert (ran.code, ran.err) == (4, "orchestra: units are written as root: run this with sudo\n")


@pytest.mark.parametrize("line", [("systemd", "install"), JOIN])
def test_a_machine_without_systemd_is_told(
    orchestra: Run, line: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(units, "_BOOTED", tmp_path / "missing")
    ran = orchestra(*line)
    assert (ran.code, "was not started by systemd" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--strict",), "--strict goes with --worker"),
        (("--worker", "b1", "--allow", "localhost"), "--allow is for the server"),
        (("--allow", "everywhere"), "is no IP address or network"),
        (("--allow", "10.0.0.0/33"), "is no IP address or network"),
        (("--worker", "../b1"), "Invalid value for '--worker'"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_done(orchestra: Run, more: tuple[str, ...], said: str) -> None:
    ran = orchestra("systemd", "install", *more)
    assert (ran.code, said in ran.err) == (2, True), ran.err
