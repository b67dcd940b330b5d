"""The results of a run as far as its job has written them: seen while it goes on, kept when it is aborted (D5, J32)."""

from __future__ import annotations

import json
from typing import Any

from appliance.wire import RESULTS_INLINE
from appliance.worker import rundir
from appliance.worker.notes import NO_SPACE
from appliance.worker.results_file import BadResults, ResultsFile
from appliance.worker.rundir import RunDirectory


class SavedResults:
    """Reads the job's results file whenever it changed; the last good value counts."""

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._file = ResultsFile(directory.file(rundir.RESULTS_FILE))
        self._bad: tuple[int, ...] | None = None
        self._raw = b""
        self.seq = 0
        self.value: dict[str, Any] = {}

    @property
    def large(self) -> bytes | None:
        """The results that are too large for a message and go as stream 1, or None."""
        return self._raw if len(self._raw) > RESULTS_INLINE else None

    def look(self) -> bool:
        """Take what is new; answers whether something was.

        Raises BadResults, once for each state of the file. While a command runs that may be a file half written.
        """
        try:
            raw = self._file.read()
        except BadResults as bad:
            if bad.key == self._bad:
                return False
            raise
        if raw is None or raw == self._raw:
            return False
        self._raw, self.value = raw, json.loads(raw)
        self.seq += 1
        self._write(is_durable=False)
        return True

    def noted(self, bad: BadResults) -> None:
        """The file was found bad at the end of a command, and that is noted: do not raise it again."""
        self._bad = bad.key

    def keep(self) -> bool:
        """Make them durable, before the exit record speaks of them. False: the disk is full, they are lost."""
        return self.seq == 0 or self._write(is_durable=True)

    def _write(self, *, is_durable: bool) -> bool:
        try:
            self._directory.replace(rundir.LIVE, b"%d\n%b" % (self.seq, self._raw), is_durable=is_durable)
            if is_durable and self.large is not None:
                self._directory.replace(rundir.RESULTS, self.large)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            if is_durable:
                self.seq, self._raw = 0, b""
            return False
        return True
