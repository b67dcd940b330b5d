"""TOML text to structs, with the line of what is wrong. Ground of ``config``; opens no file."""

from __future__ import annotations

import json
import re
import tomllib
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from appliance.model.errors import ApplianceError, Invalid
from appliance.model.names import did_you_mean
from appliance.model.times import parse_duration

_LINES_LIMIT = 2_000
_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,12}) ?(B|KiB|MiB|GiB|TiB)(?!\n)$")
_HOST = re.compile(r"([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?!\n)$")
_PORT = re.compile(r"[0-9]{1,5}(?!\n)$")
_FACTORY = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,200}:[A-Za-z_][A-Za-z0-9_]{0,100}(?!\n)$")
_LEVELS = ("debug", "info", "warning", "error")
# What contract.md section 3 has and this version cannot obey yet: refused, so that nobody believes in it.
_LATER = frozenset({("mail",), ("tls",), ("retention",), ("worker", "factory"), ("worker", "fingerprint")})

T = TypeVar("T", bound=msgspec.Struct)


class ConfigurationError(ApplianceError):
    """Settings that cannot be used. ``line`` is 0 if no line is to blame, ``key`` is dotted, "" for the whole file."""

    def __init__(self, file: Path | str, line: int, key: str, message: str) -> None:
        super().__init__(": ".join(part for part in (f"{file}:{line}" if line else str(file), key, message) if part))
        self.file = str(file)
        self.line = line
        self.key = key
        self.message = message


class Seconds(float):
    """A duration in seconds, written as ``90s 30m 2h 1d 1w``."""


class Size(int):
    """A number of bytes, written as ``64KiB 8MiB 4GiB``."""


class Address(str):
    """Where to listen: ``host:port`` or ``[::1]:port``. Port 0 takes a free one."""

    @property
    def host(self) -> str:
        """Without brackets."""
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """0 to 65535."""
        return int(self.rpartition(":")[2])


class Url(str):
    """An ``http://`` or ``https://`` address without user, query, fragment and trailing slash."""


class Factory(str):
    """``module:Class``."""


class Database(str):
    """Which database; this version knows only ``sqlite``."""


class Level(str):
    """One of ``debug info warning error``."""


def as_size(text: str) -> Size:
    """Read ``64KiB``. Raises Invalid."""
    match = _SIZE.match(text)
    if match is None:
        raise Invalid(f"not a size such as 64KiB, 8MiB or 4GiB: {text[:40]!r}")
    return Size(int(match[1]) * _SIZES[match[2]])


def as_address(text: str) -> Address:
    """Read ``host:port``. Raises Invalid."""
    host, _, port = text.rpartition(":")
    if not _HOST.match(host) or not _PORT.match(port) or int(port) > 65_535:
        raise Invalid(f'not an address such as "127.0.0.1:8080" or "[::1]:8080": {text[:80]!r}')
    return Address(text)


