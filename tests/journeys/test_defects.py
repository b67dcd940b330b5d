"""Defects of Job Orchestra that showed only with everything running (reliability.md section 10)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.model.caps import request_digest
from tests.journeys.raw_worker import RawWorker
from tests.journeys.site import Site, opened

TWENTY = 20
LINES = 20_000
MANY_LINES = f"import sys; sys.stdout.write(''.join('line %d\\n' % n for n in range({LINES})))"
FLOOD = (
    "import json, os, sys; sys.stdout.write(('x' * 2047 + '\\n') * 1024); sys.stdout.flush(); "
    "open(os.environ['ORCHESTRA_RESULTS'], 'w').write(json.dumps(dict(big='y' * (2 << 20))))"
)
JOBS: list[dict[str, Any]] = [
    {"identifier": "raw", "requires": {"who": "raw"}, "definition": {"commands": ["true"]}},
    *(
        {
            "identifier": name,
            "requires": {"who": "real"},
            "definition": {"commands": [[sys.executable, "-S", "-c", script]]},
        }
        for name, script in (("lines", MANY_LINES), ("flood", FLOOD), ("small", "print('small')"))
    ),
]
PROJECTS: dict[str, Any] = {"projects": [{"identifier": "journeys", "display_name": "Journeys", "jobs": JOBS}]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECTS) as site:
        site.add_worker("real", slots=3, who="real")
        yield site


def test_defect_J01_twenty_runs_that_were_assigned_when_the_master_died_all_end(site: Site) -> None:
    token = str(site.client.create_worker("raw", {"who": "raw"})["token"])
    with RawWorker(site, token) as worker:
        worker.greet(slots=TWENTY)
        runs = [site.trigger("raw") for _ in range(TWENTY)]
        given = {one["run"]: one for one in (worker.hear("assign") for _ in runs)}
        assert set(given) == set(runs)
        site.server.kill()
    site.server.start()
    assert {site.client.run(run)["status"] for run in runs} == {"assigned"}
    never, kept, new = runs[:7], runs[7:14], runs[14:]
    for run in never:
        assert site.client.cancel(run)["outcome"] == "withdrawing"
    held = [
        {"run": run, "cap": given[run]["cap"], "digest": request_digest(given[run]["request"]), "state": "accepted"}
        for run in kept
    ]
    with RawWorker(site, token, worker.journal) as back:
        back.greet(*held, slots=TWENTY)
        again = {back.hear("assign")["run"] for _ in new}
        assert again == set(new)  # the same requests once more, and no others
        for run in new:
            back.say("accepted", run=run)
        for run in (*kept, *new):
            back.exit(run, b"")
            back.hear("committed")
    assert {site.wait(run)["status"] for run in never} == {"cancelled"}
    assert {site.wait(run)["status"] for run in (*kept, *new)} == {"succeeded"}
    site.assert_healthy()


def test_defect_J04_fault_F35_a_flood_of_output_and_results_leaves_other_runs_alone(site: Site) -> None:
    flood = site.trigger("flood")
    others = [site.trigger("small") for _ in range(5)]
    assert {site.wait(run)["status"] for run in others} == {"succeeded"}
    ended = site.wait(flood)
    assert (ended["status"], ended["log"]["size"], ended["log"]["verified"]) == ("succeeded", 2048 * 1024, True)
    assert site.client.results(flood) == {"big": "y" * (2 << 20)}
    site.assert_healthy()


def test_defect_J23_inv_I4_twenty_thousand_lines_are_there_with_the_status(site: Site) -> None:
    run = site.trigger("lines")
    ended = site.reach(run, lambda found: found["finished_at"] is not None)
    whole = site.log(run)
    assert ended["status"] == "succeeded" and ended["log"]["complete"]
    assert whole.count(b"\n") == LINES and whole.endswith(b"line %d\n" % (LINES - 1))
    assert ended["log"]["size"] == len(whole)
