"""``orchestra demo``: everything on this machine, in a temporary directory, with a first run to look at."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from appliance.cli import output
from appliance.cli.base import Command, Globals, pass_globals
from appliance.cli.local import build
from appliance.cli.trigger import run_name, watch
from appliance.cli.values import Whole
from appliance.model.errors import Conflict, Unavailable
from appliance.model.sizes import show_count

if TYPE_CHECKING:
    from appliance.app import Appliance

PORT = 8080  # where people look first; another one is taken if it is in use
SLOTS = 2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)  # the last one is our own: no worker any more
ENDING = 20.0  # seconds that the worker has to end its runs and itself


class Stopped(BaseException):
    """A signal asked for the end, or the worker is gone. Not an Exception: nothing may swallow it."""


@click.command(cls=Command, example="orchestra demo --once")
@click.option("--port", type=Whole(1, 65_535), help=f"Default: {PORT} if it is free.")
@click.option("--once", is_flag=True, help="End with the first run; exit code 0 only if it succeeded.")
@pass_globals
def demo(options: Globals, port: int | None, once: bool) -> int:
    """Try everything: a server, a worker and example jobs in a temporary directory.

    Runs the job example/real and shows its log: it clones a git repository, builds its wheel and runs its tests. Then
    prints an address and a login link, and stays until Ctrl-C. Nothing is left behind.
    """
    before = {one: signal.signal(one, _stop) for one in SIGNALS}
    try:
        with ExitStack() as parts:
            return _play(parts, port, once, options.as_json)
    except Stopped as stopped:
        worker_is_gone = signal.SIGUSR1 in stopped.args
        return 1 if once or worker_is_gone else 0
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _stop(number: int, _frame: FrameType | None) -> None:
    _be_deaf()
    raise Stopped(number)


def _be_deaf() -> None:
    """From here on no signal interrupts: cleaning up has begun."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)


def _play(parts: ExitStack, port: int | None, once: bool, as_json: bool) -> int:
    from appliance.client import Client
    from appliance.demo_repository import real_job_parameters

    directory = parts.enter_context(_temporary_directory())
    logging.basicConfig(filename=directory / "server.log", level=logging.INFO)
    parameters = real_job_parameters(Path.cwd(), directory / "repository")
    appliance, link = parts.enter_context(_server(directory / "server", _free_port(port)))
    token, _ = appliance.accounts.create_token("demo", "orchestra demo")
    client = parts.enter_context(Client(appliance.settings.url, token))
    parts.enter_context(_worker(directory / "worker", appliance, parameters["repository"]))
    parts.callback(_be_deaf)
    output.notice(f"server and worker are running at {client.url}; the real job follows:")
    run = client.trigger("example", "real", parameters)
    output.notice(run_name(run))
    code = watch(client, run, as_json=as_json)
    if once:
        return code
    if as_json:
        output.write_json_line({"url": client.url, "setup_link": link})
    else:
        output.say("")
        output.say(f"Orchestra is at {client.url}")
        output.say(f"to look around, choose a name and a password at this link, good once: {link}")
        output.say("Ctrl-C ends the demo and removes everything")
        sys.stdout.flush()
    threading.Event().wait()
    return code


@contextmanager
def _temporary_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="orchestra-demo-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, onerror=_make_writable)


def _make_writable(remove: object, path: str, _error: object) -> None:
    """A job may leave read-only directories."""
    with contextlib.suppress(OSError):
        os.chmod(Path(path).parent, 0o700)
        os.chmod(path, 0o700)
        if callable(remove):
            remove(path)


@contextmanager
def _server(directory: Path, port: int) -> Iterator[tuple[Appliance, str]]:
    """A new server in this process, with an administrator ``demo`` and a link to make another one."""
    from appliance.cli.server import initialise

    made = initialise(directory, f"127.0.0.1:{port}", None, None, None)
    appliance = build(made.settings)
    appliance.start()
    try:
        appliance.accounts.add_user("demo", None, {"administrator"})
        assert made.link is not None
        yield appliance, made.link
    finally:
        appliance.stop()


@contextmanager
def _worker(directory: Path, appliance: Appliance, repository: str) -> Iterator[None]:
    """A worker in a process of its own, as on another machine. At the end its runs are ended first."""
    from appliance.config import write_worker_file

    _, token = appliance.workers.create("demo-worker", "demo")
    file = write_worker_file(
        directory,
        url=appliance.settings.url,
        token=token,
        name="demo-worker",
        slots=SLOTS,
        environment={"python3_executable": sys.executable, "demo_repository": repository},
    )
    log = directory / "worker.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "worker", "run", "--config", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the demo, which ends the worker in order
        )
    is_ending = threading.Event()

    def watch_over() -> None:
        code = process.wait()
        if not is_ending.is_set():
            words = log.read_text("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
            output.notice(f"the worker ended with exit code {code}: {words[0]}")
            os.kill(os.getpid(), signal.SIGUSR1)

    watcher = threading.Thread(target=watch_over, name="demo-worker", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        if watcher.is_alive():
            _end_runs(appliance)
        is_ending.set()
        process.terminate()
        watcher.join(ENDING)
        process.kill()  # does nothing to one that has ended
        watcher.join()


def _end_runs(appliance: Appliance) -> None:
    """End every run and wait for it, for some time: executors outlive the worker, by design."""
    from appliance.db.repository import RunFilter
    from appliance.events import RunChanged
    from appliance.model.run_state import LIVE

    changed = threading.Event()
    asked: set[str] = set()
    until = time.monotonic() + ENDING
    unsubscribe = appliance.events.subscribe(lambda event: changed.set() if isinstance(event, RunChanged) else None)
    try:
        while live := appliance.runs.find(RunFilter(status=tuple(sorted(LIVE))), None, 100):
            for run in live:
                if run.id not in asked:
                    asked.add(run.id)
                    _end_run(appliance, run.id)
            if not changed.wait(until - time.monotonic()):
                output.notice(f"{show_count(len(live), 'run')} did not end in time")
                return
            changed.clear()
    finally:
        unsubscribe()


def _end_run(appliance: Appliance, run_id: str) -> None:
    """Cancel it, else abort it; it may end by itself in between."""
    for ask in (appliance.runs.cancel, appliance.runs.abort):
        try:
            ask(run_id, "demo")
        except Conflict:
            continue
        return


def _free_port(asked: int | None) -> int:
    """The port asked for; else PORT, or another one that nobody uses now. Raises Unavailable."""
    for wanted in (PORT, 0) if asked is None else (asked,):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", wanted))
            port: int = probe.getsockname()[1]
            return port
    if asked is not None:
        raise Unavailable(f"port {asked} of 127.0.0.1 cannot be used: choose another, or leave --port away")
    raise Unavailable("there is no free port on 127.0.0.1")
