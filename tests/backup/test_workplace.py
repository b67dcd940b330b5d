"""Temporary copies of a whole appliance: none stays behind, and none is taken from who works in it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.backup.workplace import workplace
from appliance.model.errors import Full

WORK = """
import sys
from pathlib import Path
from appliance.backup.workplace import workplace
with workplace(Path(sys.argv[1])) as place:
    (place / "copy").write_bytes(b"x" * 1000)
    print(place, flush=True)
    sys.stdin.read()
"""


def test_it_is_gone_at_the_end(tmp_path: Path) -> None:
    with workplace(tmp_path) as place:
        assert place.stat().st_mode & 0o777 == 0o700
        (place / "copy").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_fault_F16_what_a_kill_has_left_is_deleted_by_the_next_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORK, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        place = Path(os.fsdecode(other.stdout.readline().strip()))
        with workplace(tmp_path):
            assert (place / "copy").exists()
        other.send_signal(signal.SIGKILL)
        other.wait(30)
        assert (place / "copy").exists()
    with workplace(tmp_path) as mine:
        assert list(tmp_path.iterdir()) == [mine]


def test_fault_F16_a_full_disk_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Full, match="free some"), workplace(tmp_path) as place:
        raise OSError(errno.ENOSPC, "No space left on device", str(place))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PermissionError), workplace(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
