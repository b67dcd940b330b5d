"""One run, in a process of its own that needs nobody: it starts the commands, keeps the log, writes the exit record.

It outlives the worker and the starter that forked it (X5, F03). The order of what it makes durable is the safety of the
whole: ``started.json`` before the gate opens, so that a run without it was never executed; the log before
``exit.json``, so that a record never speaks of bytes that are lost (reliability.md 5.4, 5.6, 5.7).
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import time
import traceback
from typing import Any

from appliance.model.positions import command_words
from appliance.model.templates import TemplateError, expand_command
from appliance.worker import afterlife, control_group, environment, gate, memory, processes, rundir
from appliance.worker import command as commands
from appliance.worker.disk import Disk
from appliance.worker.notes import NO_SPACE, Notes
from appliance.worker.outcome import ending_of
from appliance.worker.output import Output
from appliance.worker.own_files import OwnFiles, Spoilt
from appliance.worker.poke import Poke
from appliance.worker.results_file import BadResults
from appliance.worker.rundir import RunDirectory
from appliance.worker.saved_results import SavedResults
from appliance.worker.tree import Tree
from appliance.worker.verdict import COMMANDS, SETUP, TEARDOWN, Ending, Verdict
from appliance.worker.watch import Limit, Watch

_SHOWN = 500  # characters of a command in the notes


def execute(launch: dict[str, Any], umask: int, disk: Disk | None = None) -> None:
    """The whole life of an executor; called in the main thread of a fresh fork, which must ``_exit`` after it.

    ``launch``: ``run``, ``directory`` (absolute), ``secrets`` (path), ``boot`` (id of this boot of the machine),
    ``base`` and ``environment``, as the supervisor says them; ``group``, in which the run gets a control group, None
    where there are none. ``umask``: for the commands. ``disk``: another one than the machine's, for tests. Does nothing
    when the run has begun before, or has another executor (I2).
    """
    gc.disable()  # nothing here makes cycles worth the pages that a collection would touch
    os.setsid()
    os.umask(0o077)
    os.chdir(launch["directory"])
    directory = RunDirectory(".", disk)
    asked: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    for number in set(commands.SIGNALS) - {signal.SIGTERM, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)
    tree = Tree(_make_group(launch))
    lock = gate.take(directory, launch["directory"])
    if lock is None:
        return
    executor = Executor(launch, directory, tree, asked, umask)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()} {executor.began}\n".encode(), 0)
    executor.files.hold(rundir.LOCK, lock)
    try:
        executor.run()
    except Exception as error:  # a bug of ours: the run must end, and say so
        directory.replace(rundir.ERRORS, traceback.format_exc().encode(), is_durable=False)
        tree.kill(10.0)
        executor.verdict.fail("errored", "internal_error", f"the executor failed: {type(error).__name__}: {error}")
        executor.record()
    executor.poke.now(is_over=True)
    executor.poke.close()
    if tree.group is not None:
        tree.group.remove()


def _make_group(launch: dict[str, Any]) -> control_group.Group | None:
    """The control group of the run; None: there are none here, or the system gives none any more."""
    if (delegated := launch.get("group")) is None:
        return None
    group = control_group.of_run(delegated, launch["run"])
    try:
        group.make()
    except OSError:
        return None
    return group


class Executor:
    """The state of one run under way."""

    def __init__(
        self, launch: dict[str, Any], directory: RunDirectory, tree: Tree, asked: list[bool], umask: int
    ) -> None:
        stored = directory.read_object(rundir.REQUEST)
        assert stored is not None, "a run without a request is never launched"
        self.request: dict[str, Any] = json.loads(stored["request"])
        self.verdict = Verdict()
        self._launch, self._directory, self._tree, self._asked, self._umask = launch, directory, tree, asked, umask
        self._path: str = launch["directory"]
        self._boot_id: str = launch["boot"]
        self.began = processes.start_time(os.getpid())  # asked once: the kernel takes its time to tell
        self._started_at: float | None = None
        self._deadline = float("inf")
        self._context = environment.names(self.request, self._path, launch["environment"])
        self._context["results"] = {}
        self._results = SavedResults(directory)
        self.files = OwnFiles(directory, self._path)
        self.poke = Poke(self.request["run"])
        self._is_abort_spent = False
        self._is_recorded = self._is_spoilt = False
        self._notes: Notes | None = None
        self._output: Output | None = None

    def run(self) -> None:
        """Setup, commands, teardown, record."""
        try:
            self._prepare()
            self._run_phases()
            self.files.check()
            self._flush()
        except Spoilt as spoilt:
            self._tree.kill(10.0)
            self.verdict.spoil(f"{spoilt} was removed or spoilt while it ran; what is left was kept")
            self._is_spoilt = True
        except OSError as error:
            # The disk is broken (F18), or full before anything began: nothing more is trusted to it.
            self._tree.kill(10.0)
            if error.errno in NO_SPACE:
                self.verdict.fail("errored", "disk_full", f"the disk of the worker is full: {error}")
            else:
                self.verdict.fail("errored", "internal_error", f"storage error on the worker: {error}")
        self.record()

    def _prepare(self) -> None:
        for folder in (rundir.WORKSPACE, rundir.JOB, rundir.ARTIFACTS, rundir.TEMPORARY):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, mode=0o700)
        self._directory.reserve(rundir.EXIT, rundir.ABORT)
        notes = self._notes = Notes(rundir.NOTES, self._directory.disk)
        output = self._output = Output(self._directory, self.request["log_limit"], self._boot_id, notes.add)
        self.files.hold(rundir.NOTES, notes.descriptor, lambda: notes.size)
        self.files.hold(rundir.LOG, output.descriptor, lambda: output.size)
        secrets = self._read_secrets()
        self._environment = environment.compose(
            self.request,
            self._path,
            base=self._launch["base"],
            environment=self._launch["environment"],
            secrets=secrets,
        )
        if self.request["timeout"] is not None:
            self._deadline = time.monotonic() + self.request["timeout"]

    def _read_secrets(self) -> dict[str, str]:
        path = self._launch["secrets"]
        if path is None:
            return {}
        with open(path, "rb") as file:
            secrets: dict[str, str] = json.load(file)
        return secrets

    # ---- phases

    def _run_phases(self) -> None:
        definition = self.request["definition"]
        self._run_phase(SETUP, definition[SETUP], self._run_limits())
        self._run_phase(COMMANDS, definition[COMMANDS], self._run_limits())
        if self.verdict.status == "aborted" and self._started_at is None:
            return  # nothing was begun, so there is nothing to tear down
        self._is_abort_spent = self._abort_grace() is not None  # what came before does not end the teardown
        seconds = self.request["teardown_timeout"]
        until = Limit(time.monotonic() + seconds, f"teardown took longer than its limit of {_shown(seconds)}")
        self._run_phase(TEARDOWN, definition[TEARDOWN], [until])

    def _run_limits(self) -> list[Limit]:
        if (seconds := self.request["timeout"]) is None:
            return []
        return [Limit(self._deadline, f"longer than {_shown(seconds)}, the limit of the run", is_of_run=True)]

    def _run_phase(self, phase: str, definitions: list[Any], limits: list[Limit]) -> None:
        for index, definition in enumerate(definitions):
            name = f"{phase}[{index}]"
            own = definition if isinstance(definition, dict) else {"run": definition}
            label = own.get("name")
            is_skipped = self._abort_grace() is not None
            if is_skipped:
                self.verdict.abort(f"aborted before {command_words(name)} began")
            if phase != TEARDOWN:
                is_skipped = not self.verdict.is_good
            elif any(time.monotonic() >= limit.at for limit in limits):
                is_skipped = True  # the command before it used the time up, and has said so
            if is_skipped:
                self._note("skipped", phase=phase, index=index, name=label, command=_text(own["run"]))
                continue
            ending = self._run_command(phase, index, own, label, limits)
            self.verdict.add(phase, f"{name} ({label})" if label else name, ending)

    def _run_command(
        self, phase: str, index: int, own: dict[str, Any], label: str | None, limits: list[Limit]
    ) -> Ending:
        assert self._output is not None
        output = self._output
        is_strict = phase != TEARDOWN and self.request.get("on_log_full") == "abort"
        began = time.monotonic()
        offset = output.size
        try:
            arguments = self._arguments(own["run"])
        except TemplateError as error:
            ending = Ending(error=str(error), reason="format_error")
            self._note("began", phase=phase, index=index, name=label, offset=offset, command=_text(own["run"]))
            self._note("ended", phase=phase, index=index, offset=offset, seconds=0.0, error=str(error))
            return ending
        if own.get("timeout") is not None:
            limits = [*limits, Limit(began + own["timeout"], f"longer than {_shown(own['timeout'])}, its limit")]
        killed_before = memory.oom_kills()
        try:
            child = commands.fork(arguments, self._environment, rundir.WORKSPACE, self._umask, self._tree.group)
        except OSError as error:
            why = f"the system gave no process: {error.strerror}"
            self._note("ended", phase=phase, index=index, offset=offset, seconds=0.0, error=why)
            return Ending(error=why, reason="start_failed")
        self._mark_started(child.pid)
        shown = _text(own["run"] if isinstance(own["run"], str) else arguments)
        self._note("began", phase=phase, index=index, name=label, offset=offset, pid=child.pid, command=shown)
        watch = Watch(
            child,
            self._tree,
            output,
            limits,
            abort_grace=self._abort_grace,
            is_log_full=lambda: is_strict and output.is_incomplete,
            grace=self.request["grace"],
            tick=self._tick,
            grew=self.poke.grew,
        )
        status = watch.run(self._remove_secrets)
        path = self._environment.get("PATH", environment.PATH)
        ending = ending_of(watch, status, arguments[0], path, killed_before)
        self._after_command(watch)
        self._note_ended(phase, index, ending, time.monotonic() - began)
        return ending

    def _arguments(self, run: str | list[str]) -> list[str]:
        """A string is for the shell and never expanded; an argument list is, just before it runs (section 6)."""
        return ["/bin/sh", "-c", run] if isinstance(run, str) else expand_command(run, self._context)

    def _after_command(self, watch: Watch) -> None:
        if watch.background and watch.ended_by is None:
            self._note("background", count=watch.background)
            are = "process was" if watch.background == 1 else "processes were"
            self.verdict.notes.append(f"{watch.background} background {are} ended")
        try:
            self._look_at_results()
        except BadResults as bad:
            self._results.noted(bad)
            self._note("results_invalid", reason=str(bad), text=bad.text)
            self.verdict.notes.append(f"results invalid: {bad}")

    def _note_ended(self, phase: str, index: int, ending: Ending, seconds: float) -> None:
        assert self._output is not None and self._notes is not None
        how: dict[str, Any] = {}
        if ending.error is not None:
            how["error"] = ending.error
        elif ending.signal is not None:
            how["signal"] = ending.signal
        else:
            how["code"] = ending.code
        if ending.ended_by:
            how["ended_by"] = ending.ended_by
        # Made durable with what comes next: another note, or the end.
        self._notes.put("ended", phase=phase, index=index, offset=self._output.size, seconds=round(seconds, 3), **how)

    # ---- facts and intents

    def _mark_started(self, child: int) -> None:
        """Durable before the gate opens: from here on the run is never launched again."""
        if self._started_at is not None:
            return
        self._started_at = round(time.time(), 3)
        started = {
            "format": rundir.FORMAT,
            "executor": os.getpid(),
            "executor_start": self.began,
            "child": child,
            "boot": self._boot_id,
            "at": self._started_at,
        }
        if self._tree.group is not None:
            started["cgroup"] = self._tree.group.path
        gate.note_begun(self._directory, self._path, started)
        self.files.expect(rundir.STARTED)
        self.poke.now()

    def _abort_grace(self) -> float | None:
        """The grace of an abort that was asked and not yet served: by signal, or before the start by file."""
        if self._is_abort_spent or not (self._asked or self._started_at is None):
            return None
        try:
            intent = self._directory.read_object(rundir.ABORT)
        except rundir.Damaged:
            intent = {}  # the intent counts, whatever is left of its words
        if intent is None:
            self._asked.clear()  # a signal of somebody else; what aborts a run is the intent (4.4)
            return None
        return float(intent.get("grace", self.request["grace"]))

    def _remove_secrets(self) -> None:
        if (path := self._launch["secrets"]) is not None:
            self._launch["secrets"] = None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _tick(self) -> None:
        if self._directory.has(rundir.ABORT):
            self._asked.append(True)
        self.files.check()
        with contextlib.suppress(BadResults):  # it may be half written; the end of the command is when it counts
            self._look_at_results()
        assert self._notes is not None
        self._notes.flush()

    def _look_at_results(self) -> None:
        if self._results.look():
            self._context["results"] = self._results.value
            self.poke.now()

    def _note(self, note: str, **fields: Any) -> None:
        assert self._notes is not None
        self._notes.add(note, **fields)
        self.poke.grew()

    # ---- the end

    def _flush(self) -> None:
        assert self._output is not None and self._notes is not None
        self._output.finish()
        self.verdict.notes += self._output.remarks
        if not self._results.keep():
            self.verdict.notes.append("results lost: the disk of the worker is full")
        if not self._notes.flush():
            self.verdict.notes.append("some notes were lost: the disk of the worker is full")

    def record(self) -> None:
        """Write the exit record; from here on it is the truth (F42). A full disk gets a minute to give way."""
        if self._is_recorded:
            return
        self._remove_secrets()
        verdict = self.verdict
        record = {
            "format": rundir.FORMAT,
            "status": verdict.status,
            "reason": verdict.reason,
            "sentence": verdict.sentence,
            **verdict.exit,
            "notes": verdict.notes,
        }
        with contextlib.suppress(FileNotFoundError):  # the job has removed the directory of its run: the worker tells
            streams = self._left() if self._is_spoilt else self._streams()
            afterlife.write_at_last(
                self._directory, record, started_at=self._started_at, seq=self._results.seq, streams=streams
            )
            self._is_recorded = True

    def _streams(self) -> dict[int, tuple[int, str]]:
        """(size, SHA-256) of each stream, as it was written."""
        streams = {}
        if self._output is not None and self._notes is not None:
            streams = {0: (self._output.size, self._output.digest()), 2: (self._notes.size, self._notes.digest())}
        if self._results.large is not None:
            streams[1] = (len(self._results.large), rundir.sha256(self._results.large))
        return streams

    def _left(self) -> dict[int, tuple[int, str]]:
        """As ``_streams``, of what the job has left of its run's files."""
        with contextlib.suppress(OSError):
            self.files.put_back()
            self._results.keep()
        return {stream: afterlife.digest(self._directory, name) for stream, name in rundir.STREAM_FILES.items()}


def _text(run: str | list[str]) -> str:
    return (run if isinstance(run, str) else " ".join(run))[:_SHOWN]


def _shown(seconds: float) -> str:
    return f"{seconds:g} s"
