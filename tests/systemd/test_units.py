"""The units as they are installed: as tight as promised, without a mistake, and the same at each installation."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from appliance import units
from appliance.model.errors import Conflict
from appliance.units import Plan, server_plan, worker_plan
from tests.required import demand

MOST = {"server": 11, "proxied": 10, "worker": 35, "strict": 15}  # S-70: scores, times ten


@pytest.fixture
def analyze() -> str:
    """The program that judges units without a running systemd."""
    program = shutil.which("systemd-analyze")
    demand("systemd", None if program else "systemd-analyze is not installed: it is in the package systemd")
    assert program is not None
    return program


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An installation that a unit can see, wherever the tests run."""
    place = tmp_path / "opt/bin"
    place.mkdir(parents=True)
    for name in ("python3", "orchestra"):
        (place / name).write_text("#!/bin/sh\n")
        (place / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(place / "python3"))
    monkeypatch.setattr(units, "_HIDDEN", (Path("/nowhere"),))
    return place / "orchestra"


def plan_of(kind: str, directory: Path) -> Plan:
    """What would be installed for a data directory of root."""
    for name in ("orchestra.toml", "worker.toml"):
        (directory / name).touch()
    if kind in ("server", "proxied"):
        allow = ["10.0.0.0/8"] if kind == "proxied" else []
        return server_plan(directory / "orchestra.toml", directory, allow=allow)
    return worker_plan("build-1", directory / "worker.toml", directory, strict=kind == "strict")


