"""The reference page of project files, made from the schema and from the templates themselves."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from appliance.model import schema, templates
from appliance.model.templates import TemplateError
from appliance.worker import environment

PARTS: dict[type[msgspec.Struct], tuple[str, dict[str, str]]] = {
    schema.ProjectFile: ("A file", {"projects": "Its projects, one or more."}),
    schema.ProjectDocument: (
        "A project",
        {
            "identifier": "Its name in addresses and on the command line.",
            "display_name": "Its name on pages; else the identifier.",
            "services": "Free, and kept: Job Orchestra's dictionaries have it.",
            "jobs": "Its jobs.",
            "schedules": "Its schedules. They load, and do not fire in this version.",
            "is_enabled": "Whether its runs are given to workers. Once it was set on the website, that counts.",
        },
    ),
    schema.JobDocument: (
        "A job",
        {
            "identifier": "Its name in addresses and on the command line; one of its kind in the project.",
            "display_name": "Its name on pages; else the identifier.",
            "description": "A text for its page.",
            "definition": "What it does: the next table.",
            "parameters": "What a trigger can give.",
            "properties": "Job Orchestra's form of `requires`: only `is_controller` is compared with the worker's.",
            "is_enabled": "Whether it is run. Once it was set on the website, that counts.",
            "requires": 'What a worker must have, such as `{os: linux, python: ">=3.11", memory: ">=8GiB"}`.',
            "environment": "Variables for its commands, also `{environment[KEY]}` in argument lists.",
            "timeout": "How long a run may take; then it ends as `failed`, `timeout`. Without: no limit.",
            "expires": "How long a run may wait; then it is cancelled. Else the server's `pending_expires`.",
            "grace": "Between SIGTERM and SIGKILL when a run is aborted. Else the server's `abort_grace`.",
            "lost_after": "Silence of its worker until a run is lost, or `never`. Else the server's `lost_after`.",
            "log_limit": "Output that is kept; of more, the beginning and the end. Else the server's `log_size`.",
            "on_log_full": "`truncate` (as without it) or `abort`: what to do when the worker's disk is full.",
        },
    ),
    schema.Definition: (
        "A definition",
        {
            "type": "`job`, or `pipeline`, which loads and does not run in this version.",
            "setup_commands": "Run first. The first that fails ends them; `commands` are then skipped: `errored`.",
            "commands": "The job itself. The first that fails ends them: `failed`.",
            "teardown_commands": "Run at last, whatever happened, each of them.",
            "elements": "Of a pipeline: its jobs.",
        },
    ),
    schema.Command: (
        "A command",
        {
            "run": "A list of arguments, whose fields are filled in, or a text for the shell, which is not.",
            "name": "What its step is called on the page of a run.",
            "timeout": "How long it may take.",
        },
    ),
    schema.Parameter: (
        "A parameter",
        {
            "key": "Its name: `-p KEY=VALUE`, `{parameters[KEY]}` and `$PARAM_KEY`.",
            "description": "A text for the form.",
            "type": "What its values are; `ref` is the name of a branch, tag or revision of git.",
            "default": "The value without another one.",
            "required": "Whether a trigger must give it.",
            "choices": "The values there are, for `choice`.",
            "pattern": "What a `string` must match as a whole.",
            "max_length": "Of a `string`, in characters.",
        },
    ),
    schema.Element: (
        "An element of a pipeline",
        {
            "identifier": "Its name in the pipeline.",
            "job": "Which job it runs.",
            "project": "Of which project, if it is another one.",
            "parameters": "Values, or templates over the results of earlier elements.",
            "after": "What it waits for.",
        },
    ),
    schema.After: (
        "What an element waits for",
        {"element": "Another element.", "status": "In one of these statuses."},
    ),
    schema.ScheduleDocument: (
        "A schedule",
        {
            "identifier": "Its name; one of its kind in the project.",
            "display_name": "Its name on pages.",
            "job": "Which job of the project it runs.",
            "parameters": "With which values.",
            "expression": "When, as cron says it. One of `expression`, `every` and `at` must be there.",
            "every": "When, as a duration.",
            "at": "When, as a time, once.",
            "timezone": "In which the times are meant.",
            "overlap": "What to do while a run of it goes on.",
            "missed": "What to do about times at which the server was down.",
            "on": "On any worker, or on every one.",
            "quiet": "Spans of the day in which it does not fire.",
            "jitter": "By how much it may be late, at random.",
            "disable_after_failures": "After so many failures in a row it is disabled.",
            "is_enabled": "Whether it fires.",
        },
    ),
}
LATER = {
    "a job": schema.JOB_LATER,
    "an element": schema.ELEMENT_LATER,
    "a project": schema.PROJECT_LATER,
    "a file": schema.FILE_LATER,
}

# Format fields: an example of each name, which the page shows with what it becomes.
FIELDS = {
    "environment": ("{environment[origin]}", "A variable of the job, else of the worker's settings."),
    "parameters": ("{parameters[branch]}", "A parameter's value."),
    "results": ("{results[version]}", "A result that an earlier command of this run has written."),
    "project_identifier": ("{project_identifier}", "The project."),
    "job_identifier": ("{job_identifier}", "The job."),
    "run_identifier": ("{run_identifier}", "The run's id."),
    "result_file_path": (
        "{result_file_path}",
        "The file for results, from the workspace: `$ORCHESTRA_RESULTS`.",
    ),
    "workspace": ("{workspace}", "The directory that the commands run in, absolute."),
}
REQUEST: dict[str, Any] = {
    "run": "0b9b6a4e-3f0e-4c6b-9d55-1f6e1b9a7c11",
    "project": "website",
    "job": "test",
    "number": 7,
    "url": "https://ci.example.org",
    "environment": {"CI": "1"},
    "parameters": {"branch": "main", "dry-run": True, "count": 3},
}
DIRECTORY = "/var/lib/orchestra-worker/runs/0b9b6a4e"
SETTINGS = {"origin": "https://git.example.org/website"}
RESULTS = {"version": "1.10", "tests": [{"name": "unit", "passed": 214}], "note": None}
SYNTAX = (
    "--branch={parameters[branch]}",
    "{parameters.branch}",
    "{results[tests][0][passed]} passed",
    "{results.tests.0.name}",
    "{parameters[dry-run]}",
    "{{literal braces}}",
)
REFUSED = ("{branch}", "{parameters}", "{parameters[branch]!r}", "{parameters[count]:>9}", "{}", "a { b")
MISSING = ("{parameters[tag]}", "{results[tests][1]}", "{results[note]}", "{results[tests]}")

VARIABLES = {
    "CI": "`true`, unless the job says otherwise.",
    "TMPDIR": "A directory of this run, removed with it.",
    "PARAM_<KEY>": "Each parameter, in upper case; what is no letter, digit or `_` becomes `_`.",
    "ORCHESTRA_RUN": "The run's id.",
    "ORCHESTRA_URL": "The address of the server.",
    "ORCHESTRA_TOKEN": "A token of this run alone, which dies with it.",
    "ORCHESTRA_PROJECT": "The project.",
    "ORCHESTRA_JOB": "The job.",
    "ORCHESTRA_NUMBER": "The run's number.",
    "ORCHESTRA_RESULTS": "A file to write a JSON object into: the results. It is read while the run goes on.",
    "ORCHESTRA_ARTIFACTS": "A directory for files that are to be kept. Nothing collects it in this version.",
    "ORCHESTRA_WORKSPACE": "The directory that the commands run in.",
}


def names() -> dict[str, Any]:
    """What the templates of the example run see."""
    return {**environment.names(REQUEST, DIRECTORY, SETTINGS), "results": RESULTS}


def variables() -> set[str]:
    """The variables that a command of the example run gets from us."""
    token = {"ORCHESTRA_TOKEN": "orc_r_..."}
    got = set(environment.compose(REQUEST, DIRECTORY, base={}, environment={}, secrets=token))
    return {name for name in got if not name.startswith("PARAM_")} | {"PARAM_<KEY>"}


def page() -> str:
    """The page."""
    lines = ["# Project files", ""]
    lines += [
        "YAML, or Python with a function `configure()` that returns the same as a dictionary. `orchestra config schema`"
    ]
    lines += [
        "prints all this as JSON Schema; `orchestra config check` names file, line and reason of what does not fit.",
        "",
    ]
    lines += [
        "Durations are written `90s 30m 2h 1d 1w`, sizes `500kB 64MiB 10GB`. Identifiers have 1 to 64 of the characters"
    ]
    lines += ["`A-Z a-z 0-9 _ . -`.", ""]
    for shape, (title, meanings) in PARTS.items():
        lines += [f"## {title}", ""]
        if shape is schema.Command:
            lines += ["A list, a text, or a map with these keys:", ""]
        lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
        for field in msgspec.structs.fields(shape):
            default = _default(field)
            lines.append(f"| `{field.encode_name}` | {_kind(field.type)} | {default} | {meanings[field.encode_name]} |")
        lines += [""]
    lines += [
        "## Not in this version",
        "",
        "These keys are known. Each gets a finding, because this version does not obey it:",
    ]
    lines += [""]
    lines += [f"- of {owner}: {', '.join(f'`{key}`' for key in sorted(keys))}" for owner, keys in LATER.items()]
    protective = ", ".join(f"`{key}`" for key in sorted(schema.PROTECTIVE))
    lines += ["", f"A job that has one of {protective} is not run without it.", ""]
    return "\n".join([*lines, *_templates(), *_environment()]) + "\n"


def _templates() -> list[str]:
    lines = [
        "## Format fields",
        "",
        "They are filled in where a command is a **list**, once, each argument for itself: a value never becomes a",
        "second argument, and what stands in it is not looked at again. A command that is a text goes to the shell",
        "as it is; there, use the variables below.",
        "",
    ]
    lines += ["| name | example | becomes | |", "|---|---|---|---|"]
    for name in FIELDS:
        example, meaning = FIELDS[name]
        lines.append(f"| `{name}` | `{example}` | `{templates.expand(example, names())}` | {meaning} |")
    lines += ["", "A field is a name and up to 8 steps, `[key]` or `.key`; a step into a list is a number from 0:", ""]
    lines += ["| written | becomes |", "|---|---|"]
    lines += [f"| `{text}` | `{templates.expand(text, names())}` |" for text in SYNTAX]
    lines += ["", "Nothing else is part of the language. `config check` finds:", "", "| written | said |", "|---|---|"]
    lines += [f"| `{text}` | {templates.check(text)[0]} |" for text in REFUSED]
    lines += ["", "What only the run knows ends it as `errored`, `format_error`; its teardown commands still run:", ""]
    lines += ["| written | said |", "|---|---|"]
    lines += [f"| `{text}` | {_trouble(text)} |" for text in MISSING]
    lines += ["", f"An expanded argument has at most {templates.ARGUMENT_LIMIT // 1024} KiB, a command at most"]
    return [*lines, f"{templates.COMMAND_LIMIT // 1024 // 1024} MiB.", ""]


def _environment() -> list[str]:
    lines = ["## Variables of a command", "", "| variable | |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in VARIABLES.items()]
    lines += ["", "Beside them: the `environment` of the worker's settings, and that of the job, which wins. From the"]
    lines += ["environment of the worker's own process only these are passed on:"]
    lines += [", ".join(f"`{name}`" for name in environment.INHERITED) + "."]
    return lines


def _trouble(text: str) -> str:
    try:
        templates.expand(text, names())
    except TemplateError as error:
        return str(error)
    raise AssertionError(f"{text} can be filled in")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "must be given"
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if default is None or default == "" or default == {} or isinstance(default, msgspec.Struct):
        return ""
    if isinstance(default, list):
        return f"`[{', '.join(default)}]`" if default else ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


_WORDS: dict[Any, str] = {str: "text", bool: "`true` or `false`", int: "whole number", float: "number", Any: "anything"}
_SAID = {schema.Name: "identifier", schema.Duration: "duration", schema.Size: "size", schema.Variable: "variable"}


def _kind(kind: Any) -> str:
    """The type of a key's value, in words."""
    if kind in _SAID:
        return _SAID[kind]
    if kind == schema.Patience:
        return "duration or `never`"
    if kind in _WORDS:
        return _WORDS[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_kind(one) for one in arguments if one is not type(None)))
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return "map"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        title = PARTS[kind][0]
        return f"[{title[0].lower()}{title[1:]}](#{title.lower().replace(' ', '-')})"
    raise AssertionError(f"no words for {kind}")
