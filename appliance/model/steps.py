"""The commands of a run, read from its notes (stream 2): JSON lines that the executor wrote as they happened."""

from __future__ import annotations

from typing import Annotated

import msgspec


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One command. ``name`` is as ``commands[0]``; times are seconds since 1970 by the worker's clock.

    ``label``: the name its definition gives it. ``command``: its text for people, values filled in unless it was
    skipped. ``offset``: the byte of the log at which it began. ``error``: why it could not start.
    """

    name: str
    label: str | None = None
    command: str = ""
    offset: int = 0
    began_at: float | None = None
    seconds: float | None = None
    code: int | None = None
    signal: str | None = None
    error: str | None = None
    ended_by: str | None = None
    is_skipped: bool = False


_Stamp = Annotated[float, msgspec.Meta(ge=0, le=1e11)]  # as the protocol's: any of these is a date


class _Note(msgspec.Struct, frozen=True):
    """A line of the notes, as far as steps need it. A worker may send anything: numbers out of range are no note."""

    note: str
    at: _Stamp = 0.0
    phase: str = ""
    index: Annotated[int, msgspec.Meta(ge=0, le=1 << 31)] = 0
    name: str | None = None
    command: str = ""
    offset: Annotated[int, msgspec.Meta(ge=0, le=1 << 50)] = 0
    seconds: _Stamp | None = None
    code: int | None = None
    signal: str | None = None
    error: str | None = None
    ended_by: str | None = None


_read_note = msgspec.json.Decoder(_Note).decode


def read_steps(notes: bytes) -> list[Step]:
    """The steps in order of their beginning. A cut last line, or one that is no note, is left out."""
    steps: dict[str, Step] = {}
    for line in notes.splitlines():
        try:
            note = _read_note(line)
        except (msgspec.DecodeError, UnicodeError):
            continue
        name = f"{note.phase}[{note.index}]"
        match note.note:
            case "began":
                steps[name] = Step(
                    name=name, label=note.name, command=note.command, offset=note.offset, began_at=note.at
                )
            case "skipped":
                steps[name] = Step(name=name, label=note.name, command=note.command, is_skipped=True)
            case "ended":
                begun = steps.get(name) or Step(name=name)
                steps[name] = msgspec.structs.replace(
                    begun,
                    seconds=note.seconds,
                    code=note.code,
                    signal=note.signal,
                    error=note.error,
                    ended_by=note.ended_by,
                )
    return list(steps.values())
