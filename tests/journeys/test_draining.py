"""A worker is taken out of service, and both sides are killed meanwhile; it is upgraded under a running job."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.printing import JOB, Printing
from tests.journeys.site import COMMAND, LONG_ENOUGH, Site, opened

JOBS: list[dict[str, Any]] = [
    {**JOB, "requires": {"who": "here"}},
    {"identifier": "quick", "requires": {"who": "here"}, "definition": {"commands": ["true"]}},
    {"identifier": "elsewhere", "requires": {"who": "elsewhere"}, "definition": {"commands": ["true"]}},
]
PROJECTS: dict[str, Any] = {"projects": [{"identifier": "journeys", "display_name": "Journeys", "jobs": JOBS}]}
NEWER = """
import sys
import appliance
appliance.__version__ = "99.1"
from appliance.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def module_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECTS) as site:
        site.add_worker(who="here")
        site.add_worker("elsewhere", who="elsewhere")
        yield site


@pytest.fixture
def site(module_site: Site) -> Iterator[Site]:
    module_site.heal()
    yield module_site
    module_site.assert_healthy()


def look_of_the_dispatcher(site: Site) -> None:
    """It has looked at what waits, once this is over."""
    assert site.wait(site.trigger("elsewhere"))["status"] == "succeeded"


def test_fault_F43_a_draining_worker_finishes_what_it_has_though_both_sides_are_killed(
    site: Site, tmp_path: Path
) -> None:
    printing = Printing(site, tmp_path, "middle")
    printing.trigger()
    with printing.at("middle"):
        too_short = site.run("worker", "drain", "here", "--wait", "--timeout", "0s")
        assert (too_short.returncode, b"still has 1 run left" in too_short.stderr) == (1, True)
        waiting = site.trigger("quick")
        drained = subprocess.Popen(
            [*COMMAND, "worker", "drain", "here", "--wait"], env=site.environment, stderr=subprocess.PIPE
        )
        assert drained.stderr is not None and drained.stderr.readline() == b"here has 1 run left\n"
        site.server.kill()
        site.worker.kill()
        site.heal()
        look_of_the_dispatcher(site)
        assert site.client.run(waiting)["status"] == "pending"
        found = site.client.worker("here")
        assert (found["is_draining"], found["is_drained"], found["left"]) == (True, False, 1)
    printing.assert_ended_well()
    _, told = drained.communicate(timeout=LONG_ENOUGH)
    assert (drained.returncode, told.splitlines()[-1][:15]) == (0, b"here is drained")
    found = site.client.worker("here")
    assert (found["state"], found["is_drained"], found["switched_by"]) == ("drained", True, "root")
    look_of_the_dispatcher(site)
    assert site.client.run(waiting)["status"] == "pending"
    assert site.run("worker", "enable", "here").returncode == 0
    assert site.wait(waiting)["status"] == "succeeded"
    assert "it has none left; it may be stopped" in site.worker.log.read_text()


@pytest.mark.long
def test_req_W6_a_disconnected_worker_goes_on_with_its_jobs_and_hands_them_in_when_it_is_enabled(
    site: Site, tmp_path: Path
) -> None:
    printing = Printing(site, tmp_path, "middle", "end")
    printing.trigger()
    with printing.at("middle"):
        assert site.run("worker", "disconnect", "here").returncode == 0
        found = site.client.worker("here")
        assert (found["state"], found["is_active"], found["left"]) == ("disconnected", False, 1)
        site.server.kill()
        site.server.start()
        site.worker.kill()
        site.worker.start()
        look_of_the_dispatcher(site)
    with printing.at("end"):
        pass  # it came to its end while its worker was not let in
    assert not site.client.worker("here")["is_active"]
    assert site.client.run(printing.run_id)["status"] == "running"
    site.client.enable_worker("here", True)
    site.worker.hang_up()  # it tries again within half a minute; this is quicker
    printing.assert_ended_well()
    assert "an administrator has disconnected this worker" in site.worker.log.read_text()


def test_req_W6_a_worker_is_upgraded_under_a_running_job(site: Site, tmp_path: Path) -> None:
    before = site.client.worker("here")["version"]
    printing = Printing(site, tmp_path, "middle")
    printing.trigger()
    with printing.at("middle"):
        assert site.worker.terminate() == 0
        site.worker.command = [sys.executable, "-c", NEWER]
        site.worker.start()
    printing.assert_ended_well()
    found = site.client.worker("here")
    assert (found["version"], found["version_before"]) == ("orchestra-appliance 99.1", before)
    assert found["version_since"] is not None
