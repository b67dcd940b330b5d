"""A whole website over the memory repository, with runs of every status: what tests of pages look at."""

from __future__ import annotations

import io
import json
import os
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

from appliance.app import Appliance
from appliance.clock import FakeClock
from appliance.config import write_master_key
from appliance.db.logs import LogStore
from appliance.db.memory import MemoryRepository
from appliance.db.repository import ProjectSet
from appliance.events import LogGrew, ProjectsChanged
from appliance.master.roster import Seat
from appliance.model import run_state
from appliance.model.entities import Exit, Job, Lease, Project, Receipt, Run, Source
from appliance.model.run_state import Reason, Status
from appliance.model.worker_states import Vitals
from appliance.projects import definition_version
from appliance.settings import (
    DataSection,
    LimitsSection,
    ProjectsSection,
    ServerSection,
    ServerSettings,
    WebSection,
)
from appliance.settings_text import Address
from appliance.web.routes import Parts, build
from appliance.workers import Registration, Workers
from tests.lease_place import Ear

PASSWORD = "correct horse battery staple"
LOG = "".join(f"line {n}: compiling module_{n % 17}.c\n" for n in range(1, 121)).encode()


class Present:
    """The presence of workers, as the test says."""

    def __init__(self) -> None:
        self.connected: set[str] = set()

    def is_connected(self, worker_id: str) -> bool:
        return worker_id in self.connected

    def used(self, worker_id: str) -> int:
        return 1 if worker_id in self.connected else 0

    def last_heard(self, worker_id: str) -> datetime | None:
        return None

    def refusal(self, worker_id: str) -> str:
        return ""

    def vitals(self, worker_id: str) -> Vitals | None:
        return Vitals(0.42, 37 << 30) if worker_id in self.connected else None


JOBS: list[dict[str, Any]] = [
    {
        "identifier": "test",
        "display_name": "Test",
        "description": "Builds the branch and runs its tests.",
        "definition": {
            "setup_commands": [["git", "clone", "--branch", "{parameters[branch]}", "{environment[origin]}", "src"]],
            "commands": [["make", "-C", "src"], "cd src && make test"],
            "teardown_commands": [["rm", "-rf", "src"]],
        },
        "parameters": [
            {"key": "branch", "description": "Branch to test.", "default": "main", "pattern": "[\\w./-]+"},
            {"key": "jobs", "type": "int", "description": "Processes at once.", "default": 4},
            {"key": "clean", "type": "bool", "default": False},
            {"key": "target", "type": "choice", "choices": ["debug", "release"], "default": "debug"},
            {"key": "ticket", "description": "Ticket number, if there is one.", "required": True},
        ],
    },
    {"identifier": "deploy", "display_name": "Deploy", "definition": {"commands": [["./deploy.sh"]]}},
    {"identifier": "nightly", "description": "Everything, every night.", "definition": {"commands": ["make all"]}},
]