def laid_out(plan: Plan, into: Path) -> str:
    """Write a plan as systemd finds it, the template under the name of its instance; the path of the unit."""
    for name, text in plan.files:
        path = into / (plan.unit if name == units.WORKER_UNIT else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(into / plan.unit)


def a_root_directory(tmp_path: Path) -> Path:
    """As after ``orchestra init`` by root."""
    directory = tmp_path / "orchestra"
    directory.mkdir(mode=0o700)
    return directory


@pytest.mark.parametrize("kind", MOST)
def test_req_S_70_units_reach_their_scores(kind: str, analyze: str, program: Path, tmp_path: Path) -> None:
    unit = laid_out(plan_of(kind, a_root_directory(tmp_path)), tmp_path / "units")
    ran = subprocess.run(
        [analyze, "security", "--offline=true", f"--threshold={MOST[kind]}", unit],
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_COLORS": "0", "LANG": "C.UTF-8"},
        check=False,
    )
    print(ran.stdout.splitlines()[-1])
    assert ran.returncode == 0, ran.stdout


def test_a_unit_that_says_nothing_is_far_from_the_scores(analyze: str, tmp_path: Path) -> None:
    """The program does judge: else the test above could not fail."""
    (tmp_path / "bare.service").write_text("[Service]\nExecStart=/bin/true\n")
    judged = [analyze, "security", "--offline=true", "--threshold=90", str(tmp_path / "bare.service")]
    assert subprocess.run(judged, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("kind", MOST)
def test_req_S_70_systemd_has_nothing_to_say_about_a_unit(
    kind: str, analyze: str, program: Path, tmp_path: Path
) -> None:
    """It ends with 0 on a key that it does not know, and only says so."""
    unit = laid_out(plan_of(kind, a_root_directory(tmp_path)), tmp_path / "units")
    ran = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("kind", ["server", "worker"])
def test_req_S_66_units_bound_what_they_may_use(kind: str, program: Path, tmp_path: Path) -> None:
    text = plan_of(kind, a_root_directory(tmp_path)).files[0].text
    for key in ("MemoryMax", "TasksMax", "LimitNOFILE"):
        assert re.search(rf"^{key}=.+$", text, re.MULTILINE), key


def test_fault_F04_a_stop_of_the_worker_ends_the_worker_only(program: Path, tmp_path: Path) -> None:
    lines = plan_of("worker", a_root_directory(tmp_path)).files[0].text.splitlines()
    assert {"KillMode=process", "Delegate=yes", "OOMPolicy=continue", "RuntimeDirectoryPreserve=yes"} <= set(lines)


@pytest.mark.parametrize("kind", ["server", "worker"])
def test_fault_F40_wrong_settings_are_not_started_again(kind: str, program: Path, tmp_path: Path) -> None:
    lines = plan_of(kind, a_root_directory(tmp_path)).files[0].text.splitlines()
    assert {"Restart=always", "RestartPreventExitStatus=78"} <= set(lines)


@pytest.mark.parametrize("kind", ["server", "worker"])
def test_every_line_of_a_unit_stands_below_a_reason(kind: str, program: Path, tmp_path: Path) -> None:
    """A section, or a block between two empty lines, begins with a comment, or with what needs none."""
    text = plan_of(kind, a_root_directory(tmp_path)).files[0].text
    for block in text.split("\n\n"):
        first = next(line for line in block.splitlines() if not line.startswith("["))
        assert first.startswith(("#", "Description=", "WantedBy=")), block


def test_a_server_elsewhere_writes_there_only(program: Path, tmp_path: Path) -> None:
    directory = a_root_directory(tmp_path)
    (unit,) = plan_of("server", directory).files
    lines = unit.text.splitlines()
    assert f"ExecStart={program} serve --config {directory}/orchestra.toml" in lines
    assert f"ReadWritePaths={directory}" in lines
    assert f"LoadCredential=master.key:{directory}/master.key" in lines
    assert "/var/lib/orchestra" not in unit.text
    assert not [line for line in lines if line.startswith("StateDirectory")]
    owner = "orchestra" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    assert f"User={owner}" in lines


def test_a_server_below_var_lib_has_its_directory_looked_after(program: Path, tmp_path: Path) -> None:
    settings = tmp_path / "orchestra.toml"
    settings.touch()
    (unit,) = server_plan(settings, Path("/var/lib/orchestra-second")).files
    assert {"StateDirectory=orchestra-second", "StateDirectoryMode=0700"} <= set(unit.text.splitlines())
    assert f"serve --config {settings}" in unit.text


def test_a_new_systemd_waits_for_the_end_of_a_reload(program: Path, tmp_path: Path) -> None:
    directory = a_root_directory(tmp_path)
    settings = directory / "orchestra.toml"
    settings.touch()
    old, new = (server_plan(settings, directory, version=version).files[0].text for version in (252, 253))
    assert "\nType=notify\n" in old and "\nExecReload=/bin/kill -HUP $MAINPID\n" in old
    assert "\nType=notify-reload\n" in new and "ExecReload=" not in new


def test_a_worker_at_its_place_needs_the_template_only(program: Path) -> None:
    place = units.worker_place("build-1")
    plan = worker_plan("build-1", place / "worker.toml", place)
    assert [one.name for one in plan.files] == ["orchestra-worker@.service"]
    assert plan.unit == "orchestra-worker@build-1.service"


def test_a_worker_elsewhere_gets_a_drop_in(program: Path, tmp_path: Path) -> None:
    directory = a_root_directory(tmp_path)
    _, own = plan_of("worker", directory).files
    assert own.name == "orchestra-worker@build-1.service.d/place.conf"
    assert f"ExecStart={program} worker run --config {directory}/worker.toml" in own.text.splitlines()


def test_the_owner_of_a_directory_runs_its_unit(program: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    directory = a_root_directory(tmp_path)
    os.chown(directory, 65534, 65534)
    plan = plan_of("server", directory)
    assert plan.account == "nobody"
    assert "User=nobody" in plan.files[0].text


def test_req_S_89_root_gives_nothing_away_because_an_account_says_so(program: Path, tmp_path: Path) -> None:
    """Settings of an account could name any directory of root's as theirs."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    directory = a_root_directory(tmp_path)
    settings = tmp_path / "orchestra.toml"
    settings.touch()
    os.chown(settings, 65534, 65534)
    with pytest.raises(Conflict, match="is root's"):
        server_plan(settings, directory)


@pytest.mark.parametrize("is_link", [False, True])
def test_req_S_89_jobs_cannot_have_a_unit_run_as_another_account(program: Path, tmp_path: Path, is_link: bool) -> None:
    """They have their worker's account, and so its settings, which could name the directory of the server."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    directory = a_root_directory(tmp_path)
    os.chown(directory, 65534, 65534)
    settings, other = tmp_path / "worker.toml", tmp_path / "root.toml"
    other.touch()
    if is_link:
        settings.symlink_to(other)
    else:
        settings.touch()
    os.chown(settings, 65533, 65533, follow_symlinks=False)
    with pytest.raises(Conflict, match="belong to two accounts"):
        worker_plan("build-1", settings, directory)


@pytest.mark.parametrize("place", ["/home/ana/orchestra", "/root/orchestra", "/run/user/1000/orchestra"])
def test_a_directory_that_a_unit_cannot_see_is_refused(
    place: str, monkeypatch: pytest.MonkeyPatch, program: Path
) -> None:
    monkeypatch.undo()
    with pytest.raises(Conflict, match="cannot see: move it to /var/lib"):
        units.server_plan(Path(place) / "orchestra.toml", Path(place))


def test_a_path_that_a_unit_cannot_name_is_refused(program: Path, tmp_path: Path) -> None:
    directory = tmp_path / "two words"
    directory.mkdir()
    with pytest.raises(Conflict, match="a unit cannot name"):
        plan_of("server", directory)


def test_what_is_written_twice_is_written_once(program: Path, tmp_path: Path) -> None:
    plan = plan_of("strict", a_root_directory(tmp_path))
    assert len(units._write(plan.files, tmp_path / "units")) == 3
    assert units._write(plan.files, tmp_path / "units") == []
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "units").rglob("*.*") if path.is_file()} == {
        "0o644"
    }


def test_root_acts_as_the_owner_of_what_is_not_its_own() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can act as another")
    with tempfile.TemporaryDirectory() as name:  # below nothing that only root may enter
        place = Path(name)
        os.chown(place, 65534, 65534)
        with units.acting_as_owner(place):
            assert (os.geteuid(), os.getegid()) == (65534, 65534)
            (place / "made").touch()
        assert os.geteuid() == 0
        (place / "link").symlink_to("/etc/passwd")
        os.chown(place / "link", 65534, 65534, follow_symlinks=False)
        with units.acting_as_owner(place / "link"):  # root would read for them what they may not
            assert os.geteuid() == 65534
        assert (place / "made").stat().st_uid == 65534
        with units.acting_as_owner(place / "missing"):
            assert os.geteuid() == 0
