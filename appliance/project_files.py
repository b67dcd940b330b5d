"""Reading project files: YAML, and Python with ``configure()`` (contract.md section 4, S-89), but not what they mean.

YAML is read as values only. Plain words follow the core schema of YAML 1.2, so ``on``, ``yes``, ``9:30``, ``007`` and
``2026-12-01`` stay the text they are (D5, J03). Tags, merge keys, equal keys and more than one document are refused.
Python files are server code: whoever may write them is an administrator (security.md, actor A4).
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from appliance.model.errors import Invalid
from appliance.model.names import nearest
from appliance.model.schema import FILE_LATER
from appliance.private_files import check_not_writable

SUFFIXES = (".yaml", ".yml", ".py")
FILE_LIMIT = 4 << 20  # bytes
DEPTH_LIMIT = 32
VALUE_LIMIT = 200_000  # values in a file, each use of an alias counted in full

Place = tuple[str | int, ...]
"""The way to a value inside a document, such as ``("jobs", 0, "definition")``."""

_NULL = re.compile(r"(|~|null|Null|NULL)(?!\n)$")
_TRUTH = re.compile(r"(true|True|TRUE|false|False|FALSE)(?!\n)$")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,19})(?!\n)$")
_FRACTION = re.compile(r"[-+]?(\.[0-9]{1,40}|(0|[1-9][0-9]{0,39})(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,4})?(?!\n)$")

_log = logging.getLogger(__name__)


class FileFinding(msgspec.Struct, frozen=True):
    """Why a file cannot be used. ``line`` is 0 when no line is to blame."""

    file: str
    line: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.sentence}" if self.line else f"{self.file}: {self.sentence}"


class RawProject(msgspec.Struct, frozen=True):
    """One entry of ``projects`` of a file, as it stands there, and where in the file its values stand."""

    document: dict[str, Any]
    file: str
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int:
        """The line of a value, else of what surrounds it; 0 when that is not known."""
        while place not in self.lines and place:
            place = place[:-1]
        return self.lines.get(place, 0)


class _Refused(Exception):
    """This file cannot be used."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line
        self.sentence = sentence


def read_files(paths: Iterable[Path]) -> tuple[list[RawProject], list[FileFinding]]:
    """All projects of these files, and of the project files right inside these directories, in order of their names.

    One finding for each file that cannot be used; files are read once even if named twice.
    """
    projects: list[RawProject] = []
    findings: list[FileFinding] = []
    seen: set[str] = set()
    for path in paths:
        try:
            files = _files_of(path)
        except _Refused as refused:
            findings.append(FileFinding(str(path), refused.line, refused.sentence))
            continue
        for file in files:
            real = os.path.realpath(file)
            if real in seen:
                continue
            seen.add(real)
            try:
                projects.extend(_read_file(file))
            except _Refused as refused:
                findings.append(FileFinding(str(file), refused.line, refused.sentence))
    return projects, findings


def _files_of(path: Path) -> list[Path]:
    try:
        check_not_writable(path)
        if not path.is_dir():
            check_not_writable(path.parent)
            return [path]
        return sorted(one for one in path.iterdir() if one.suffix in SUFFIXES and not one.name.startswith("."))
    except FileNotFoundError:
        raise _Refused(0, "there is no such file or directory") from None
    except OSError as error:
        raise _Refused(0, f"cannot be read: {error.strerror}") from None
    except Invalid as error:
        raise _Refused(0, str(error)) from None


def _read_file(file: Path) -> list[RawProject]:
    try:
        check_not_writable(file)
        with file.open("rb") as opened:
            raw = opened.read(FILE_LIMIT + 1)
    except OSError as error:
        raise _Refused(0, f"cannot be read: {error.strerror}") from None
    except Invalid as error:
        raise _Refused(0, str(error)) from None
    if len(raw) > FILE_LIMIT:
        raise _Refused(0, f"over {FILE_LIMIT >> 20} MiB: split the file")
    if file.suffix == ".py":
        document, lines = _run_python(file, raw)
    else:
        document, lines = _read_yaml(raw)
    return _projects_of(document, lines, file)


