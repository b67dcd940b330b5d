"""Command lines are run in this process, against a real HTTP server that says what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from appliance.cli import main
from tests.client.conftest import Service


class Ran(NamedTuple):
    """What a command line did."""

    code: int
    out: bytes
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.stop()


@pytest.fixture
def orchestra(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command line with nothing of this machine's own settings."""
    for name in ("ORCHESTRA_URL", "ORCHESTRA_TOKEN", "ORCHESTRA_TOKEN_FILE", "ORCHESTRA_DATA", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def run(*arguments: object) -> Ran:
        capfdbinary.readouterr()
        code = main([str(one) for one in arguments])
        out, err = capfdbinary.readouterr()
        return Ran(code, out, err.decode())

    return run


@pytest.fixture
def ask(orchestra: Run, service: Service) -> Run:
    """Runs a command line that asks the service of this test."""

    def run(*arguments: object) -> Ran:
        return orchestra("--url", service.url, "--token", "orc_u_1", *arguments)

    return run