@dataclass
class Site:
    """The parts and the WSGI application made of them. ``login`` makes a browser."""

    trial: Trial
    parts: Parts
    application: Any
    repository: MemoryRepository
    logs: LogStore
    clock: FakeClock
    present: Present
    is_empty: bool = False  # no project, no worker

    @contextmanager
    def listening(self) -> Iterator[str]:
        """The real port with its WebSockets; gives the address. The project is put in force again after the start."""
        self.trial.start()
        try:
            if not self.is_empty:
                add_project(self)
            yield f"http://localhost:{self.trial.web.port}"
        finally:
            self.trial.stop()

    def write(self, run: Run, log: bytes) -> None:
        """The job prints."""
        size = self.logs.append(run.id, 0, self.logs.size(run.id, 0), log)
        self.trial.events.publish(LogGrew(run_id=run.id, size=size))

    def browser(self) -> Browser:
        """A browser that is not logged in."""
        return Browser(self.application)

    def login(self, user: str = "ada") -> Browser:
        """A browser with a session of this user."""
        browser = self.browser()
        answer = browser.submit("/login", {"user": user, "password": PASSWORD})
        assert answer.status == 303, answer.text
        return browser

    def run(self, job: str, status: Status | None = None, log: bytes = b"", **fields: Any) -> Run:
        """A run of the project ``website`` in this status, with this log."""
        given = {"ticket": "ABC-1"} if job == "test" else {}
        given |= fields.pop("parameters", {})
        source = Source(type="user", user="ada", via="website")
        run, _ = self.parts.runs.trigger("website", job, given, source)
        self.clock.advance(4)
        if status in (None, Status.PENDING):
            return run
        if status is Status.CANCELLED:
            return self.parts.runs.cancel(run.id, "ada").run
        worker = self.parts.workers.named("build-1").worker
        lease = Lease(
            run_id=run.id,
            worker_id=worker.id,
            journal_id="j" * 32,
            epoch=1,
            slot=0,
            cap="c" * 64,
            request="{}",
            granted_at=self.clock.now(),
        )
        self.parts.runs.advance(
            run.id,
            run_state.Assign(self.clock.now()),
            store=lambda after, version: self.repository.runs.grant(after, lease, version),
            change=lambda _: {"worker_id": worker.id, "worker": worker.name, "slot": 0},
        )
        if status is Status.ASSIGNED:
            return self.parts.runs.get(run.id)
        self.parts.runs.advance(run.id, run_state.Accept())
        run = self.parts.runs.advance(run.id, run_state.Start(self.clock.now()))
        self.clock.advance(61.5)
        self.logs.append(run.id, 0, 0, log)
        self.logs.append(run.id, 2, 0, self.notes(run, log, status))
        if status is Status.RUNNING:
            return run
        if status is Status.LOST:
            return self.parts.runs.advance(run.id, run_state.Lose("no contact with build-1 for an hour"))
        return self.finish(run, status, log, **fields)

    def finish(self, run: Run, status: Status, log: bytes, **fields: Any) -> Run:
        """End a running run."""
        reason, sentence = {
            Status.SUCCEEDED: (None, ""),
            Status.FAILED: (Reason.EXIT_CODE, "command 2 ended with exit code 2"),
            Status.ERRORED: (Reason.FORMAT_ERROR, "command 1: unknown name 'undefined'"),
            Status.ABORTED: (Reason.REQUESTED, "aborted by ada"),
        }[status]
        sentence = fields.pop("sentence", sentence)
        record = self.logs.sync(run.id, 0)
        results = json.dumps(fields.pop("results", {}))
        self.parts.runs.advance(
            run.id,
            run_state.Finish(self.clock.now(), status, reason, sentence),
            store=lambda after, version: self.repository.runs.finish(after, [record], results, version),
            change=lambda _: {
                "exit": Exit(code=2 if reason else 0, command="commands[1]"),
                "log": Receipt(len(log), record.sha256, True, True),
                **fields,
            },
        )
        return self.parts.runs.get(run.id)

    def notes(self, run: Run, log: bytes, status: Status) -> bytes:
        """What an executor would have noted."""
        at = self.clock.now().timestamp()
        lines: list[dict[str, Any]] = [
            {"note": "began", "at": at - 60, "phase": "setup_commands", "index": 0, "name": None, "offset": 0,
             "command": "git clone --branch main https://git.example.org/website.git src"},
            {"note": "ended", "at": at - 58, "phase": "setup_commands", "index": 0, "offset": 40, "seconds": 2.1,
             "code": 0},
            {"note": "began", "at": at - 58, "phase": "commands", "index": 0, "name": None, "offset": 40,
             "command": "make -C src"},
            {"note": "ended", "at": at - 30, "phase": "commands", "index": 0, "offset": 900, "seconds": 28.25,
             "code": 0},
            {"note": "began", "at": at - 30, "phase": "commands", "index": 1, "name": "tests", "offset": 900,
             "command": "cd src && make test"},
        ]  # fmt: skip
        if status is not Status.RUNNING:
            code = 2 if status is Status.FAILED else 0
            lines += [
                {"note": "ended", "at": at, "phase": "commands", "index": 1, "offset": len(log), "seconds": 30.0,
                 "code": code},
                {"note": "skipped", "at": at, "phase": "teardown_commands", "index": 0, "name": None,
                 "command": "rm -rf src"},
            ]  # fmt: skip
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


class Trial(Appliance):
    """The appliance in memory, with workers that are there when the test says so."""

    def __init__(self, settings: ServerSettings) -> None:
        self.fake_clock = FakeClock()
        self.fake_clock.advance(400 * 86400)
        super().__init__(settings, self.fake_clock)
        self.memory = MemoryRepository()
        self.present = Present()

    def new_repository(self) -> MemoryRepository:
        return self.memory

    @cached_property
    def workers(self) -> Workers:
        return Workers(self.repository, self.clock, self.events, self.present, os.urandom, self.strays)


