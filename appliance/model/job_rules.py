"""What a job must hold to beyond its shape: names, parameters, templates, requirements, the links of a pipeline."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from appliance.model import documents, templates
from appliance.model.errors import Invalid
from appliance.model.findings import Place, Sink
from appliance.model.matching import check_requirement
from appliance.model.names import check_name, did_you_mean, taken
from appliance.model.parameters import check_type, variable
from appliance.model.patterns import compile_pattern
from appliance.model.run_state import TERMINAL
from appliance.model.schema import Command, Element, JobDocument, Parameter
from appliance.model.times import parse_duration

JOB_LIMIT = 128 * 1024  # bytes of a job as JSON, so that a request fits a message
LONGEST = 3650 * 86_400.0  # seconds a duration may be
LISTS = ("setup_commands", "commands", "teardown_commands")
ELEMENT_STATUSES = frozenset(status.value for status in TERMINAL) | {"skipped"}

_OWN_VARIABLES = ("ORCHESTRA_", "PARAM_")
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
_FIELD = re.compile(r"(?<![{$])\{(?:" + "|".join(sorted(templates.COMMAND_NAMES)) + r")(?:[.\[][^{}\n]{0,200})?\}")

_FIELD_ADVICE = 'use a list of arguments, or a variable such as "$PARAM_BRANCH"'


def check_job(job: JobDocument, raw: dict[str, Any], siblings: Collection[str], place: Place, sink: Sink) -> None:
    """Report everything that is wrong with a job. ``raw``: as in the file; ``siblings``: all jobs of its project."""
    size = len(documents.canonical(raw).encode())
    if size > JOB_LIMIT:
        sink.block(place, f"the job has {size} bytes, {JOB_LIMIT} are allowed; move scripts into the repository")
    for key in ("timeout", "expires", "grace", "lost_after"):
        _check_duration(getattr(job, key), (*place, key), sink)
    if not isinstance(job.properties.get("is_controller", False), bool):
        sink.block((*place, "properties", "is_controller"), "must be true or false")
    for name, wanted in job.requires.items():
        _check(lambda name=name, wanted=wanted: check_requirement(name, wanted), (*place, "requires", name), sink)
    for name in job.environment:
        if name.startswith(_OWN_VARIABLES):
            sink.block((*place, "environment", name), "names that begin with ORCHESTRA_ or PARAM_ are set by us")
    _check_parameters(job.parameters, (*place, "parameters"), sink)
    _check_commands(job, (*place, "definition"), sink)
    if job.definition.type == "pipeline":
        sink.block((*place, "definition", "type"), "pipeline jobs cannot run in this version")
        _check_elements(job.definition.elements, siblings, (*place, "definition", "elements"), sink)
    elif job.definition.elements:
        sink.warn((*place, "definition", "elements"), "only a pipeline has elements; say type: pipeline")
    elif _says_nothing(raw.get("definition")) and not sink.has((*place, "definition")):
        advice = "say commands: [] if that is meant"  # as Job Orchestra's own job "empty" does
        sink.warn((*place, "definition"), f"there is no command: its runs do nothing and succeed; {advice}")


def _says_nothing(definition: Any) -> bool:
    """Whether a definition names no list of commands at all."""
    return isinstance(definition, dict) and all(definition.get(name) is None for name in LISTS)


def _check_parameters(declared: list[Parameter], place: Place, sink: Sink) -> None:
    keys: dict[str, str] = {}
    for index, parameter in enumerate(declared):
        here = (*place, index)
        _check(lambda key=parameter.key: check_name("parameter", key), (*here, "key"), sink)
        clash = keys.get(variable(parameter.key))
        if clash == parameter.key:
            sink.block((*here, "key"), f"{parameter.key!r} is declared twice")
        elif clash is not None:
            sink.warn((*here, "key"), f"{clash!r} and {parameter.key!r} share the variable {variable(clash)}")
        keys[variable(parameter.key)] = parameter.key
        _check_parameter(parameter, here, sink)


def _check_parameter(parameter: Parameter, place: Place, sink: Sink) -> None:
    if parameter.type == "secret":
        sink.block((*place, "type"), "secret parameters are not supported by this version")
        return
    if parameter.type == "choice" and not parameter.choices:
        sink.block((*place, "choices"), "a choice needs choices")
        return
    if parameter.type != "choice" and parameter.choices:
        sink.warn((*place, "choices"), "has no effect here; say type: choice")
    if parameter.pattern is not None:
        if parameter.type != "string":
            sink.warn((*place, "pattern"), "has no effect here; it is for type string")
        elif not _check(lambda: compile_pattern(parameter.pattern or ""), (*place, "pattern"), sink):
            return
    if parameter.default is not None:
        try:
            check_type(parameter, parameter.default)
        except Invalid as error:
            sink.block((*place, "default"), f"the default {error}")


def _check_commands(job: JobDocument, place: Place, sink: Sink) -> None:
    declared = {parameter.key for parameter in job.parameters}
    for name in LISTS:
        commands: list[str | list[str] | Command] = getattr(job.definition, name)
        if name == "commands" and commands and job.definition.type == "pipeline":
            sink.warn((*place, name), "a pipeline runs elements, not commands")
        for index, command in enumerate(commands):
            here: Place = (*place, name, index)
            if isinstance(command, Command):
                _check_duration(command.timeout, (*here, "timeout"), sink)
                command, here = command.run, (*here, "run")
            if isinstance(command, list):
                _check_arguments(command, declared, here, sink)
            elif _FIELD.search(command):
                sink.warn(here, f"{_FIELD_ADVICE}: a text for the shell is never filled in")


def _check_arguments(arguments: list[str], declared: set[str], place: Place, sink: Sink) -> None:
    for index, argument in enumerate(arguments):
        here = (*place, index)
        for error in templates.check(argument):
            sink.warn(here, f"{error}; runs end as errored")
        for field in _fields(argument):
            if field.name == "parameters" and field.steps and field.steps[0] not in declared:
                sink.warn(here, f"the job declares no parameter {_meant(field.steps[0], declared)}")
    is_shell = len(arguments) > 2 and arguments[0].rpartition("/")[2] in _SHELLS
    if is_shell and re.fullmatch(r"-[a-z]*c", arguments[1]) and _fields(arguments[2]):
        sink.warn((*place, 2), f"the value of a field becomes text of the shell here; {_FIELD_ADVICE}")


def _fields(argument: str) -> list[templates.Field]:
    try:
        return templates.fields(argument)
    except templates.TemplateError:
        return []  # templates.check reports it


def _meant(word: str, known: Iterable[str]) -> str:
    return f"{word[:64]!r}{did_you_mean(word, known)}"


def _check_elements(elements: list[Element], jobs: Collection[str], place: Place, sink: Sink) -> None:
    known: dict[str, Element] = {}
    for index, element in enumerate(elements):
        here = (*place, index)
        _check(lambda name=element.identifier: check_name("element", name), (*here, "identifier"), sink)
        if taken(known, element.identifier) is not None:
            sink.block((*here, "identifier"), f"there are two elements {element.identifier!r}")
        known[element.identifier] = element
        if element.project is None and element.job not in jobs:
            sink.warn((*here, "job"), f"there is no job {_meant(element.job, jobs)}")
        for key, value in element.parameters.items():
            for error in templates.check(value, templates.NAMES) if isinstance(value, str) else ():
                sink.warn((*here, "parameters", key), f"{error}; runs end as errored")
    for index, element in enumerate(elements):
        for number, link in enumerate(element.after):
            here = (*place, index, "after", number)
            if link.element not in known:
                sink.block((*here, "element"), f"there is no element {_meant(link.element, known)}")
            for status in link.status:
                if status not in ELEMENT_STATUSES:
                    choices = ", ".join(sorted(ELEMENT_STATUSES))
                    sink.block((*here, "status"), f"{status!r} is no status an element ends with: use {choices}")
    cycle = find_cycle({name: [link.element for link in element.after] for name, element in known.items()})
    if cycle:
        sink.block(place, "the elements wait for each other: " + " after ".join(cycle))


def find_cycle(links: dict[str, list[str]]) -> list[str]:
    """A way that ends where it began, as ``[a, b, a]``, or an empty list. Links to unknown names are left out."""
    done: set[str] = set()
    for start in links:
        way: dict[str, Iterator[str]] = {}  # the names on the way in their order, with the links not yet followed
        following: str | None = start if start not in done else None
        while following is not None or way:
            if following is None:
                done.add(way.popitem()[0])
            elif following in way:
                names = list(way)
                return [*names[names.index(following) :], following]
            else:
                way[following] = iter(links[following])
            onward = next(reversed(way.values())) if way else iter(())
            following = next((name for name in onward if name in links and name not in done), None)
    return []


def _check_duration(text: str | None, place: Place, sink: Sink) -> None:
    if text is not None and text != "never" and parse_duration(text) > LONGEST:
        sink.block(place, "is longer than ten years")


def _check(rule: Any, place: Place, sink: Sink) -> bool:
    try:
        rule()
    except Invalid as error:
        sink.block(place, str(error))
        return False
    return True