def as_url(text: str) -> Url:
    """Read the address of a server. Raises Invalid."""
    wrong = Invalid(f'not an address such as "https://ci.example.org": {text[:80]!r}')
    if not text.isascii() or not text.isprintable() or len(text) > 2048 or re.search(r'[\s\\"<>?#@]', text):
        raise wrong
    try:
        parts = urllib.parse.urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    bare = parts.netloc.removesuffix(f":{port}")
    if parts.scheme not in ("http", "https") or not _HOST.match(bare) or "//" in parts.path:
        raise wrong
    return Url(f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/"))


def quoted(value: object) -> str:
    """A string, number, truth value, list or dict as a TOML value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{quoted(str(key))} = {quoted(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(quoted(one) for one in value) + "]"
    if isinstance(value, Path):
        value = str(value)
    # TOML's basic strings, numbers and truth values are written like JSON's, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")


def read_settings(kind: type[T], file: Path, raw: bytes) -> T:
    """Read a settings file: each field of ``kind`` that is a struct is a section.

    Raises ConfigurationError for the first thing that is wrong, in the order of the file.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(file, line, "", "not UTF-8 text: save the file as UTF-8") from None
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        what = re.sub(r" \(at .*\)$", "", str(error))
        raise ConfigurationError(file, _broken_line(text), "", f"not TOML: {what}") from None
    sections = {one.name: one.type for one in msgspec.structs.fields(kind) if _is_struct(one.type)}
    values: dict[str, msgspec.Struct] = {}
    for name, content in found.items():

        def wrong(message: str, *key: str, name: str = name) -> ConfigurationError:
            return ConfigurationError(file, _line_of(text, (name, *key)), ".".join((name, *key)), message)

        if (name,) in _LATER:
            raise wrong("this section is not supported by this version: remove it")
        if name not in sections:
            raise wrong(unknown("section" if isinstance(content, dict) else "key", name, sections))
        if not isinstance(content, dict):
            raise wrong(f"must be a section: write [{name}] on a line of its own")
        section = sections[name]
        fields = {one.name: one for one in msgspec.structs.fields(section)}
        given: dict[str, Any] = {}
        for key, value in content.items():
            if (name, key) in _LATER:
                raise wrong("this key is not supported by this version: remove it", key)
            if key not in fields:
                raise wrong(unknown("key", key, fields), key)
            try:
                given[key] = msgspec.convert(value, fields[key].type, dec_hook=_read_value)
            except msgspec.ValidationError as error:
                raise wrong(str(error), key) from None
        missing = [one.name for one in fields.values() if one.required and one.name not in given]
        if missing:
            raise wrong(f"the key {missing[0]!r} is missing", missing[0])
        values[name] = section(**given)
    for one in msgspec.structs.fields(kind):
        if one.required and one.name not in values:
            raise ConfigurationError(file, 0, one.name, f"the section [{one.name}] is missing")
    return kind(**values)


def with_values(text: str, section: str, values: Mapping[str, object]) -> str:
    """The text of a settings file in which these keys of a section have these values. All else stays, comments too.

    Raises Invalid for a key that is written so that it cannot be set by one line, as in a table of its own.
    """
    wanted = tomllib.loads(text)
    for key, value in values.items():
        if key in wanted.get(section, {}) and quoted(wanted[section][key]) == quoted(value):
            continue
        wanted.setdefault(section, {})[key] = tomllib.loads(f"value = {quoted(value)}")["value"]
        text = _set_line(text, section, key, f"{key} = {quoted(value)}")
        try:
            is_done = tomllib.loads(text) == wanted
        except tomllib.TOMLDecodeError:
            is_done = False
        if not is_done:
            raise Invalid(f"{section}.{key} is not written on a line of its own: set it to {quoted(value)} by hand")
    return text


def _set_line(text: str, section: str, key: str, line: str) -> str:
    """The text with this line in the place of the statement that sets the key, or else first in its section."""
    lines = text.splitlines(keepends=True)
    before: dict[str, Any] = {}
    heading = None
    for begin, end, found in _statements(text):
        was, now = before.get(section, {}), found.get(section, {})
        if (key in now, now.get(key)) != (key in was, was.get(key)):
            comment = _comment_of(lines[begin - 1]) if begin == end else ""
            return "".join([*lines[: begin - 1], f"{line}{comment}\n", *lines[end:]])
        if heading is None and section in found:
            heading = end
        before = found
    if heading is None:
        return f"{text.rstrip()}\n\n[{section}]\n{line}\n".lstrip()
    newline = "" if lines[heading - 1].endswith("\n") else "\n"
    return "".join([*lines[:heading], f"{newline}{line}\n", *lines[heading:]])


def _comment_of(line: str) -> str:
    """``  # what stands behind the value`` of a statement of one line."""
    for sign in re.finditer("#", line):
        try:
            if tomllib.loads(line[: sign.start()]) == tomllib.loads(line):
                return f"  {line[sign.start() :].rstrip()}"
        except tomllib.TOMLDecodeError:
            continue  # inside of a text
    return ""


def unknown(what: str, name: str, known: Mapping[str, object]) -> str:
    """``unknown key 'listn'; did you mean 'listen'?``"""
    hint = did_you_mean(name, known) or "; known are " + ", ".join(sorted(known))
    return f"unknown {what} {name!r}{hint}"


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _read_value(kind: type, value: object) -> object:
    """msgspec's door for our own kinds of values. What it raises becomes a ValidationError with the same text."""
    if not isinstance(value, str):
        raise ValueError(f"expected text in quotes, got {value!r}"[:200])
    try:
        return _read_text(kind, value)
    except Invalid as error:
        raise ValueError(str(error)) from None


def _read_text(kind: type, text: str) -> object:
    if kind is Seconds:
        return Seconds(parse_duration(text))
    if kind is Size:
        return as_size(text)
    if kind is Address:
        return as_address(text)
    if kind is Url:
        return as_url(text)
    if kind is Factory and not _FACTORY.match(text):
        raise Invalid(f'not a name such as "deployment:Deployment": {text[:80]!r}')
    if kind is Database and text != "sqlite":
        raise Invalid('this version knows only "sqlite"')
    if kind is Level and text not in _LEVELS:
        raise Invalid(f"not one of {', '.join(_LEVELS)}: {text[:40]!r}")
    if kind is Path and (not text or "\0" in text or len(text) > 4096):
        raise Invalid("not the name of a file or directory")
    return kind(text)


def _statements(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """First line, last line and the file up to there, for each statement that can be read. A blank line is one, too."""
    lines = text.splitlines(keepends=True)[:_LINES_LIMIT]
    begin = 1
    for end in range(1, len(lines) + 1):
        try:
            found = tomllib.loads("".join(lines[:end]))
        except (tomllib.TOMLDecodeError, RecursionError):
            continue  # in the middle of a statement of several lines, or past a mistake
        yield begin, end, found
        begin = end + 1


def _line_of(text: str, key: tuple[str, ...]) -> int:
    """The line on which the statement begins that sets ``key``, or its section; 0 if it is not found."""
    for wanted in (key, key[:-1]):
        for begin, _, found in _statements(text):
            if _has(found, wanted):
                return begin
    return 0


def _has(found: object, key: tuple[str, ...]) -> bool:
    for step in key:
        if not isinstance(found, dict) or step not in found:
            return False
        found = found[step]
    return True


def _broken_line(text: str) -> int:
    """The first line of the statement after which nothing can be read."""
    return max((end for _, end, _ in _statements(text)), default=0) + 1
