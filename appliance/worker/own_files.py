"""The executor's watch over its own files. A job has our account: it may remove, replace or change them (J07, I1).

Nothing of that can be prevented, but a run that has lost its log or its lock ends at once, and says why.

Standard library only: every executor carries this module.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable

from appliance.worker import rundir
from appliance.worker.rundir import RunDirectory


class Spoilt(Exception):
    """A file of ours is not ours any more. Says which."""


class OwnFiles:
    """The files that an executor holds open, and what they should be."""

    def __init__(self, directory: RunDirectory, path: str) -> None:
        """``directory``: the working directory; ``path``: where it should be."""
        self._directory, self._path = directory, path
        self._held: dict[str, tuple[int, Callable[[], int] | None]] = {}
        self._named = [rundir.REQUEST]
        self._home = os.open(directory.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def hold(self, name: str, descriptor: int, size: Callable[[], int] | None = None) -> None:
        """Watch a file from now on. ``size``: the bytes that we have written to it."""
        self._held[name] = (descriptor, size)

    def expect(self, name: str) -> None:
        """The file must be there from now on."""
        self._named.append(name)

    def open_up(self) -> None:
        """Give us back the rights to our directory, if the job has taken them."""
        with contextlib.suppress(OSError):
            if stat.S_IMODE(os.fstat(self._home).st_mode) & 0o700 != 0o700:
                os.fchmod(self._home, 0o700)

    def check(self) -> None:
        """Raises Spoilt."""
        self.open_up()
        try:
            is_here = os.path.samestat(os.lstat(self._path), os.fstat(self._home))
        except OSError:
            is_here = False
        if not is_here:
            raise Spoilt("the directory of the run")
        for name in self._named:
            if not self._directory.has(name):
                raise Spoilt(f"the file {name} of the run")
        for name, (descriptor, size) in self._held.items():
            ours = os.fstat(descriptor)
            try:
                there = os.lstat(self._directory.file(name))
            except OSError:
                raise Spoilt(f"the file {name} of the run") from None
            if not os.path.samestat(there, ours) or (size is not None and ours.st_size != size()):
                raise Spoilt(f"the file {name} of the run")

    def put_back(self) -> None:
        """Put what is left of each file into its place again; what the job put there is set aside. Raises OSError."""
        self.open_up()
        for name, (descriptor, _) in self._held.items():
            path = self._directory.file(name)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.lstat(path), os.fstat(descriptor)):
                    continue
                self._directory.set_aside(name)
            self._copy(f"/proc/self/fd/{descriptor}", path)

    @staticmethod
    def _copy(ours: str, path: str) -> None:
        """A removed file is still there as long as it is open."""
        with open(ours, "rb") as left, open(path, "xb") as place:
            while chunk := left.read(1 << 20):
                place.write(chunk)