def _projects_of(document: object, lines: Mapping[Place, int], file: Path) -> list[RawProject]:
    if not isinstance(document, dict) or not isinstance(document.get("projects"), list):
        near = nearest("projects", [str(key) for key in document]) if isinstance(document, dict) else None
        hint = f", not {near!r}" if near not in (None, "projects") else ""
        raise _Refused(lines.get((near or "",), lines.get((), 0)), f"must hold a list named 'projects'{hint}")
    for key in document:
        if key in FILE_LATER:
            raise _Refused(lines.get((key,), 0), f"{key!r} is not supported by this version: remove it")
        if key != "projects":
            raise _Refused(lines.get((key,), 0), f"unknown key {str(key)[:80]!r} beside 'projects'")
    projects = []
    for index, project in enumerate(document["projects"]):
        start: Place = ("projects", index)
        if not isinstance(project, dict):
            raise _Refused(lines.get(start, 0), f"projects[{index}] is not a project: it has no keys")
        inner = {place[2:]: line for place, line in lines.items() if place[:2] == start}
        projects.append(RawProject(document=project, file=str(file), lines=inner))
    return projects


# YAML


class _Open:
    """A list or mapping that is being read."""

    def __init__(self, value: list[Any] | dict[str, Any], place: Place, anchor: str | None, count: int) -> None:
        self.value = value
        self.place = place
        self.anchor = anchor
        self.count = count  # of all values in the file when it began
        self.key: str | None = None  # of a mapping: read, and waiting for its value


def _read_yaml(raw: bytes) -> tuple[object, dict[Place, int]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Refused(raw.count(b"\n", 0, error.start) + 1, "not UTF-8 text: save the file as UTF-8") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder().build(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        # What is missing at the end is noticed behind the last line.
        line = min(error.problem_mark.line + 1, len(text.splitlines())) if error.problem_mark else 0
        raise _Refused(line, f"not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise _Refused(0, f"not YAML: {str(error).splitlines()[0][:200]}") from None


class _Builder:
    """Makes plain values of YAML events, without recursion and without ever calling a constructor."""

    def __init__(self) -> None:
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}  # finished values, and how many values they hold
        self._lines: dict[Place, int] = {}
        self._count = 0
        self._documents = 0
        self._root: object = None

    def build(self, events: Iterable[yaml.Event]) -> tuple[object, dict[Place, int]]:
        """The one document, and the line of each of its values."""
        for event in events:
            line = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    raise _Refused(line, "a second document begins here: use a file for each, or one list of projects")
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event.anchor or "", line)
            elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
                if event.tag is not None:
                    raise _Refused(line, f"tags such as {event.tag[:80]} are not allowed in project files")
                self._node(event, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()
        return self._root, self._lines

    def _node(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int) -> None:
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event.value) if event.implicit[0] else event.value
            self._add(value, 1, line, event.anchor)
            return
        container: list[Any] | dict[str, Any] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        if len(self._stack) >= DEPTH_LIMIT:
            raise _Refused(line, f"nested deeper than {DEPTH_LIMIT} levels")
        place = self._add(container, 1, line, None)
        self._stack.append(_Open(container, place, event.anchor, self._count))

    def _close(self) -> None:
        closed = self._stack.pop()
        if closed.anchor is not None:
            self._anchors[closed.anchor] = (closed.value, self._count - closed.count + 1)

    def _alias(self, anchor: str, line: int) -> None:
        if anchor not in self._anchors:
            raise _Refused(line, f"the alias *{anchor[:80]} has no finished value before it")
        value, count = self._anchors[anchor]
        self._add(value, count, line, None)

    def _add(self, value: Any, count: int, line: int, anchor: str | None) -> Place:
        """Put a value where the file has it; answers the place."""
        self._count += count
        if self._count > VALUE_LIMIT:
            raise _Refused(line, f"the file has more than {VALUE_LIMIT} values")
        if anchor is not None:
            self._anchors[anchor] = (value, count)
        if not self._stack:
            self._root = value
            self._lines[()] = line
            return ()
        parent = self._stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
            place = (*parent.place, len(parent.value) - 1)
        elif parent.key is None:
            parent.key = self._key(value, parent.value, line)
            place = (*parent.place, parent.key)
        else:
            parent.value[parent.key] = value
            place = (*parent.place, parent.key)
            parent.key = None
            self._lines.setdefault(place, line)
            return place
        self._lines[place] = line
        return place

    def _key(self, key: object, mapping: dict[str, Any], line: int) -> str:
        if not isinstance(key, str):
            raise _Refused(line, f"the key {str(key)[:80]} is no text: put it in quotes")
        if key == "<<":
            raise _Refused(line, "merge keys are not supported: write the keys out")
        if key in mapping:
            raise _Refused(line, f"the key {key[:80]!r} stands twice in one mapping")
        return key


def _scalar(text: str) -> object:
    """A plain word by the core schema of YAML 1.2, decimal numbers only."""
    if _NULL.match(text):
        return None
    if _TRUTH.match(text):
        return text.lower() == "true"
    if _INTEGER.match(text):
        return int(text)
    if _FRACTION.match(text):
        return float(text)
    return text


# Python


class _Source(importlib.abc.SourceLoader):
    """Runs exactly the bytes that were checked; reads and writes no bytecode."""

    def __init__(self, name: str, path: str, source: bytes) -> None:
        self._name = name
        self._path = path
        self._source = source

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str | bytes) -> bytes:
        if path != self._path:
            raise OSError("no bytecode")
        return self._source


