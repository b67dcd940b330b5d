"""Reading one dict of a project file into a Struct of the schema, key by key, so that one bad key costs only itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from appliance.model import documents, schema
from appliance.model.errors import Malformed
from appliance.model.findings import Place, Sink
from appliance.model.names import did_you_mean

Shape = TypeVar("Shape", bound=msgspec.Struct)
Reader = Callable[[Any, Place, Sink], Any]

_WHERE = re.compile(r" - at `(?:key in )?\$?(.*)`(?!\n)$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[([0-9]+)\]")
_EXPECTED = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_PATTERN = re.compile(r"Expected `str` matching regex '(.*)'(?!\n)$", re.DOTALL)
_LENGTH = re.compile(r"Expected `(str|array|object)` of length ([<>])= ([0-9]+)")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]{1,64})`")
_DIGITS = 6  # of a number that is taken for one without its unit
_KINDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "a map",
    "array": "a list",
    "null": "nothing",
}
_COUNTED = {"str": "character", "array": "item", "object": "key"}
_SHAPES: Mapping[str, str] = {
    meta.pattern: meta.description
    for annotated in (schema.Duration, schema.Patience, schema.Size, schema.Variable)
    for meta in annotated.__metadata__  # type: ignore[attr-defined]  # the run-time side of Annotated has no type
}
_UNITS = {"a duration": ("s", "m"), "a size": ("kB", "MiB")}  # what is missing most often behind a bare number


def take(
    shape: type[Shape],
    raw: Any,
    place: Place,
    sink: Sink,
    *,
    readers: Mapping[str, Reader] | None = None,
    later: frozenset[str] = frozenset(),
) -> Shape | None:
    """A Struct of what ``raw`` says, with a finding for every key that could not be used. None: nothing was usable.

    ``readers`` read keys of their own; ``later`` are keys that this version does not support yet. A key whose value is
    null counts as not given.
    """
    if not isinstance(raw, dict):
        sink.block(place, f"must be a map of keys, is {_kind(raw)}")
        return None
    known = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if value is None and (key in known or key in later):
            continue
        here = (*place, str(key)[:64])
        if key in later:
            _report_later(key, here, sink)
        elif key not in known:
            hint = did_you_mean(str(key), [*known, *later])
            sink.warn(here, f"{str(key)[:64]!r} is not a known key{hint}")
        else:
            taken = _value(value, known[key].type, here, sink, (readers or {}).get(key))
            if taken is not _UNUSABLE:
                values[known[key].name] = taken
    missing = [field.encode_name for field in known.values() if field.required and field.name not in values]
    for name in missing:
        if raw.get(name) is None:
            sink.block(place, f"{name!r} is missing")
    return None if missing else shape(**values)


def take_list(read: Reader, limit: int) -> Reader:
    """A reader of lists whose items are read by ``read``; an item of which nothing is usable is left out."""

    def read_list(raw: Any, place: Place, sink: Sink) -> list[Any]:
        if not isinstance(raw, (list, tuple)):
            sink.block(place, f"must be a list, is {_kind(raw)}")
            return []
        if len(raw) > limit:
            sink.block(place, f"has {len(raw)} items, {limit} are allowed")
            return []
        items = [read(item, (*place, index), sink) for index, item in enumerate(raw)]
        return [item for item in items if item is not None]

    return read_list


_UNUSABLE = object()


def _value(raw: Any, kind: Any, place: Place, sink: Sink, reader: Reader | None) -> Any:
    if reader is not None:
        return reader(raw, place, sink)
    try:
        return msgspec.convert(documents.plain(raw), kind)
    except Malformed as error:
        sink.block(place, str(error))
    except msgspec.ValidationError as error:
        inner, sentence = _explained(str(error), kind, raw)
        sink.block((*place, *inner), sentence)
    return _UNUSABLE


def _report_later(key: str, place: Place, sink: Sink) -> None:
    sentence = f"{key!r} is not supported by this version"
    if key in schema.PROTECTIVE:
        sink.block(place, f"{sentence}, and the job is not run without it")
    else:
        sink.warn(place, sentence)


def _explained(message: str, wanted_kind: Any, raw: Any) -> tuple[Place, str]:
    """The place and a sentence for people, of a message of msgspec about ``raw``, which should be ``wanted_kind``."""
    where = _WHERE.search(message)
    place: Place = ()
    if where is not None:
        message = message[: where.start()]
        place = tuple(int(step[2]) if step[2] else step[1] for step in _STEP.finditer(where[1].replace("[...]", "")))
    expected = _EXPECTED.fullmatch(message)
    if expected is not None:
        if (shape := _shape_at(wanted_kind, place)) is not None:
            return place, f"must be {shape}{_with_unit(shape, _at(raw, place))}"
        wanted = " or ".join(_KINDS.get(kind.strip(), kind.strip()) for kind in expected[1].split("|"))
        advice = "; put it in quotes" if "str" in expected[1] and expected[2] in ("int", "float", "bool") else ""
        return place, f"must be {wanted}, is {_KINDS.get(expected[2], expected[2])}{advice}"
    pattern = _PATTERN.fullmatch(message)
    if pattern is not None:
        shape = _SHAPES.get(pattern[1].encode().decode("unicode_escape"), "of another form")
        return place, f"must be {shape}{_with_unit(shape, _at(raw, place))}"
    length = _LENGTH.fullmatch(message)
    if length is not None:
        most = "at most" if length[2] == "<" else "at least"
        return place, f"must have {most} {length[3]} {_COUNTED[length[1]]}" + ("" if length[3] == "1" else "s")
    unknown = _UNKNOWN.fullmatch(message)
    if unknown is not None:
        return place, f"{unknown[1]!r} is not a known key{did_you_mean(unknown[1], _keys(wanted_kind))}"
    words = _words(wanted_kind)
    if message.startswith("Invalid enum value") and words:
        return place, "must be one of " + ", ".join(words)
    return place, message[:1].lower() + message[1:300]


def _shape_at(kind: Any, place: Place) -> str | None:
    """What a text at this place of a ``kind`` should look like, if that is more than a text."""
    names = [step for step in place if isinstance(step, str)]
    kinds = [one.type for one in _fields(kind) if one.encode_name == names[-1]] if names else [kind]
    for one in kinds:
        parts = get_args(one) if get_origin(one) in (Union, UnionType) else (one,)
        for meta in (meta for part in parts for meta in getattr(part, "__metadata__", ())):
            if meta.pattern in _SHAPES:
                return _SHAPES[meta.pattern]
    return None


def _with_unit(shape: str, value: Any) -> str:
    """``; write 30s or 30m`` for a number that has no unit."""
    units = next((units for begin, units in _UNITS.items() if shape.startswith(begin)), ())
    number = "" if isinstance(value, bool) else str(value)
    if not units or not number.isdecimal() or len(number) > _DIGITS:
        return ""
    return f"; write {number}{units[0]} or {number}{units[1]}"


def _at(raw: Any, place: Place) -> Any:
    """The value at a place; None: there is none, or it cannot be told."""
    for step in place:
        try:
            raw = raw[step]
        except (LookupError, TypeError):
            return None
    return raw


def _words(kind: Any) -> list[str]:
    """The texts that a Literal, or an optional one, allows."""
    found = []
    for part in get_args(kind):
        found += [part] if isinstance(part, str) else _words(part)
    return found


def _keys(kind: Any) -> list[str]:
    """The keys of the Structs that a type, or what it is made of, allows."""
    return [field.encode_name for field in _fields(kind)]


def _fields(kind: Any) -> list[msgspec.structs.FieldInfo]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return list(msgspec.structs.fields(kind))
    return [field for part in get_args(kind) for field in _fields(part)]


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, str):
        return "a text"
    return "true or false" if isinstance(value, bool) else "nothing" if value is None else "a number"
