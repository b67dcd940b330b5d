"""What each page shows: one frozen dataclass per page. This is the stable contract for operators' own templates.

A template sees its view as ``page`` and what surrounds every page as ``chrome``. Fields are never removed or given
another meaning within a major version. Values are plain text: templates escape, views never hold markup.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from appliance.web.pieces import (
    Definition,
    Failing,
    Field,
    Form,
    Hint,
    JobRow,
    LateReport,
    LogPart,
    Notice,
    Order,
    Paging,
    ProjectRow,
    Reason,
    RunRow,
    SessionRow,
    Step,
    StepsPart,
    TokenRow,
    Value,
    WaitingRow,
    When,
    WhyPart,
    WorkerRow,
)


@dataclass(frozen=True)
class Chrome:
    """What surrounds every page. ``user`` and ``csrf`` are ``None`` before login."""

    user: str | None = None
    csrf: str | None = None
    may_see_workers: bool = False
    is_insecure: bool = False  # plain HTTP: every page says so (security.md 11)
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class View:
    """A page. ``template`` is its file, ``place`` the entry of the navigation that it belongs to."""

    template: ClassVar[str]
    place: ClassVar[str] = ""
    title: str


@dataclass(frozen=True)
class LoginPage(View):
    """``/login``."""

    template: ClassVar[str] = "login.html"
    form: Form


@dataclass(frozen=True)
class SetupPage(View):
    """The one-time setup link. ``form`` is ``None`` when the link is used up or wrong."""

    template: ClassVar[str] = "setup.html"
    form: Form | None


@dataclass(frozen=True)
class DashboardPage(View):
    """``/``: what failed, what runs, what waits, and the next step while something is missing."""

    template: ClassVar[str] = "dashboard.html"
    place: ClassVar[str] = "dashboard"
    failing: tuple[Failing, ...]
    failed_count: int  # runs of the last 24 hours; at most FAILED_COUNTED are counted
    is_failed_counted: bool  # False: there are more
    running: tuple[RunRow, ...]
    waiting: tuple[RunRow, ...]
    recent: tuple[RunRow, ...]
    hints: tuple[Hint, ...]
    workers_active: int | None  # None: the reader may not see workers
    workers_total: int | None
    failed_href: str
    running_href: str
    waiting_href: str
    recovery: str = ""  # for administrators: what came back after a restore, and what waits (F24)
    release_action: str | None = None  # where the button posts to that ends the wait
    clock: str = ""  # for administrators: what is wrong with the server's clock (F22)


@dataclass(frozen=True)
class ProjectsPage(View):
    """``/projects``."""

    template: ClassVar[str] = "projects.html"
    place: ClassVar[str] = "projects"
    projects: tuple[ProjectRow, ...]
    orders: tuple[Order, ...]
    paging: Paging


@dataclass(frozen=True)
class ProjectPage(View):
    """``/p/{project}``."""

    template: ClassVar[str] = "project.html"
    place: ClassVar[str] = "projects"
    project: str
    is_enabled: bool
    jobs: tuple[JobRow, ...]
    recent: tuple[RunRow, ...]
    runs_href: str
    orders: tuple[Order, ...]
    paging: Paging
    is_removed: bool = False  # from the project files; its history stays
    switch_action: str | None = None  # where the button posts to that enables or disables; None: not for this reader


@dataclass(frozen=True)
class JobPage(View):
    """``/p/{project}/{job}``: trigger form and history. ``form`` is ``None`` when the reader may not trigger."""

    template: ClassVar[str] = "job.html"
    place: ClassVar[str] = "projects"
    project: str
    project_href: str
    job: str
    description: str
    is_enabled: bool
    disabled_because: str
    findings: tuple[str, ...]
    form: Form | None
    commands: tuple[Value, ...]  # name: setup, command or teardown
    more_commands: int  # left out
    history: tuple[RunRow, ...]
    orders: tuple[Order, ...]
    paging: Paging
    is_removed: bool = False  # from the project files; its history stays
    is_switched_on: bool = True  # the job itself, whatever its project is
    switch_action: str | None = None  # as of the project


@dataclass(frozen=True)
class RunPage(View):
    """``/p/{project}/{job}/{number}``. ``refresh``: seconds until a browser without scripts loads the page again."""

    template: ClassVar[str] = "run.html"
    place: ClassVar[str] = "projects"
    run: RunRow
    refresh: int | None
    stay_href: str
    times: tuple[tuple[str, When], ...]
    ending: str  # "command 1: exit code 3"
    parameters: tuple[Value, ...]
    steps: tuple[Step, ...]
    steps_part: StepsPart
    results: tuple[Value, ...]
    results_href: str  # all of them, as JSON
    are_results_cut: bool
    notes: tuple[str, ...]
    stopping: str  # "abort asked for by ada; waiting for the worker", or ""
    log: LogPart
    log_href: str
    raw_href: str
    receipt: str
    is_receipt_good: bool
    sha256: str
    definition_version: str
    cancel_action: str | None
    abort_action: str | None
    lost_action: str | None  # declares it lost, while its worker is away
    late: LateReport | None
    definition: Definition
    why: WhyPart | None = None  # while it waits for a worker
    position: int | None = None  # in the queue, of so many that are ``waiting``
    waiting: int = 0


@dataclass(frozen=True)
class LogPage(View):
    """``…/{number}/log``: a part of the log; with scripts it follows, without them it reloads."""

    template: ClassVar[str] = "log.html"
    place: ClassVar[str] = "projects"
    run: RunRow
    refresh: int | None
    stay_href: str
    follows: bool
    log: LogPart
    first_href: str | None
    previous_href: str | None
    next_href: str | None
    last_href: str | None
    raw_href: str


@dataclass(frozen=True)
class RunsPage(View):
    """``/runs``: filters and place stand in the address."""

    template: ClassVar[str] = "runs.html"
    place: ClassVar[str] = "runs"
    filters: tuple[Field, ...]
    is_filtered: bool
    sort: str  # "" = as always
    orders: tuple[Order, ...]
    runs: tuple[RunRow, ...]
    paging: Paging


@dataclass(frozen=True)
class QueuePage(View):
    """``/queue``: runs that wait, in the order in which they are given out, and why."""

    template: ClassVar[str] = "queue.html"
    place: ClassVar[str] = "queue"
    filters: tuple[Field, ...]
    is_filtered: bool
    reasons: tuple[Reason, ...]
    rows: tuple[WaitingRow, ...]
    paging: Paging


@dataclass(frozen=True)
class WorkersPage(View):
    """``/workers``: filters, order and place stand in the address. ``form`` adds a worker."""

    template: ClassVar[str] = "workers.html"
    place: ClassVar[str] = "workers"
    filters: tuple[Field, ...]
    is_filtered: bool
    sort: str  # "" = as always
    server_version: str
    workers: tuple[WorkerRow, ...]
    form: Form | None
    orders: tuple[Order, ...]
    paging: Paging


@dataclass(frozen=True)
class WorkerPage(View):
    """``/workers/{worker}``. ``facts`` are names and texts; ``actions`` are None for who may not do it, or need not.

    ``running`` and ``recent``: runs that the reader may see, of which there are ``hidden`` more under way.
    """

    template: ClassVar[str] = "worker.html"
    place: ClassVar[str] = "workers"
    worker: WorkerRow
    facts: tuple[tuple[str, str], ...]
    version_since: When | None
    version_before: str
    server_version: str
    properties: tuple[Value, ...]
    running: tuple[RunRow, ...]
    hidden: int
    recent: tuple[RunRow, ...]
    runs_href: str
    enable_action: str | None
    drain_action: str | None
    disable_action: str | None
    disconnect_action: str | None
    remove_action: str | None


@dataclass(frozen=True)
class JoinPage(View):
    """The answer to "add a worker": the only time that its token is shown."""

    template: ClassVar[str] = "join.html"
    place: ClassVar[str] = "workers"
    worker: str
    join: str
    run: str


@dataclass(frozen=True)
class MePage(View):
    """``/me``. ``new_token`` is shown once, in the answer to its making."""

    template: ClassVar[str] = "me.html"
    place: ClassVar[str] = "me"
    user: str
    roles: tuple[str, ...]
    password_form: Form
    token_form: Form
    new_token: str | None
    tokens: tuple[TokenRow, ...]
    token_orders: tuple[Order, ...]
    token_paging: Paging
    sessions: tuple[SessionRow, ...]
    session_paging: Paging


@dataclass(frozen=True)
class ErrorPage(View):
    """Any refusal or failure: one sentence and an id (S-54)."""

    template: ClassVar[str] = "error.html"
    status: int
    sentence: str
    details: tuple[str, ...]
    error_id: str