def _run_python(file: Path, source: bytes) -> tuple[object, dict[Place, int]]:
    name = "appliance_project_" + re.sub(r"\W", "_", file.stem)
    loader = _Source(name, str(file), source)
    spec = importlib.util.spec_from_loader(name, loader, origin=str(file))
    if spec is None:  # never for a loader that is given
        raise _Refused(0, "cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look a module up by its name
    try:
        loader.exec_module(module)
        configure = getattr(module, "configure", None)
        if not callable(configure):
            raise _Refused(0, "has no function configure()")
        document = configure()
    except _Refused:
        raise
    except SyntaxError as error:
        raise _Refused(error.lineno or 0, f"not Python: {error.msg}") from None
    except (Exception, SystemExit) as error:  # whatever the operator's code does, the old configuration goes on
        _log.debug("configuration code failed", exc_info=True)
        frames = [
            frame.lineno or 0 for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)
        ]
        sentence = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise _Refused(frames[-1] if frames else 0, sentence.splitlines()[0][:500]) from None
    finally:
        sys.modules.pop(name, None)
    return document, _lines_of(document, source)


def _lines_of(document: object, source: bytes) -> dict[Place, int]:
    """Lines of projects, jobs and schedules whose identifier is written out as a word in the source."""
    written: dict[object, int] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "identifier" and isinstance(value, ast.Constant):
                    written.setdefault(value.value, value.lineno)
    lines: dict[Place, int] = {}

    def note(things: object, place: Place) -> None:
        if not isinstance(things, list):
            return
        for index, thing in enumerate(things):
            identifier = thing.get("identifier") if isinstance(thing, dict) else None
            if isinstance(identifier, str) and identifier in written:
                lines[*place, index] = written[identifier]
            if isinstance(thing, dict) and not place[1:]:
                note(thing.get("jobs"), (*place, index, "jobs"))
                note(thing.get("schedules"), (*place, index, "schedules"))

    if isinstance(document, dict):
        note(document.get("projects"), ("projects",))
    return lines
