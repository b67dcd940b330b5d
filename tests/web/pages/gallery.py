"""Every page in every state worth looking at: what the checks of whole pages go through."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.model.run_state import Status
from appliance.workers import Registration
from tests.web.pages.coloured import LINES
from tests.web.pages.site import JOBS, LOG, PASSWORD, Site, add_project, fill, make_site

COLOURS = "".join(f"{written}\x1b[m\n" for written, _ in LINES).encode() + b"".join(
    f"\x1b[{ink}m ink {ink} \x1b[{paper}m on {paper} \x1b[7m inverse \x1b[m\n".encode()
    for ink, paper in zip((*range(30, 38), *range(90, 98)), (*range(40, 48), *range(100, 108)), strict=True)
)
RESULTS = {
    "revision": "9f2c1ab",
    "version": "1.10",
    "released": "2026-01-31",
    "passed": 118,
    "coverage": 91.5,
    "is_release": False,
    "previous": None,
    "title": "zażółć gęślą jaźń – 日本語 – العربية – 😀",
    "report": "https://ci.example.org/report/42",
    "wheels": ["website-1.2-py3-none-any.whl", "website-1.2.tar.gz"],
    "machine": {
        "name": "build-1", "cpu": {"cores": 8, "model": "EPYC"}, "disks": [{"name": "sda", "parts": [1, 2]}, "sdb"],
    },
    "slowest": [
        {"name": f"test_module_{number}.py::test_something_that_has_a_long_name", "seconds": 12.5 / (number + 1),
         "flaky": number % 3 == 0, **({"why": "timeout"} if number == 2 else {})}
        for number in range(8)
    ],
    "notes": "A text that is\nlonger than a line.\n" + "And goes on. " * 60,
    "digest": "0123456789abcdef" * 20,
    "empty": {}, "nothing": "",
}  # fmt: skip
_count = itertools.count(2)


@dataclass(frozen=True)
class Place:
    """A page on one of the sites. With ``fields`` it is what comes when its form with ``action`` is sent so."""

    name: str
    path: str
    site: str = "full"
    user: str | None = "ada"
    fields: Mapping[str, str] = field(default_factory=dict)
    action: str = ""
    status: int = 200


def make_sites(directory: Path) -> dict[str, Site]:
    """``full``, ``empty`` (an administrator and nothing else) and ``new`` (no account yet). None listens yet."""
    for name in ("full", "empty", "new"):
        (directory / name).mkdir()
    return {
        "full": make_site(directory / "full"),
        "empty": make_site(directory / "empty", users=("ada",), is_empty=True),
        "new": make_site(directory / "new", users=(), is_empty=True),
    }


def fill_sites(sites: Mapping[str, Site]) -> None:
    """Give the full site something to show; after it has begun to listen."""
    full = sites["full"]
    broken = {"identifier": "broken", "description": "Its definition has findings.", "definition": {"commands": []}}
    script = "cat >step <<'END'\n#!/bin/sh\nexec \"$@\"\nEND\nchmod +x step\n"
    demanding = {
        "identifier": "demanding",
        "definition": {"commands": [script, "./step true"]},
        "requires": {"os": "linux", "python": ">=3.12", "gpu": True},
    }
    add_project(
        full, [*JOBS, broken, demanding], findings=("jobs[3].definition.commands: there is none",), broken="broken"
    )
    fill(full)
    full.run("nightly", Status.SUCCEEDED, COLOURS)
    full.run("nightly", Status.SUCCEEDED, b"".join(b"row %d\n" % number for number in range(5000)))
    full.run("nightly", Status.SUCCEEDED, b"")
    full.run("nightly", Status.SUCCEEDED, LOG, results=RESULTS)
    many_steps(full)
    full.run("demanding")
    full.trial.workers.create("never-here", "ada", {"gpu": True})
    off, _ = full.trial.workers.create("switched-off", "ada", {})
    full.trial.workers.enable(off.name, False, "ada")
    states(full)


def states(site: Site) -> None:
    """A worker in each state that is not there already."""
    workers = site.trial.workers
    for name in ("draining", "drained", "disconnected", "revoked", "a-machine-whose-name-is-long-" + "x" * 30):
        made, _ = workers.create(name, "ada", {"pool": "linux"})
        said = Registration(name[0] * 32, "orchestra-appliance 0.0.1", 8, {"os": "linux", "memory": 33 << 30}, 90.0)
        workers.register(made.id, said)
        workers.heard({made.id: site.clock.now()})
        if name != "revoked":
            site.present.connected.add(made.id)
    workers.drain("draining", by="ada")
    workers.drain("drained", by="ada")
    site.present.connected -= {workers.named(name).worker.id for name in ("drained", "disconnected")}
    workers.disconnect("disconnected", "ada")
    site.trial.lost_runs.revoke("revoked", "ada")
    for _ in range(2):
        site.trial.strays.refuse(workers.named("draining").worker.id)


def many_steps(site: Site) -> None:
    """A run of 450 commands, the 250th of which failed."""
    run = site.run("nightly", Status.RUNNING, LOG)
    lines: list[dict[str, object]] = [{"note": "ended", "phase": "commands", "index": 1, "seconds": 1.0, "code": 0}]
    for index in range(2, 450):
        here: dict[str, object] = {"phase": "commands", "index": index}
        if index > 250:
            lines.append({"note": "skipped", **here})
        else:
            lines.append({"note": "began", **here, "at": 1.0, "command": f"make part-{index}", "offset": 0})
            lines.append({"note": "ended", **here, "seconds": 0.4, "code": int(index == 250)})
    noted = "".join(json.dumps(line) + "\n" for line in lines).encode()
    site.logs.append(run.id, 2, site.logs.size(run.id, 2), noted)
    site.finish(site.parts.runs.get(run.id), Status.FAILED, LOG, sentence="command 251 ended with exit code 1")


def places(sites: Mapping[str, Site]) -> Iterator[Place]:
    """All of them; those of one site and user are together."""
    token = sites["new"].parts.accounts.make_setup_token()
    setup = f"/setup?token={token}"
    bad = {"name": "ada", "password": "short", "repeat": "other"}
    yield Place("setup", setup, "new", None)
    yield Place("setup-errors", setup, "new", None, bad, "/setup", 422)
    yield Place("setup-used-up", "/setup?token=used", "new", None, status=404)
    yield Place("login", "/login", "empty", None)
    yield Place("login-wrong", "/login", "empty", None, {"user": "ada", "password": "wrong"}, "/login", 401)
    yield Place("dashboard-empty", "/", "empty")
    yield Place("projects-empty", "/projects", "empty")
    yield Place("runs-empty", "/runs", "empty")
    yield Place("queue-empty", "/queue", "empty")
    yield Place("workers-empty", "/workers", "empty")
    yield Place("forbidden", "/workers", user="nobody", status=403)
    yield Place("dashboard-nobody", "/", user="nobody")
    yield Place("job-viewer", "/p/website/test", user="vera")
    for name, path in {
        "dashboard": "/",
        "projects": "/projects",
        "project": "/p/website",
        "job": "/p/website/test",
        "job-findings": "/p/website/broken",
        "run-succeeded": "/p/website/test/1",
        "run-failed": "/p/website/test/2",
        "run-errored": "/p/website/test/3",
        "run-aborted": "/p/website/test/4",
        "run-live": "/p/website/test/5",
        "run-lost": "/p/website/deploy/1",
        "run-assigned": "/p/website/deploy/2",
        "run-cancelled": "/p/website/deploy/3",
        "run-pending": "/p/website/deploy/4",
        "run-without-log": "/p/website/nightly/6",
        "run-results": "/p/website/nightly/7",
        "run-many-steps": "/p/website/nightly/8",
        "run-waiting": "/p/website/demanding/1",
        "log": "/p/website/test/2/log",
        "log-live": "/p/website/test/5/log",
        "log-colours": "/p/website/nightly/4/log",
        "log-middle": "/p/website/nightly/5/log?offset=18890",
        "log-empty": "/p/website/nightly/6/log",
        "runs": "/runs",
        "runs-filtered": "/runs?project=website&status=failed&status=errored",
        "runs-none": "/runs?project=nothing",
        "runs-oldest": "/runs?sort=created",
        "job-history": "/p/website/nightly",
        "job-never-run": "/p/website/broken",
        "queue": "/queue",
        "queue-filtered": "/queue?why=no_worker_fits",
        "queue-none": "/queue?job=nothing",
        "workers": "/workers",
        "workers-filtered": "/workers?state=silent&state=drained&name=d&sort=busy",
        "workers-none": "/workers?name=nobody",
        "worker": "/workers/build-1",
        "worker-draining": "/workers/draining",
        "worker-drained": "/workers/drained",
        "worker-disconnected": "/workers/disconnected",
        "worker-revoked": "/workers/revoked",
        "worker-disabled": "/workers/switched-off",
        "worker-never-seen": "/workers/never-here",
        "me": "/me",
    }.items():
        yield Place(name, path)
    yield Place("not-found", "/p/website/nothing", status=404)
    yield Place("workers-bad-property", "/workers?property=linux", status=422)
    yield Place("worker-viewer", "/workers/build-1", user="vera")
    yield Place("runs-bad-day", "/runs?since=1-1-2026", status=422)
    wrong = {"parameters.branch": "a b", "parameters.jobs": "many", "parameters.ticket": "-x"}
    yield Place("job-errors", "/p/website/test", fields=wrong, action="/p/website/test", status=422)
    worker = {"name": "no such name", "properties": "pool"}
    yield Place("workers-error", "/workers", fields=worker, action="/workers", status=422)
    yield Place("join", "/workers", fields={"name": f"build-{next(_count)}"}, action="/workers")
    yield Place("me-token", "/me", fields={"label": "laptop"}, action="/me/tokens")
    change = {"current": "wrong", "password": PASSWORD}
    yield Place("me-error", "/me", fields=change, action="/me/password", status=422)
