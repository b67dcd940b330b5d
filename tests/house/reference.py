"""The reference pages of docs/, made from the code. ``python -m tests.house.reference`` writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import click
import msgspec

from appliance.model import run_state
from appliance.model.run_state import Reason, Status
from appliance.settings_text import Seconds, Size
from tests.house import project_files
from tests.house.repository_tree import ROOT, source

STATUSES = {
    Status.PENDING: "Triggered, and waiting for a worker that matches and has a free slot.",
    Status.ASSIGNED: "Given to a worker, whose word that it has it is not here yet.",
    Status.RUNNING: "The worker has it.",
    Status.LOST: "The worker has been silent for too long. What it says when it returns still counts.",
    Status.SUCCEEDED: "All commands ended with 0, and so did setup and teardown.",
    Status.FAILED: "A command of the job failed.",
    Status.ERRORED: "Something around the commands failed: setup, teardown, the worker, a name that does not exist.",
    Status.ABORTED: "Somebody ended it while it ran.",
    Status.CANCELLED: "Ended before it ran. It was never started.",
    Status.SKIPPED: "An element of a pipeline that could not run any more. Never the status of a run of its own.",
}

REASONS = {
    Reason.EXIT_CODE: "A command ended with a code other than 0.",
    Reason.SIGNAL: "A command was ended by a signal.",
    Reason.OUT_OF_MEMORY: "A command was ended by the system for lack of memory.",
    Reason.TIMEOUT: "A command or the run took longer than it may.",
    Reason.REQUESTED: "A user asked for it.",
    Reason.EXPIRED: "It waited for longer than it may.",
    Reason.REPLACED: "A newer run took its place.",
    Reason.REMOVED: "Its job was removed.",
    Reason.WORKER_LOST: "The worker is silent; as an end: it never said that it had the run.",
    Reason.WORKER_RESET: "The worker came back without its memory of this run.",
    Reason.WORKER_REVOKED: "The worker's account was removed and an operator gave its runs up.",
    Reason.DECLARED_LOST: "An operator declared it lost.",
    Reason.WORKER_HOST_RESTARTED: "The worker's machine restarted while it ran.",
    Reason.EXECUTOR_KILLED: "The process that supervised it on the worker was killed.",
    Reason.START_FAILED: "A command could not be started: no such program, or no right to.",
    Reason.START_INTERRUPTED: "The worker was interrupted just as it started it; whether a command ran is not known.",
    Reason.SETUP_FAILED: "A setup command failed; the commands were skipped.",
    Reason.TEARDOWN_FAILED: "The commands succeeded, a teardown command did not.",
    Reason.FORMAT_ERROR: "A field of a command names something that does not exist.",
    Reason.STILL_RUNNING: "A process of it survived the abort.",
    Reason.DISK_FULL: "The worker had no space left.",
    Reason.PROTOCOL_ERROR: "Worker and server disagreed about it.",
    Reason.INTERNAL_ERROR: "A defect of the appliance.",
    Reason.CHILD_FAILED: "A child of a pipeline failed.",
    Reason.CHILD_ABORTED: "A child of a pipeline was aborted.",
}


WORKER_KEYS = {
    "url": "The address of the server, as `worker join` was given it.",
    "name": "The worker's name at the server when it joined, for people; the token decides.",
    "slots": "How many runs it does at once.",
    "token_file": "The file with its token. Nobody else may read it.",
    "data": "The directory of its journal: runs with their workspaces and output.",
    "properties": "What it says of itself, beside os, architecture, hostname, python, cpus and memory.",
    "environment": "Variables for every command of every run.",
    "retention": "How long a run is kept here after the server has stored it.",
    "retention_size": "The most that such runs may take, and at most a quarter of the disk; the oldest go first.",
    "min_free": "With less free space no new run is taken. Without it: 1 GiB, or 5 % of the disk if that is less.",
}

_SERVER, _CLIENT, _WORKER = "the server", "all other commands", "the worker"
ENVIRONMENT = {
    "ORCHESTRA_DATA": (
        "the server, commands that work on its data",
        "Its data directory, where `--data` is not given.",
    ),
    "ORCHESTRA_URL": (_CLIENT, "The address of the server, where `--url` is not given."),
    "ORCHESTRA_TOKEN": (_CLIENT, "Your token, where `--token` is not given."),
    "ORCHESTRA_TOKEN_FILE": (_CLIENT, "The file with your token. Default: `orchestra/token` in the next one."),
    "XDG_CONFIG_HOME": (_CLIENT, "The directory of your settings. Default: `~/.config`."),
    "XDG_DATA_HOME": (
        f"{_SERVER}, {_WORKER}",
        "Where the data directories are by default. Default: `~/.local/share`; root uses `/var/lib`.",
    ),
    "CREDENTIALS_DIRECTORY": (_SERVER, "Set by systemd. A `master.key` in it is used, not that of the data directory."),
    "ORCHESTRA_BOOT_ID": (
        f"{_SERVER}, {_WORKER}",
        "Which boot of the machine this is, for a unit that may not read `/proc/sys/kernel/random/boot_id`.",
    ),
    "NOTIFY_SOCKET": (f"{_SERVER}, {_WORKER}", "Set by systemd. Where it hears of start, reload, end and life."),
    "WATCHDOG_USEC": (f"{_SERVER}, {_WORKER}", "Set by systemd. After so many microseconds of silence it ends us."),
    "WATCHDOG_PID": (f"{_SERVER}, {_WORKER}", "Set by systemd. The process that the one before is meant for."),
    "RUNTIME_DIRECTORY": (_WORKER, "Set by systemd. Secrets of runs lie there for a moment, in memory."),
    "XDG_RUNTIME_DIR": (_WORKER, "The same, without systemd's directory for the unit."),
}


def statuses() -> str:
    """The page of statuses, transitions and reasons."""
    lines = ["# Statuses of a run", ""]
    lines += [
        "Live statuses change; the others are final. [The life of a run](../explanation/life-of-a-run.md) says why.",
        "",
    ]
    lines += ["| status | | meaning |", "|---|---|---|"]
    for status in Status:
        kind = "live" if status in run_state.LIVE else "final" if status in run_state.TERMINAL else ""
        lines.append(f"| `{status}` | {kind} | {STATUSES[status]} |")
    lines += ["", "## Transitions", "", "All others are refused, by the code and again by the database.", ""]
    lines += ["| from | to |", "|---|---|"]
    for before in [None, *Status]:
        after = [f"`{status}`" for status in Status if (before, status) in run_state.LEGAL]
        if after:
            lines.append(f"| {f'`{before}`' if before else '(a trigger)'} | {', '.join(after)} |")
    lines += [
        "",
        "## Reasons",
        "",
        "Every end but `succeeded` has one, and so has `lost`. A run also has a sentence for people.",
        "",
    ]
    lines += ["| reason | with status | meaning |", "|---|---|---|"]
    for reason in Reason:
        where = [f"`{status}`" for status, reasons in run_state.REASONS.items() if reason in reasons]
        lines.append(f"| `{reason}` | {', '.join(where)} | {REASONS[reason]} |")
    return "\n".join(lines) + "\n"


def diagram() -> str:
    """The state machine as a Mermaid diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR"]
    lines += [
        f"    {before or '[*]'} --> {after}"
        for before in [None, *Status]
        for after in Status
        if (before, after) in run_state.LEGAL
    ]
    return "\n".join([*lines, "```"])


