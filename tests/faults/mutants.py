"""Mutants: the product with one of its rules broken, in this process and for a while.

The laboratory must catch each of them; otherwise nobody would know that it can fail. A mutant changes the product's own
code, never a model. ``MUTANTS`` is the list; docs/explanation/how-it-is-tested.md explains it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from appliance import exit_records
from appliance.db.logs import LogStore
from appliance.inventories import Inventories
from appliance.master import conversation
from appliance.master.conversation import Conversation
from appliance.master.sweeper import Sweeper
from appliance.model import run_state
from appliance.model.entities import StreamRecord
from appliance.model.run_state import IllegalTransition, Reason, Status
from appliance.runs import Asked, Runs
from appliance.wire import messages as m
from appliance.worker import afterlife, rundir
from appliance.worker.journal import Journal
from appliance.worker.rundir import RunDirectory
from tests.faults.invariants import Violation
from tests.faults.simulate import live_through


class Mutant(msgspec.Struct, frozen=True):
    """One broken rule. ``caught_by``: the invariants of which one must be seen not to hold."""

    name: str
    sentence: str
    patches: tuple[tuple[Any, str, Any], ...]
    caught_by: frozenset[str]
    favour: tuple[str, ...] = ()  # kinds of faults that bring it to light sooner


class Survived(AssertionError):
    """The laboratory did not see that a rule is broken."""


@contextlib.contextmanager
def broken(mutant: Mutant) -> Iterator[None]:
    """The product with the rule broken."""
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in mutant.patches]
    for owner, name, value in mutant.patches:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def hunt(mutant: Mutant, most: int) -> tuple[int, Violation]:
    """The first of the seeds from 1 that catches the mutant, and how. Raises Survived when none of ``most`` does."""
    with broken(mutant):
        for seed in range(1, most + 1):
            try:
                live_through(seed, mutant.favour)
            except Violation as violation:
                return seed, violation
    raise Survived(f"{mutant.name} lived through {most} seeds")


# ---- the worker


def _nothing(*_: object, **__: object) -> None:
    """Instead of a call to the disk."""


def _accept_without_sync(before: Callable[..., None]) -> Callable[..., None]:
    def accept(self: Journal, *arguments: Any) -> None:
        disk = self._disk
        sync, sync_directory = disk.sync, disk.sync_directory
        disk.sync = disk.sync_directory = _nothing  # type: ignore[method-assign]  # it is what is broken here
        try:
            before(self, *arguments)
        finally:
            disk.sync, disk.sync_directory = sync, sync_directory  # type: ignore[method-assign]  # as it was

    return accept


def _replace_without_directory(
    self: RunDirectory, name: str, content: bytes, *, is_durable: bool = True, is_named: bool = True
) -> None:
    temporary = self.file(name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        self.disk.write_whole(descriptor, content)
        if is_durable:
            self.disk.sync(descriptor)
    finally:
        os.close(descriptor)
    self.disk.rename(temporary, self.file(name))


def _trim_what_has_exited(self: Journal, **_: Any) -> list[str]:
    return [one for one in self._run_ids() if self.run_directory(one).has(rundir.EXIT) and self.forget(one)]


# ---- the master


def _append_anywhere(before: Callable[..., int]) -> Callable[..., int]:
    def append(self: LogStore, run_id: str, stream: int, offset: int, data: bytes) -> int:
        return before(self, run_id, stream, self.size(run_id, stream), data)

    return append


def _sync_nothing(self: LogStore, run_id: str, streams: Any) -> list[StreamRecord]:
    """As the real one, without the call to the disk."""
    with contextlib.ExitStack() as held:
        found = [(stream, held.enter_context(self._held(run_id, stream))) for stream in sorted(streams)]
        for _, one in found:
            self._read(one)
        return [
            StreamRecord(run_id, stream, one.size, one.crc32, self._boot_id, one.sha256.hexdigest())
            for stream, one in found
        ]


def _committed_before_it_is(before: Callable[..., None]) -> Callable[..., None]:
    def exited(self: Conversation, holder: Any, record: m.Exited) -> None:
        self._voice.say(m.Committed, run=record.run)
        self._voice.flush()  # type: ignore[attr-defined]  # the simulator's voice
        before(self, holder, record)

    return exited


def _take_back_what_is_silent(before: Callable[..., int]) -> Callable[..., int]:
    def look_for_lost(self: Sweeper) -> int:
        for run, lease in self._repository.runs.leased():
            if run.status is Status.ASSIGNED and not self._roster.is_connected(lease.worker_id):
                with contextlib.suppress(IllegalTransition):
                    self._leases.take_back(run.id)
        return before(self)

    return look_for_lost


def _end_takes_all_back(before: Callable[..., None]) -> Callable[..., None]:
    def end(self: Conversation, unsent: Any) -> None:
        mine = [run.id for run, _ in self._leases._store.leased_to(self.worker.id) if run.status is Status.ASSIGNED]
        before(self, {*unsent, *mine})

    return end


def _reset_takes_back(before: Callable[..., None]) -> Callable[..., None]:
    def reset(self: Inventories, worker_id: str, journal_id: str) -> None:
        for run, lease in self._store.leased_to(worker_id):
            if lease.journal_id != journal_id and run.status is Status.ASSIGNED:
                self._leases.take_back(run.id)
        before(self, worker_id, journal_id)

    return reset


def _cancel_at_once(before: Callable[..., Asked]) -> Callable[..., Asked]:
    def cancel(self: Runs, run_id: str, by: str) -> Asked:
        run = self.get(run_id)
        if run.status is not Status.ASSIGNED:
            return before(self, run_id, by)
        back = run_state.TakeBack()
        ended = run_state.Cancel(at=self._clock.now(), reason=Reason.REQUESTED, sentence=f"cancelled by {by}")
        after = self.advance(run_id, lambda _: (back, ended), store=self._store.take_back)
        return Asked(run=after, outcome="cancelled", sentence=after.sentence)

    return cancel


def _mutant(name: str, sentence: str, caught_by: str, favour: str, *patches: tuple[Any, str, Any]) -> Mutant:
    return Mutant(
        name=name,
        sentence=sentence,
        patches=patches,
        caught_by=frozenset(caught_by.split()),
        favour=tuple(favour.split()),
    )


def _around(owner: Any, name: str, wrap: Callable[[Any], Any]) -> tuple[Any, str, Any]:
    return owner, name, wrap(vars(owner)[name])


MUTANTS = (
    _mutant(
        "accepted_before_durable",
        "The worker says `accepted` before the request is durable.",
        "I1 I2 I4 I7",
        "power_of_worker",
        _around(Journal, "accept", _accept_without_sync),
    ),
    _mutant(
        "rename_without_directory",
        "A file takes another's place, and the directory is not synced.",
        "I1 I2 I3 I4",
        "power_of_worker",
        (RunDirectory, "replace", _replace_without_directory),
    ),
    _mutant(
        "deletes_what_has_exited",
        "The worker deletes runs that have ended, whether the master has them or not.",
        "I5",
        "trim cut",
        (Journal, "trim", _trim_what_has_exited),
    ),
    _mutant(
        "log_not_cut_to_its_mark",
        "After a power loss the worker believes the log as it finds it.",
        "I3",
        "power_of_worker",
        (afterlife, "_cut_log", lambda *_: None),
    ),
    _mutant(
        "append_without_offset",
        "The master appends every data frame, wherever it belongs.",
        "I3",
        "cut",
        _around(LogStore, "append", _append_anywhere),
    ),
    _mutant(
        "no_digest_check",
        "The master believes its own log without comparing digests.",
        "I3",
        "damage kill_master",
        (exit_records, "_agrees", lambda *_: True),
    ),
    _mutant(
        "commit_before_log_is_durable",
        "The end is committed before the log is synced.",
        "I3 I4",
        "power_of_server",
        (LogStore, "sync_run", _sync_nothing),
    ),
    _mutant(
        "committed_said_too_early",
        "The master says `committed` before it has committed.",
        "I1 I5",
        "kill_master_within trim",
        _around(Conversation, "_exited", _committed_before_it_is),
    ),
    _mutant(
        "silence_takes_back",
        "An assigned run of a silent worker is given to another.",
        "I2 I1",
        "cut",
        _around(Sweeper, "look_for_lost", _take_back_what_is_silent),
    ),
    _mutant(
        "cut_takes_back",
        "When a connection ends, what was sent on it and not yet accepted is given to another.",
        "I2 I1",
        "cut",
        _around(Conversation, "end", _end_takes_all_back),
    ),
    _mutant(
        "lost_journal_proves_nothing_began",
        "A worker with a new journal is taken as proof that what the old one was assigned never began.",
        "I2",
        "wipe_worker second_machine silence",
        _around(Inventories, "reset", _reset_takes_back),
    ),
    _mutant(
        "cancel_does_not_ask",
        "Cancelling an assigned run cancels it at once, without asking its worker (J13).",
        "I2",
        "end_a_run",
        _around(Runs, "cancel", _cancel_at_once),
    ),
    _mutant(
        "second_machine_at_once",
        "Another machine with the same token takes a worker's place while that one is still heard (F15).",
        "I1",
        "second_machine",
        (conversation, "SILENT_FOR", 0.0),
    ),
)

__all__ = ["MUTANTS", "Mutant", "Survived", "broken", "hunt"]
