"""How a run ends, decided from how its commands ended (reliability.md 4.3). Pure: no I/O, no clock."""

from __future__ import annotations

from typing import Any

from appliance.model.positions import command_words

SETUP, COMMANDS, TEARDOWN = "setup_commands", "commands", "teardown_commands"


class Ending:
    """How one command ended: exactly one of exit ``code``, ``signal`` name, or ``error``, why it never started.

    ``reason`` goes with ``error``: ``start_failed`` or ``format_error``. ``ended_by``: ``abort``, ``timeout`` or
    ``disk_full`` when we ended it; ``limit`` then says which limit, and ``is_run_over`` whether it was that of the
    whole run. ``survivors``: pids that SIGKILL did not end.
    """

    def __init__(
        self,
        *,
        code: int | None = None,
        signal: str | None = None,
        error: str | None = None,
        reason: str | None = None,
        ended_by: str | None = None,
        limit: str = "",
        is_run_over: bool = False,
        is_out_of_memory: bool = False,
        memory_limit: str = "",
        survivors: list[int] | None = None,
    ) -> None:
        self.code, self.signal, self.error, self.reason = code, signal, error, reason
        self.ended_by, self.limit, self.is_run_over = ended_by, limit, is_run_over
        self.is_out_of_memory, self.memory_limit = is_out_of_memory, memory_limit
        self.survivors = survivors or []

    @property
    def is_good(self) -> bool:
        """It ran, ended by itself, with exit code 0, and left nothing behind that cannot be ended."""
        return self.code == 0 and self.ended_by is None and not self.survivors

    def sentence(self, name: str) -> str:
        """What happened, for people."""
        if self.reason == "format_error":
            return f"{name}: {self.error}"
        if self.error is not None:
            return f"{name} could not start: {self.error}"
        if self.ended_by == "timeout":
            return f"{name} was ended: {self.limit}"
        if self.ended_by == "abort":
            return f"{name} was aborted"
        if self.ended_by == "disk_full":
            return f"{name} was ended: the disk of the worker was full, and its job wants all of its output"
        if self.is_out_of_memory:
            return f"{name} was killed: out of memory{self.memory_limit}"
        if self.signal is not None:
            return f"{name} was killed by {self.signal}"
        return f"{name} ended with exit code {self.code}"


class Verdict:
    """The end of a run while it is being found. The first failure decides; only a survivor changes it later."""

    def __init__(self) -> None:
        self.status = "succeeded"
        self.reason: str | None = None
        self.sentence = ""
        self.exit: dict[str, Any] = {}  # code or signal, and command
        self.notes: list[str] = []

    @property
    def is_good(self) -> bool:
        """Nothing has failed yet."""
        return self.status == "succeeded"

    def abort(self, sentence: str) -> None:
        """An abort came before the end was decided; later it changes nothing (F42)."""
        if self.is_good:
            self._decide("aborted", "requested", sentence)

    def fail(self, status: str, reason: str, sentence: str) -> None:
        """Something other than a command decides."""
        if self.is_good:
            self._decide(status, reason, sentence)
        else:
            self.notes.append(sentence)

    def spoil(self, sentence: str) -> None:
        """The job has spoilt our files: whatever was decided before is not known any more (J07)."""
        self.notes += [self.sentence] if self.sentence else []
        self.exit = {}
        self._decide("errored", "internal_error", sentence)

    def add(self, phase: str, name: str, ending: Ending) -> None:
        """A command ended. ``name``: as ``commands[0]``, with its own name behind if it has one."""
        words = command_words(name)
        sentence = ending.sentence(words)
        if self.is_good:
            command = name.partition(" ")[0]
            how = {"code": ending.code, "signal": ending.signal}
            self.exit = {**{key: value for key, value in how.items() if value is not None}, "command": command}
        if ending.survivors:
            pids = ", ".join(map(str, ending.survivors[:10]))
            self.notes += [self.sentence] if self.sentence else []
            self._decide("errored", "still_running", f"processes that could not be ended: {pids}")
        elif ending.is_good:
            return
        elif not self.is_good:
            self.notes.append(sentence)
        elif ending.ended_by == "abort":
            self._decide("aborted", "requested", f"aborted while {words} was running{ending.limit}")
        elif phase == TEARDOWN:
            self._decide("errored", "teardown_failed", sentence)
        elif ending.ended_by == "disk_full":
            self._decide("errored", "disk_full", sentence)
        elif ending.reason is not None:
            self._decide("errored", ending.reason, sentence)
        elif ending.is_run_over:
            self._decide("failed", "timeout", sentence)
        elif phase == SETUP:
            self._decide("errored", "setup_failed", sentence)
        elif ending.ended_by == "timeout":
            self._decide("failed", "timeout", sentence)
        elif ending.is_out_of_memory:
            self._decide("failed", "out_of_memory", sentence)
        else:
            self._decide("failed", "exit_code" if ending.code is not None else "signal", sentence)

    def _decide(self, status: str, reason: str, sentence: str) -> None:
        self.status, self.reason, self.sentence = status, reason, sentence
