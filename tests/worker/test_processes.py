"""What the kernel says of processes, also where a hardened unit hides it."""

from __future__ import annotations

import os

import pytest

from appliance import config
from appliance.worker import processes


def test_the_load_is_the_kernels() -> None:
    assert abs(processes.load_average() - os.getloadavg()[0]) < 0.5


@pytest.mark.parametrize("read", [processes.boot_id, config.boot_id])
def test_fault_F07_a_boot_has_one_name_whoever_tells_it(read: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd writes it without dashes, the kernel with them."""
    assert callable(read)
    monkeypatch.delenv("ORCHESTRA_BOOT_ID", raising=False)
    kernels = read()
    assert len(kernels) == 32
    dashed = "-".join((kernels[:8], kernels[8:12], kernels[12:16], kernels[16:20], kernels[20:]))
    for told in (kernels, dashed):
        monkeypatch.setenv("ORCHESTRA_BOOT_ID", told)
        assert read() == kernels
