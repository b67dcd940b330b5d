"""Our own programs as child processes that are killed, stopped and started again, as systemd would."""

from __future__ import annotations

import contextlib
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_COMMAND = (sys.executable, "-m", "appliance")
ENDING = 30.0  # seconds that a program has after SIGTERM
_LAST_WORDS = 400  # bytes


def run(arguments: Sequence[str], environment: Mapping[str, str], typed: str = "") -> subprocess.CompletedProcess[str]:
    """A command of ours that ends by itself."""
    return subprocess.run(
        [*_COMMAND, *arguments],
        env=dict(environment),
        input=typed,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


class Program:
    """One of our long-running commands. Its stderr goes to a file, to which each life appends.

    ``has_word``: it prints a line when it is ready. Methods may be called from any thread.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path, *, has_word: bool
    ) -> None:
        self.name, self.log = name, log
        self._arguments, self._environment, self._has_word = list(arguments), dict(environment), has_word
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._is_ready = False

    @property
    def pid(self) -> int | None:
        """Of its process, while one lives."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def start(self) -> str | None:
        """Nothing happens if it runs. Answers how it ended by itself, if it did: nobody asked it to."""
        with self._lock:
            if self.pid is not None:
                return None
            ended = self._bury()
            with self.log.open("ab") as log:
                self._child = subprocess.Popen(
                    [*_COMMAND, *self._arguments],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if self._has_word else subprocess.DEVNULL,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for the test, which ends everything in order
                )
            self._is_ready = False
            return ended

    def wait_until_ready(self, within: float) -> bool:
        """Whether it has said its word, waiting for so long at most."""
        child = self._child
        if child is None or child.stdout is None or self._is_ready:
            return self._is_ready
        poll = select.poll()
        poll.register(child.stdout, select.POLLIN)
        if poll.poll(within * 1000) and child.stdout.readline():
            self._is_ready = True
        return self._is_ready

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; False when there is no process."""
        with self._lock:
            if self._child is None or self.pid is None:
                return False
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(number)
            return True

    def kill(self) -> str | None:
        """With SIGKILL, and bury it. Answers how it had ended by itself before, if it had."""
        with self._lock:
            child = self._child
            if child is None:
                return None
            if child.poll() is not None:
                return self._bury()
            child.kill()
            child.wait()
            if child.returncode == -signal.SIGKILL:
                self._bury()
                return None
            return self._bury()  # it was faster

    def terminate(self) -> str | None:
        """With SIGTERM. Answers what was wrong with its end, if anything."""
        with self._lock:
            child = self._child
            if child is None:
                return None
            if child.poll() is not None:
                return self._bury()
            was_ready = self._is_ready
            child.terminate()
            try:
                code = child.wait(ENDING)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                code = None
            self._bury()
            if code is None:
                return f"{self.name} did not end within {ENDING:g} s of SIGTERM"
            if code == 0 or (code == -signal.SIGTERM and not was_ready):  # it had not begun to listen to signals
                return None
            return f"{self.name} ended with {code} on SIGTERM: {self.last_words()}"

    def last_words(self) -> str:
        """The end of what it wrote on stderr."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _LAST_WORDS))
            return " ".join(file.read().decode("utf-8", "replace").split())
        return ""

    def _bury(self) -> str | None:
        child, self._child = self._child, None
        if child is None:
            return None
        if child.stdout is not None:
            child.stdout.close()
        return f"{self.name} ended by itself with {child.returncode}: {self.last_words()}"
