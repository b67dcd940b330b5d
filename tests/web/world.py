"""A small appliance without a master: use cases over the memory repository, and requests without a socket."""

from __future__ import annotations

import io
import json
import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from appliance.accounts import Accounts, Login
from appliance.clock import FakeClock
from appliance.configuration import Configuration
from appliance.db.logs import LogStore
from appliance.db.memory import MemoryRepository
from appliance.db.repository import ProjectSet
from appliance.events import Event, Events
from appliance.job_versions import JobVersions
from appliance.leases import Leases
from appliance.lost_runs import LostRuns
from appliance.master.dispatcher import Dispatcher
from appliance.master.roster import Roster
from appliance.model.entities import Job, NewRun, Project, Run, Source
from appliance.model.requests import Limits
from appliance.model.run_state import Assign, Finish, Status
from appliance.passwords import PasswordLimits
from appliance.projects import Projects
from appliance.recoveries import Recoveries
from appliance.runs import Runs
from appliance.waits import Waits
from appliance.web.rendering import Rendering
from appliance.web.routes import Parts, Route, WebSettings, build
from appliance.web.service import Service
from appliance.web.static_files import StaticFiles
from appliance.workers import Workers

PASSWORD = "correct horse battery staple"
HOST = "127.0.0.1:8080"
KEY = bytes(range(32))
NOBODY: dict[str, str] = {}

MODERATE = PasswordLimits(iterations=1000, logins_per_minute=6000, login_burst=1000)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def document(self) -> Any:
        return json.loads(self.body)


def ask(
    app: Service,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    scheme: str = "http",
    address: str = "127.0.0.1",
    length: str | None = None,
) -> Answer:
    """One request through WSGI. ``path`` is as on the wire, percent-encoded, with its query."""
    where, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(where).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": address,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": length if length is not None else str(len(body)),
    }
    for name, value in {"Host": HOST, **(headers or {})}.items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    began: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, given: list[tuple[str, str]], _: object = None) -> None:
        began.append((status, list(given)))

    parts: Iterable[bytes] = app(environ, start_response)
    try:
        content = b"".join(parts)
    finally:
        if close := getattr(parts, "close", None):
            close()
    ((status, given),) = began
    return Answer(int(status.split()[0]), given, content)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def as_json(headers: Mapping[str, str]) -> dict[str, str]:
    return {**headers, "Content-Type": "application/json"}


def of_session(login: Login, *, own_page: bool = True) -> dict[str, str]:
    """The headers of a page of ours that asks with the session's cookie."""
    headers = {"Cookie": f"session={login.cookie}"}
    if own_page:
        headers |= {"Sec-Fetch-Site": "same-origin", "Orchestra-CSRF": login.session.csrf}
    return headers


@cache
def _static_files() -> StaticFiles:
    return StaticFiles()


@cache
def _rendering() -> Rendering:
    return Rendering(_static_files())


@dataclass
class World:
    """The parts, an application over them, and shorthands."""

    logs_directory: Path
    limits: PasswordLimits = MODERATE
    settings: WebSettings = WebSettings()  # noqa: RUF009 -- frozen
    routes: Sequence[Route] | None = None
    problems: list[str] = field(default_factory=list)
    full_since: datetime | None = None
    clock_trouble: str = ""
    has_pages: bool = False

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.events = Events()
        self.seen: list[Event] = []
        self.events.subscribe(self.seen.append)
        self.repository = MemoryRepository()
        self.repository.open()
        self.random = random.Random(7).randbytes
        self.logs = LogStore(self.logs_directory, "boot-1")
        self.accounts = Accounts(self.repository, self.clock, self.events, self.random, KEY, self.limits)
        self.projects = Projects(self.repository, self.clock, self.events)
        self.recoveries = Recoveries(self.repository, self.clock, self.events)
        self.runs = Runs(self.repository, self.logs, self.clock, self.events, JobVersions(self.repository))
        self.roster = Roster(self.clock.monotonic)
        self.workers = Workers(self.repository, self.clock, self.events, self.roster, self.random)
        self.leases = Leases(self.repository, self.runs, self.logs, self.clock, KEY)
        self.lost_runs = LostRuns(self.repository, self.runs, self.leases, self.workers)
        self.dispatcher = Dispatcher(
            self.repository,
            self.leases,
            self.roster,
            self.events,
            lambda: 1,
            lambda run_id: f"token of {run_id}",
            JobVersions(self.repository),
            Limits(),
            holds=self.recoveries.holds,
        )
        self.dispatcher.load()
        self.put_projects("alpha", "beta")
        self.project_files = self.logs_directory / "projects"
        self.project_files.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.static_files = _static_files()
        self.parts = Parts(
            accounts=self.accounts,
            projects=self.projects,
            configuration=Configuration(self.projects, self.runs, [self.project_files]),
            runs=self.runs,
            lost_runs=self.lost_runs,
            workers=self.workers,
            waits=Waits(self.repository, self.workers, self.clock, self.dispatcher.outlook, self.recoveries),
            recoveries=self.recoveries,
            clock=self.clock,
            key=KEY,
            unready=lambda: self.problems,
            full_since=lambda: self.full_since,
            clock_trouble=lambda: self.clock_trouble,
            settings=self.settings,
            rendering=_rendering() if self.has_pages else None,
            static_files=self.static_files if self.has_pages else None,
        )
        self.app = build(self.parts, self.routes)

    def put_projects(self, *names: str) -> None:
        document = {
            "identifier": "test",
            "definition": {"commands": ["make test"]},
            "parameters": [{"key": "branch", "default": "main"}, {"key": "count", "type": "int", "default": 1}],
        }
        self.repository.projects.apply(
            ProjectSet(
                projects=tuple(Project(name, name.title(), {"identifier": name}) for name in names),
                jobs=tuple(Job(name, "test", "Test", "Runs the tests", document, "v1") for name in names),
                schedules=(),
            ),
            self.clock.now(),
        )

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        return ask(self.app, method, path, headers, body)

    def send(self, method: str, path: str, headers: Mapping[str, str], value: object) -> Answer:
        """A JSON body."""
        return self.ask(method, path, as_json(headers), json.dumps(value).encode())

    def user(self, name: str, site: Sequence[str] = (), **projects: str) -> dict[str, str]:
        """A new user with its roles; answers the headers of its token."""
        self.accounts.add_user(name, None, site, projects)
        return bearer(self.accounts.create_token(name)[0])

    def login(self, name: str) -> Login:
        """A session of a user who has no password yet, without the cost of hashing."""
        self.accounts.set_password(name, PASSWORD)
        return self.accounts.login(name, PASSWORD, "127.0.0.1", "a browser")

    def trigger(self, project: str = "alpha", **parameters: Any) -> Run:
        run, _ = self.runs.trigger(project, "test", parameters, Source(type="user", user="somebody"))
        return run

    def end(self, run: Run, status: Status = Status.SUCCEEDED) -> Run:
        """Take a pending run to its end."""
        self.runs.advance(run.id, Assign(self.clock.now()))
        return self.runs.advance(run.id, Finish(self.clock.now(), status, None, "it ended"))

    def child(self, parent: Run) -> Run:
        """A pending run that another one triggered."""
        run_id = str(uuid.UUID(bytes=self.random(16), version=4))
        new = NewRun(
            id=run_id,
            project=parent.project,
            job=parent.job,
            parameters={},
            source=Source(type="controller"),
            definition_version="v1",
            created_at=self.clock.now(),
            parent=parent.id,
        )
        return self.repository.runs.add(new)[0]
