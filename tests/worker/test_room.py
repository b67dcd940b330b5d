"""Room on the worker's disk: when a new run is taken, and how much of a small disk is kept for the server (F17)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.worker.room import MOST, SHARE, Room, kept_bytes, least_free


def test_fault_F17_the_least_that_must_be_free_is_a_share_of_a_small_disk_or_what_was_said(tmp_path: Path) -> None:
    size = os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
    assert least_free(tmp_path, None) == min(MOST, int(SHARE * size))
    assert least_free(tmp_path, 0) == 0
    assert least_free(tmp_path, 5 << 30) == 5 << 30


def test_fault_F17_no_room_is_remembered_until_there_is_some_again(tmp_path: Path) -> None:
    free = [100]
    room = Room(tmp_path, lambda: free[0], 100)
    assert room.suffices() and not room.is_back()
    free[0] = 99
    assert not room.suffices()
    assert room.is_short and not room.is_back()
    free[0] = 100
    assert room.is_back()
    assert not room.is_back()


@pytest.mark.parametrize("most", [0, 1 << 20])
def test_what_is_kept_for_the_server_takes_at_most_what_was_said(tmp_path: Path, most: int) -> None:
    assert kept_bytes(tmp_path, most) == most


def test_what_is_kept_for_the_server_leaves_most_of_a_small_disk_free(tmp_path: Path) -> None:
    size = os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
    assert kept_bytes(tmp_path, 1 << 60) == size // 4