def settings() -> str:
    """The page of settings: the file that ``init`` writes, and the worker's keys."""
    from appliance import settings as values

    server = source(ROOT / "appliance" / "examples" / "orchestra.toml").rstrip()
    lines = ["# Settings", "", "## Server: `orchestra.toml`", ""]
    lines += [
        "`orchestra init` writes this file. Unknown keys and bad values stop the start, naming file, line and key.",
        "",
    ]
    lines += ["```toml", server, "```", "", "## Worker: `worker.toml`", ""]
    lines += ["`orchestra worker join` writes this file. Relative paths are relative to it. Section `[worker]`:", ""]
    lines += ["| key | default | meaning |", "|---|---|---|"]
    for field in msgspec.structs.fields(values.WorkerSection):
        lines.append(f"| `{field.encode_name}` | {_default(field)} | {WORKER_KEYS[field.encode_name]} |")
    lines += ["", "Section `[log]` is as in `orchestra.toml`.", "", "## Environment", ""]
    lines += ["| variable | read by | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {reader} | {meaning} |" for name, (reader, meaning) in ENVIRONMENT.items()]
    return "\n".join(lines) + "\n"


def _default(field: msgspec.structs.FieldInfo) -> str:
    """As it would be written in the file."""
    if field.required:
        return "must be given"
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if default in (None, "", {}):
        return "none"
    if isinstance(default, Seconds):
        return f"`{_in_units(int(default), {'w': 604_800, 'd': 86_400, 'h': 3600, 'm': 60, 's': 1})}`"
    if isinstance(default, Size):
        return f"`{_in_units(default, {'GiB': 1 << 30, 'MiB': 1 << 20, 'KiB': 1 << 10, 'B': 1})}`"
    return f"`{default}`"


