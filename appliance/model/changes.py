"""What a new configuration changes, compared as documents: exactly, so that ``1`` and ``true`` differ (D3, D5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from appliance.model.documents import canonical

Document = Mapping[str, Any]


class KeyChange(msgspec.Struct, frozen=True):
    """One key that differs, as ``definition.commands[1]``. A side on which there is no such key has no value."""

    key: str
    before: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET


class Change(msgspec.Struct, frozen=True):
    """A project, job or schedule that is new, gone or another. ``name``: ``website``, or ``website/test``.

    ``keys`` are those that differ, where ``what`` is "changed".
    """

    kind: Literal["project", "job", "schedule"]
    name: str
    what: Literal["added", "removed", "changed"]
    keys: tuple[KeyChange, ...] = ()


def changes(before: Document, after: Document) -> list[Change]:
    """What differs between two project files with ``projects``, in the order of the later one; what is gone, last.

    The order of projects, jobs and schedules is no difference, and neither is the order of keys.
    """
    found: list[Change] = []
    old, new = _named(before, "projects"), _named(after, "projects")
    for name in [*new, *(name for name in old if name not in new)]:
        was, now = old.get(name), new.get(name)
        found += _compare("project", name, _own(was), _own(now))
        for kind, key in (("job", "jobs"), ("schedule", "schedules")):
            earlier, later = _named(was, key), _named(now, key)
            for inner in [*later, *(inner for inner in earlier if inner not in later)]:
                found += _compare(kind, f"{name}/{inner}", earlier.get(inner), later.get(inner))
    return found


def key_changes(before: Any, after: Any, key: str = "") -> Iterator[KeyChange]:
    """The innermost keys that differ. Lists of different lengths differ as a whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*after, *(name for name in before if name not in after)]:
            inner = f"{key}.{name}" if key else str(name)
            if name not in before:
                yield KeyChange(inner, after=after[name])
            elif name not in after:
                yield KeyChange(inner, before=before[name])
            else:
                yield from key_changes(before[name], after[name], inner)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from key_changes(one, other, f"{key}[{index}]")
    elif canonical(before) != canonical(after):
        yield KeyChange(key, before, after)


def _compare(kind: Any, name: str, before: Document | None, after: Document | None) -> list[Change]:
    if before is None:
        return [] if after is None else [Change(kind, name, "added")]
    if after is None:
        return [Change(kind, name, "removed")]
    keys = tuple(key_changes(before, after))
    return [Change(kind, name, "changed", keys)] if keys else []


def _named(document: Document | None, key: str) -> dict[str, Document]:
    return {} if document is None else {one["identifier"]: one for one in document.get(key) or ()}


def _own(project: Document | None) -> Document | None:
    """A project without its jobs and schedules, which are compared one by one."""
    if project is None:
        return None
    return {key: value for key, value in project.items() if key not in ("jobs", "schedules")}
