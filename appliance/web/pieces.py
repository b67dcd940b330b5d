"""What views are made of: rows, forms, parts of a log. Plain text throughout; templates escape.

Part of the contract that ``web.views`` describes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Notice:
    """A message at the top of a page. ``kind``: ``done`` or ``problem``."""

    kind: str
    text: str


@dataclass(frozen=True)
class When:
    """An instant, and how long ago that is when the page is made: ``5 min ago``."""

    at: datetime
    ago: str


@dataclass(frozen=True)
class Option:
    """One entry of a choice."""

    value: str
    label: str
    is_selected: bool = False


@dataclass(frozen=True)
class Field:
    """One field of a form. ``kind``: text, secret, number, date, choice, flag, set, area. ``error`` stands at it."""

    name: str
    label: str
    kind: str = "text"
    value: str = ""
    hint: str = ""
    error: str = ""
    is_required: bool = False
    options: tuple[Option, ...] = ()
    autocomplete: str = "off"
    limit: int = 4096  # characters


@dataclass(frozen=True)
class Form:
    """A form that posts to ``action``. ``problem`` is what is wrong with the whole of it."""

    action: str
    submit: str
    fields: tuple[Field, ...] = ()
    problem: str = ""
    hidden: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class RunRow:
    """A run as lists and headings show it. ``queued`` and ``duration`` are seconds; ``None`` = not yet."""

    id: str
    project: str
    job: str
    number: int
    href: str
    job_href: str
    status: str
    reason: str
    sentence: str
    source: str  # who or what triggered: a user, or schedule, pipeline, …
    via: str  # website, service, command line, or ""
    worker: str | None
    created: When
    queued: float | None
    duration: float | None
    is_live: bool
    is_stopping: bool  # an abort or a cancel is under way


@dataclass(frozen=True)
class Failing:
    """A job with a failed run, the newest of which is ``run``.

    ``since``: when the first run failed after the last that went well, which is run ``first_number``; ``None`` when the
    job went well again with run ``fixed_number``.
    """

    run: RunRow
    since: When | None = None
    first_href: str = ""
    first_number: int = 0
    fixed_href: str = ""
    fixed_number: int = 0


@dataclass(frozen=True)
class WaitingRow:
    """A run in the queue; its sentence says why it waits. ``position``: its place in line, ``None`` = it has none."""

    run: RunRow
    position: int | None


@dataclass(frozen=True)
class Reason:
    """A kind of reasons for which runs wait, and for how many it holds. ``href``: those alone; ``None`` = these are
    shown now."""

    words: str
    count: int
    href: str | None


@dataclass(frozen=True)
class Mark:
    """A condition of a job at one worker. ``has``: what the worker says of it, "" = nothing. ``is_met``: ``None`` =
    nobody knows."""

    has: str
    is_met: bool | None


@dataclass(frozen=True)
class CandidateRow:
    """How a worker stands to a run that waits. ``marks``: one for each condition, in the order of the headings."""

    name: str
    href: str
    state: str
    sentence: str
    marks: tuple[Mark | None, ...]


@dataclass(frozen=True)
class Heading:
    """A condition of a job, and how many workers meet it."""

    words: str
    met_by: int


@dataclass(frozen=True)
class WhyPart:
    """All workers against all conditions of a run that waits, in parts. ``total``: workers."""

    headings: tuple[Heading, ...]
    rows: tuple[CandidateRow, ...]
    total: int
    paging: Paging


@dataclass(frozen=True)
class Paging:
    """Where the reader can go from this part of a list. ``None`` = there is nothing there."""

    first: str | None = None
    next: str | None = None


@dataclass(frozen=True)
class Order:
    """One way to sort a list, by its words. ``href`` is ``None`` for the one that the list has now."""

    words: str
    href: str | None


@dataclass(frozen=True)
class Step:
    """One command of a run. ``part``: setup, command or teardown.

    ``outcome``: succeeded, failed, errored, aborted, running or skipped.
    """

    name: str
    text: str
    part: str
    outcome: str
    ending: str  # "exit code 0", "killed by SIGTERM"
    duration: float | None
    log_href: str


@dataclass(frozen=True)
class StepsPart:
    """Which of a run's commands the page shows: ``first`` to ``last`` of ``total``, counted from 1.

    ``is_all_known``: whether the run noted no more commands than those. Addresses are ``None`` where nothing is.
    """

    first: int
    last: int
    total: int
    is_all_known: bool = True
    first_href: str | None = None
    previous_href: str | None = None
    next_href: str | None = None
    last_href: str | None = None


@dataclass(frozen=True)
class Table:
    """An array of objects: a row for each, a column for each name that they have. ``more``: rows left out."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    more: int = 0