def _in_units(number: int, units: dict[str, int]) -> str:
    unit, size = next((unit, size) for unit, size in units.items() if number % size == 0)
    return f"{number // size}{unit}"


def commands() -> str:
    """The page of commands: what each does, its arguments and options."""
    from appliance.cli import root

    lines = ["# Commands", ""]
    lines += [
        "All commands take `--data`, `--url`, `--token` and `--json`. Exit codes: 0 ok; 1 what was asked for failed;"
    ]
    lines += ["2 usage; 3 not found; 4 not allowed; 5 server unreachable; 78 wrong settings.", ""]
    for path, command in leaves(root, "orchestra"):
        arguments = [
            one.make_metavar(click.Context(command)) for one in command.params if isinstance(one, click.Argument)
        ]
        lines += [f"## {path}", "", f"    {' '.join([path, *arguments])}", ""]
        for paragraph in (command.help or "").split("\n\n"):
            lines += [re.sub(r"\s*\n\s*", " ", paragraph.strip()), ""]
        options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden and one.help]
        lines += [f"- `{', '.join(one.opts)}{_value(one)}`: {one.help}" for one in options]
        lines += [""] if options else []
    return "\n".join(lines).rstrip() + "\n"


def _value(option: click.Option) -> str:
    return "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its full name."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command, info_name=path)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from leaves(below, f"{path} {name}")


def service() -> str:
    """The page of the service: every route with its right."""
    from appliance.web.service import ROUTES

    lines = [
        "# Service",
        "",
        "JSON over HTTP under `/api/v1`. The running server has the whole description at `/api/v1/openapi.json`.",
        "",
    ]
    lines += [
        "Login: `Authorization: Bearer <token>`, or Basic `user:token`. Errors are `application/problem+json`.",
        "",
    ]
    lines += ["| method and path | right | |", "|---|---|---|"]
    for route in ROUTES:
        if route.kind == "api":
            path = re.sub(r"<(?:path:)?(\w+)(?::\w+)?>", r"{\1}", route.path)
            lines.append(f"| `{route.method} {path}` | {route.right} | {route.summary} |")
    return "\n".join([*lines, *_queries()]) + "\n"


def _queries() -> list[str]:
    """What may stand in the query of each route, and the orders that lists have."""
    from appliance.web.openapi import describe
    from appliance.web.service import ROUTES

    lines = ["", "## Queries", "", 'A filter that is given more than once means "or".', ""]
    lines += ["| path | query |", "|---|---|"]
    for path, operations in describe(ROUTES)["paths"].items():
        given = [one for one in operations.get("get", {}).get("parameters", []) if one["in"] == "query"]
        shown = [f"`{one['name']}`{_choices(one['schema'].get('enum', ()))}" for one in given]
        if shown:
            lines.append(f"| `{path}` | {', '.join(shown)} |")
    return lines


def _choices(values: Sequence[str]) -> str:
    return f" ({', '.join(f'`{value}`' for value in values)})" if values else ""


PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/statuses.md": statuses,
    "docs/reference/settings.md": settings,
    "docs/reference/commands.md": commands,
    "docs/reference/service.md": service,
    "docs/reference/project-files.md": project_files.page,
}
LIFE = ROOT / "docs" / "explanation" / "life-of-a-run.md"
DIAGRAM = re.compile(r"```mermaid\n.*?```", re.DOTALL)


def main() -> None:
    """Write all of them."""
    for name, make in PAGES.items():
        (ROOT / name).write_text(make(), "utf-8")
    LIFE.write_text(DIAGRAM.sub(lambda _: diagram(), LIFE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
