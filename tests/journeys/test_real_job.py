"""The real job of the example project: a repository is cloned, built and tested, and its log is told byte for byte."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from appliance.demo_repository import make_repository
from tests.journeys.site import Site


def test_the_real_job_builds_a_repository_and_its_log_equals_the_copy_that_tee_wrote(
    site: Site, tmp_path: Path
) -> None:
    repository = make_repository(tmp_path / "repository")
    copy = tmp_path / "copy"
    given = {"repository": str(repository), "tests": "tests", "runner": "unittest", "copy_to": str(copy)}
    words = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    run = json.loads(site.out("trigger", "example/real", *words, "--wait", "--json"))
    name = f"example/real#{run['number']}"
    log = site.out("run", "log", name)
    assert run["status"] == "succeeded", log.decode(errors="replace")
    assert log == copy.read_bytes()
    assert log

    results = json.loads(site.out("run", "results", name))
    head = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert results["revision_control"]["revision"] == head
    (tested,) = results["tests"]
    assert (tested["passed"], tested["failed"], tested["skipped"]) == (4, 0, 0)
    (built,) = results["distributions"]
    assert built["file"] == "roman-1.0-py3-none-any.whl"