@dataclass(frozen=True)
class Value:
    """A named value: a parameter or a result, as ``pages.values`` reads it.

    ``kind``: text; quoted (a text that could be taken for another value), number, word (true, false, null), items (a
    short list in one line), object and list (what is ``inside``), table, none (a cell without a value), cut (says how
    many values were left out). ``href``: only http and https (J40). ``is_block``: a long text. ``is_cut``: not all.
    """

    name: str
    text: str = ""
    href: str | None = None
    is_block: bool = False
    kind: str = "text"
    inside: tuple[Value, ...] = ()
    table: Table | None = None
    is_cut: bool = False


@dataclass(frozen=True)
class Span:
    """A piece of a line. ``style``: names of classes, such as ``ink-red bold``, or "" for text as any other."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Definition:
    """The job as it was when the run was triggered. ``since``: a sentence if it has changed or was removed, else "".

    ``text``: all of it, as JSON; "" if it is not known any more.
    """

    version: str
    since: str
    commands: tuple[Value, ...]
    text: str
    more: int = 0  # commands left out
    raw_href: str = ""  # the whole document


@dataclass(frozen=True)
class LogLine:
    """A line as shown. ``number`` counts from 1, ``None`` where counting costs too much. ``cut``: bytes left out.

    ``spans`` are the pieces of ``text`` with their colours.
    """

    text: str
    number: int | None = None
    cut: int = 0
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class LogPart:
    """Bytes ``start`` to ``end`` of a log that has ``size`` bytes now."""

    lines: tuple[LogLine, ...]
    start: int
    end: int
    size: int
    follow_from: int = 0  # where the first line begins that has no newline yet: a follower reads on from there
    begins_inside: bool = False  # the first line began before ``start``
    ends_inside: bool = False  # the last line goes on, or its newline has not come yet
    style: str = ",,"  # in which a follower goes on; static/ansi.js reads it


@dataclass(frozen=True)
class Hint:
    """What to do next on an empty appliance."""

    text: str
    href: str | None = None
    action: str = ""
    is_done: bool = False


@dataclass(frozen=True)
class ProjectRow:
    """A project in the list."""

    name: str
    display_name: str
    href: str
    is_enabled: bool
    jobs: int
    last: RunRow | None


@dataclass(frozen=True)
class JobRow:
    """A job in the list. ``findings`` say what is wrong with its definition."""

    name: str
    display_name: str
    description: str
    href: str
    is_enabled: bool
    findings: tuple[str, ...]
    last: RunRow | None


@dataclass(frozen=True)
class LateReport:
    """What a worker said of a run that had been ended without it; ``log`` names the download."""

    sentence: str
    log: str
    log_href: str
    sha256: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class WorkerRow:
    """A worker in the list. ``state``: see ``model.worker_states.Duty``. ``load`` and ``disk_free`` (bytes) are of its
    last beat, ``None`` when it is not connected. ``warnings`` are sentences about its clock and its messages."""

    name: str
    href: str
    state: str
    sentence: str
    warnings: tuple[str, ...]
    slots: int
    used: int
    load: float | None
    disk_free: int | None
    version: str
    is_other_version: bool  # than the server's
    last_contact: When | None


@dataclass(frozen=True)
class TokenRow:
    """One of the reader's tokens."""

    label: str
    created: When
    last_used: When | None
    expires: datetime | None
    revoke_action: str


@dataclass(frozen=True)
class SessionRow:
    """One of the reader's logins. ``browser``: ``agent`` for people, as far as it is known."""

    browser: str
    agent: str
    address: str
    created: When
    is_this: bool
    end_action: str | None
