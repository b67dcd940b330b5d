"""Server and workers under a real systemd, from a wheel: they start, are killed, restarted, upgraded and stopped."""

from __future__ import annotations

import json
import time

import pytest

from tests.systemd.conftest import NEXT_VERSION, PIP, PROJECTS, Machine

pytestmark = pytest.mark.long

SERVER = "orchestra.service"
WORKERS = ("plain", "strict")
UNSTUCK_WITHIN = 35.0  # seconds (F44)


def unit(worker: str) -> str:
    """What systemctl calls it."""
    return f"orchestra-worker@{worker}.service"


@pytest.mark.parametrize("worker", WORKERS)
def test_goal_S7_a_job_runs_under_the_hardening_of_its_worker(machine: Machine, worker: str) -> None:
    run = machine.trigger(f"trial/look-{worker}")
    assert machine.wait(run) == "succeeded"
    words = machine.log(run).splitlines()
    assert "NoNewPrivs:\t1" in words
    assert "Seccomp:\t2" in words
    assert "CapBnd:\t0000000000000000" in words
    assert f"HOME=/var/lib/orchestra-worker/{worker}/home" in words
    assert not [word for word in words if word.startswith(("NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "WATCHDOG"))]


def test_req_S_70_the_server_has_no_rights_and_sees_no_other(machine: Machine) -> None:
    pid = machine.show(SERVER, "MainPID")
    status = machine.out(f"cat /proc/{pid}/status").splitlines()
    assert {"NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"} <= set(status)
    assert machine.out(f"stat --format %U /proc/{pid}") == "orchestra"
    assert machine.out(f"nsenter -t {pid} -m cat /proc/sys/kernel/random/boot_id || echo hidden").endswith("hidden")
    assert "StatusText=listening on http://127.0.0.1:8080" in machine.out(f"systemctl show {SERVER}")


def test_an_installation_can_be_repeated_and_changes_nothing(machine: Machine) -> None:
    for line in ("", " --worker plain", " --worker strict --strict"):
        said = machine.run(f"orchestra systemd install{line}")
        assert "is installed already, and nothing was changed" in said


def test_a_local_command_tells_root_as_whom_to_run_it(machine: Machine) -> None:
    assert "with sudo -u orchestra" in machine.run("orchestra db check", code=78)


def test_fault_F01_a_killed_server_is_started_again_and_the_run_goes_on(machine: Machine) -> None:
    run = machine.trigger("trial/count-plain")
    machine.until_it_counts(run)
    before = int(machine.show(SERVER, "NRestarts"))
    machine.run(f"systemctl kill --kill-whom main --signal KILL {SERVER}")
    machine.until(f'[ "$(systemctl show {SERVER} --property NRestarts --value)" -gt {before} ]')
    machine.until(f"systemctl is-active --quiet {SERVER}")
    machine.let_go("plain")
    machine.assert_whole(run)
    machine.run("rm /var/lib/orchestra-worker/plain/home/go")


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("how", ["restart", "kill --kill-whom main --signal KILL", "reload"])
def test_fault_F03_F04_a_job_survives_its_worker(machine: Machine, worker: str, how: str) -> None:
    run = machine.trigger(f"trial/count-{worker}")
    machine.until_it_counts(run)
    main, job = machine.show(unit(worker), "MainPID"), machine.out("pgrep -f 'until \\['")
    machine.run(f"systemctl {how} {unit(worker)}")
    machine.until(f"systemctl is-active --quiet {unit(worker)}")
    if how != "reload":
        machine.until(f'[ "$(systemctl show {unit(worker)} --property MainPID --value)" -gt {main} ]')
    machine.until(f"orchestra worker show {worker} --json | grep -q '\"is_active\": true'")
    assert machine.out("pgrep -f 'until \\['") == job
    machine.let_go(worker)
    machine.assert_whole(run)
    machine.run(f"rm /var/lib/orchestra-worker/{worker}/home/go")


@pytest.mark.parametrize("worker", WORKERS)
def test_fault_F27_a_job_of_a_workers_last_life_is_aborted(machine: Machine, worker: str) -> None:
    """The strict worker does not see its processes in /proc: they are of another user namespace."""
    run = machine.trigger(f"trial/count-{worker}")
    machine.until_it_counts(run)
    machine.run(f"systemctl restart {unit(worker)}")
    machine.run(f"orchestra run abort '{run}'")
    assert machine.wait(run) == "aborted"
    machine.until("! pgrep -f 'until \\['")


@pytest.mark.parametrize("worker", WORKERS)
def test_fault_F05_what_hid_itself_is_found_by_its_control_group(machine: Machine, worker: str) -> None:
    """Its executor dies while no worker is there; the worker of the next life ends all of the group."""
    run = machine.trigger(f"trial/hide-{worker}")
    machine.until_it_counts(run)
    run_id = machine.look(run)["id"]
    group = machine.show(unit(worker), "ControlGroup")
    assert f"0::{group}/run-{run_id}\n" in machine.log(run)
    executor = machine.out(f"cut -d' ' -f1 /var/lib/orchestra-worker/{worker}/runs/{run_id}/lock")
    assert f"0::{group}/worker" in machine.out(f"cat /proc/{executor}/cgroup")
    machine.run(f"systemctl stop {unit(worker)}")
    machine.run(f"kill -KILL {executor}")
    assert len(machine.out("pgrep -f 'sleep 424[2]'").splitlines()) >= 1
    machine.run(f"systemctl start {unit(worker)}")
    assert machine.wait(run) == "errored"
    assert machine.out("pgrep -f 'sleep 424[2]' || true") == ""
    assert machine.out(f"ls -d /sys/fs/cgroup{group}/run-* || true") == ""


def test_a_stop_takes_seconds_and_leaves_the_job_alone(machine: Machine) -> None:
    run = machine.trigger("trial/count-plain")
    machine.until_it_counts(run)
    began = time.monotonic()
    machine.run(f"systemctl stop {SERVER} {unit('plain')}")
    print(f"stop of server and worker with a running job: {time.monotonic() - began:.1f} s")
    assert machine.show(SERVER, "Result") == machine.show(unit("plain"), "Result") == "success"  # nothing was killed
    machine.let_go("plain")
    machine.until("! pgrep -f 'until \\['")
    machine.run(f"systemctl start {SERVER} {unit('plain')}")
    machine.assert_whole(run)
    machine.run("rm /var/lib/orchestra-worker/plain/home/go")


def test_a_reload_applies_the_project_files(machine: Machine) -> None:
    (trial,) = PROJECTS["projects"]
    added = {"identifier": "added", "definition": {"commands": ["echo added"]}}
    machine.write_projects({"projects": [{**trial, "jobs": [*trial["jobs"], added]}]})
    machine.run(f"systemctl reload {SERVER}")
    machine.until(f"systemctl show {SERVER} --property StatusText | grep -q '1 change'")
    assert machine.wait(machine.trigger("trial/added")) == "succeeded"
    machine.run("echo 'projects: [' >/var/lib/orchestra/projects/example.yaml")
    machine.run(f"systemctl reload {SERVER}")
    machine.until(f"systemctl show {SERVER} --property StatusText | grep -q 'was not reloaded'")
    assert machine.wait(machine.trigger("trial/added")) == "succeeded", "what was in force stays"
    machine.write_projects(PROJECTS)
    machine.run(f"systemctl reload {SERVER}")


def test_fault_F40_wrong_settings_are_not_started_again(machine: Machine) -> None:
    place = "/var/lib/orchestra/orchestra.toml"
    machine.run(f"cp -p {place} /root/kept && echo 'nonsense = 1' >>{place}")
    machine.run(f"systemctl restart {SERVER}", code=1)
    machine.until(f"systemctl is-failed --quiet {SERVER}")
    assert machine.show(SERVER, "ExecMainStatus") == "78"
    assert machine.show(SERVER, "NRestarts") == "0"
    machine.run(f"cp -p /root/kept {place} && systemctl start {SERVER}")


STICKING = """
import pathlib, threading, time
from appliance.app import Appliance

class Sticking(Appliance):
    def start(self):
        super().start()
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        stick = pathlib.Path("/var/lib/orchestra/stick")
        while not stick.exists():
            time.sleep(0.1)
        which = stick.read_text().strip()
        stick.unlink()
        if which == "writer":
            self.repository._writer.do(lambda connection: threading.Event().wait())
        else:
            self.gateway._loop.call_soon_threadsafe(threading.Event().wait)
"""


@pytest.mark.parametrize("part", ["writer", "loop"])
@pytest.mark.timeout(240)
def test_fault_F44_a_stuck_server_is_started_again(machine: Machine, part: str) -> None:
    """With the watchdog of the unit as it is installed; the journal shows where it was stuck."""
    place = "/var/lib/orchestra"
    machine.run(f"cat >{place}/sticking.py", STICKING)
    machine.run(f"cp -p {place}/orchestra.toml /root/kept")
    machine.run(f"sed -i '/^\\[appliance\\]/d' {place}/orchestra.toml")
    machine.run(f"printf '\\n[appliance]\\nfactory = \"sticking:Sticking\"\\n' >>{place}/orchestra.toml")
    machine.run(f"systemctl restart {SERVER}")
    run = machine.trigger("trial/count-plain")
    machine.until_it_counts(run)
    machine.run(f"echo {part} >{place}/stick")
    machine.until(f"[ ! -e {place}/stick ]")
    began = time.monotonic()
    machine.until(f'[ "$(systemctl show {SERVER} --property NRestarts --value)" = 1 ]', within=60)
    machine.until(f"systemctl is-active --quiet {SERVER}")
    took = time.monotonic() - began
    print(f"a stuck {part}: the server is back after {took:.1f} s (at most {UNSTUCK_WITHIN:.0f})")
    assert took < UNSTUCK_WITHIN
    said = machine.out(f"journalctl --no-pager --unit {SERVER} --lines 400")
    assert "Watchdog timeout" in said
    assert "Current thread" in said or "Thread 0x" in said
    machine.let_go("plain")
    machine.assert_whole(run)
    machine.run("rm /var/lib/orchestra-worker/plain/home/go")
    machine.run(f"cp -p /root/kept {place}/orchestra.toml && systemctl restart {SERVER}")


@pytest.mark.parametrize("worker", WORKERS)
def test_fault_F44_a_stuck_worker_is_started_again_and_its_job_goes_on(machine: Machine, worker: str) -> None:
    name = unit(worker)
    machine.run(f"mkdir -p /run/systemd/system/{name}.d")
    machine.run(f"printf '[Service]\\nWatchdogSec=3\\nTimeoutAbortSec=1\\n' >/run/systemd/system/{name}.d/soon.conf")
    machine.run(f"systemctl daemon-reload && systemctl restart {name}")
    run = machine.trigger(f"trial/count-{worker}")
    machine.until_it_counts(run)
    machine.run(f"kill -STOP $(systemctl show {name} --property MainPID --value)")
    machine.until(f'[ "$(systemctl show {name} --property NRestarts --value)" = 1 ]')
    machine.let_go(worker)
    machine.assert_whole(run)
    machine.run(f"rm /var/lib/orchestra-worker/{worker}/home/go /run/systemd/system/{name}.d/soon.conf")
    machine.run("systemctl daemon-reload")


def test_fault_F04_an_upgrade_leaves_running_jobs_alone(machine: Machine) -> None:
    """Last, because it stays: a later version is installed over this one, server and workers are restarted."""
    runs = {worker: machine.trigger(f"trial/count-{worker}") for worker in WORKERS}
    for run in runs.values():
        machine.until_it_counts(run)
    machine.run(f"{PIP} --no-deps --upgrade /srv/wheels/next/*.whl")
    assert NEXT_VERSION in machine.out("orchestra --version")
    machine.run("orchestra systemd install --now")
    for worker, run in runs.items():
        machine.run(f"systemctl restart {unit(worker)}")
        version = f"orchestra worker show {worker} --json | grep -q 'orchestra-appliance {NEXT_VERSION}'"
        machine.until(version)
        machine.let_go(worker)
        machine.assert_whole(run)
    assert json.loads(machine.out("orchestra worker list --json"))["items"][0]["is_active"]