def make_site(
    directory: Path,
    *,
    users: tuple[str, ...] = ("ada", "vera", "otto", "nobody"),
    templates: tuple[Path, ...] = (),
    static: tuple[Path, ...] = (),
    announcement: str = "",
    is_empty: bool = False,
) -> Site:
    """An appliance with users, a project and one connected worker unless it ``is_empty``, but no runs. It does not
    listen yet."""
    directory.chmod(0o700)
    write_master_key(directory, b"k" * 32)
    trial = Trial(
        ServerSettings(
            server=ServerSection(listen=Address("127.0.0.1:0")),
            data=DataSection(directory),
            projects=ProjectsSection(()),
            web=WebSection(templates, static, announcement),
            limits=LimitsSection(password_iterations=2, logins_per_minute=100_000, login_burst=100_000),
        )
    )
    roles = {"vera": {"website": "viewer"}, "otto": {"website": "operator"}}
    for user in users:
        trial.accounts.add_user(user, PASSWORD, ["administrator"] if user == "ada" else (), roles.get(user))
    parts = trial.parts
    site = Site(trial, parts, build(parts), trial.memory, trial.logs, trial.fake_clock, trial.present, is_empty)
    trial.dispatcher.load()
    if is_empty:
        return site
    add_project(site)
    worker, _ = trial.workers.create("build-1", "ada", {"pool": "linux"})
    said = Registration("j" * 32, "0.1", 4, {"os": "linux", "python": "3.11"}, 0.0)
    trial.workers.register(worker.id, said)
    trial.workers.heard({worker.id: site.clock.now()})
    site.present.connected.add(worker.id)
    busy = Seat(trial.workers.get(worker.id), Ear(), said.journal_id)
    trial.roster.sit(busy, {f"run {slot} of others": slot for slot in range(said.slots)})
    return site


def add_project(
    site: Site,
    jobs: list[dict[str, Any]] = JOBS,
    project: str = "website",
    findings: tuple[str, ...] = (),
    broken: str | None = None,
) -> None:
    """Put one project in force; ``findings`` are those of the job ``broken``, else of each."""
    site.repository.projects.apply(
        ProjectSet(
            (Project(project, "Website", {"identifier": project}),),
            tuple(
                Job(
                    project=project,
                    identifier=job["identifier"],
                    display_name=job.get("display_name", ""),
                    description=job.get("description", ""),
                    document=job,
                    definition_version=definition_version(job),
                    findings=findings if broken in (None, job["identifier"]) else (),
                )
                for job in jobs
            ),
            (),
        ),
        site.clock.now(),
    )
    site.trial.events.publish(ProjectsChanged())


def fill(site: Site) -> dict[Status, Run]:
    """A run of every status, and enough finished ones for a second page."""
    for _ in range(3):
        site.run("nightly", Status.SUCCEEDED, LOG)
    results = {
        "revision": "9f2c1ab",
        "report": "https://ci.example.org/report/42",
        "tests": {"passed": 118, "failed": 2, "slowest": ["test_a", "test_b"]},
        "wheel": "website-1.2-py3-none-any.whl",
    }
    made = {
        status: site.run("test", status, LOG, results=results)
        for status in (Status.SUCCEEDED, Status.FAILED, Status.ERRORED, Status.ABORTED)
    }
    for status in (Status.LOST, Status.RUNNING, Status.ASSIGNED, Status.CANCELLED, Status.PENDING):
        made[status] = site.run("test" if status is Status.RUNNING else "deploy", status, LOG)
        site.clock.advance(timedelta(minutes=7).total_seconds() if status is Status.LOST else 20)
    return made


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()

    def header(self, name: str) -> str:
        """One header, "" when it is not there."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


class Browser:
    """Cookies, forms and redirects, as a browser without scripts has them, straight into WSGI."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Answer:
        """One GET."""
        return self._request("GET", path, b"", headers)

    def submit(self, path: str, fields: dict[str, str], page: str | None = None) -> Answer:
        """Send a form with the token that ``page`` (or the path itself) has in it."""
        token = re.search(r'name="csrf" value="([0-9a-f]+)"', self.get(page or path).text)
        body = urllib.parse.urlencode({"csrf": token[1] if token else "", **fields}).encode()
        return self._request("POST", path, body, {"Sec-Fetch-Site": "same-origin"})

    def _request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        path, _, query = path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": urllib.parse.unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8080",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "localhost:8080",
            "HTTP_ACCEPT": "text/html",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "HTTP_COOKIE": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
        }
        if body:
            environ["CONTENT_TYPE"] = "application/x-www-form-urlencoded"
        for name, value in headers.items():
            environ["HTTP_" + name.upper().replace("-", "_")] = value
        started: list[Any] = []
        content = self._application(environ, lambda *arguments: started.append(arguments))
        whole = b"".join(content)
        if hasattr(content, "close"):
            content.close()
        status, sent = started[0][0], started[0][1]
        for name, value in sent:
            if name.lower() == "set-cookie":
                for key, morsel in SimpleCookie(value).items():
                    self.cookies[key] = morsel.value
        return Answer(int(status.split()[0]), sent, whole)
