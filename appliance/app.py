"""The composition root: every part of the server, built once, started in order and stopped in reverse.

An operator changes a part by subclassing ``Appliance`` in a ``deployment.py`` that the settings name (X14):

    class Deployment(Appliance):
        @cached_property
        def dispatcher(self): ...

Parts get what they need in their ``__init__`` and never ask the Appliance.
"""

from __future__ import annotations

import errno
import faulthandler
import logging
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import msgspec

from appliance.clock import Clock
from appliance.config import SERVER_FILE, ConfigurationError, boot_id, notify_socket
from appliance.foundation import Foundation
from appliance.logging_setup import set_up_logging
from appliance.master.connection import Connection
from appliance.master.conversation import Conversation
from appliance.master.dispatcher import Dispatcher
from appliance.master.gateway import Gateway
from appliance.master.lanes import Lanes
from appliance.master.live import Live
from appliance.master.room_watch import RoomWatch
from appliance.master.roster import Roster
from appliance.master.sweeper import Sweeper
from appliance.model import caps
from appliance.model.entities import Lineage, Run, Session, Worker
from appliance.model.errors import Unauthenticated, Unavailable
from appliance.model.permissions import Kind, Principal
from appliance.model.sizes import show_count
from appliance.notifier import Notifier
from appliance.settings import ServerSettings
from appliance.waits import Waits
from appliance.watchdog import Watchdog
from appliance.web.api.documents import run_document
from appliance.web.head import Head
from appliance.web.rendering import Rendering
from appliance.web.routes import Parts, WebSettings, build
from appliance.web.security import authenticate_socket
from appliance.web.server import ServerLimits, WebServer
from appliance.web.static_files import StaticFiles
from appliance.workers import Presence

_log = logging.getLogger(__name__)

SWITCH_EVERY = 0.001  # seconds a thread may keep others waiting; the default of 5 ms is long for a followed log
DESCRIPTORS = 65_536  # what the server asks the system for (F33)

_LISTEN_ADVICE = {
    errno.EADDRINUSE: "stop the program that uses it, or choose another port here",
    errno.EACCES: "choose a port from 1024 on, or allow this account to use it",
    errno.EADDRNOTAVAIL: "choose an address of this machine, or 0.0.0.0 for all of them",
}


class Appliance(Foundation):
    """Master, service and website in one process."""

    def __init__(self, settings: ServerSettings, clock: Clock | None = None) -> None:
        super().__init__(settings, clock)
        self._lineage: Lineage | None = None
        self._is_ready = False
        self._wake = threading.Event()  # one of the next two is set
        self._is_hung_up = self._is_ending = False
        self._exit_code = 0
        self._closers: list[tuple[str, Callable[[], object]]] = []

    # ---- master

    @cached_property
    def roster(self) -> Roster:
        """Who is connected."""
        return Roster(self.clock.monotonic)

    @property
    def presence(self) -> Presence:
        """The roster, for pages and service."""
        return self.roster

    def waiting(self) -> int:
        """How many runs are pending: the dispatcher knows without counting."""
        return self.dispatcher.waiting

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Who gets which run."""
        return Dispatcher(
            self.repository,
            self.leases,
            self.roster,
            self.events,
            lambda: self.lineage.epoch,
            self.accounts.run_token,
            self.job_versions,
            self.limits,
            may_give=lambda: self.room.full_since is None,
            holds=self.recoveries.holds,
            cancel_unwanted=self.runs.cancel_unwanted,
        )

    @cached_property
    def waits(self) -> Waits:
        """Why runs wait."""
        return Waits(self.repository, self.workers, self.clock, self.dispatcher.outlook, self.recoveries)

    @cached_property
    def live(self) -> Live:
        """The event stream."""
        return Live(self.runs, self.events, self.steady, self._listener, self._show_run)

    @cached_property
    def gateway(self) -> Gateway:
        """The asyncio thread with all WebSockets: workers, and live pages."""
        second = self.settings.server.second_port
        return Gateway(
            repository=self.repository,
            lineage=lambda: self.lineage,
            # Good tokens of other kinds too: the gateway answers them 403, and bad ones 401 (5.2 step 1).
            authenticate=lambda token: self.accounts.principal_of_token(token, (*Kind,)),
            converse=self._converse,
            live=self.live,
            roster=self.roster,
            lanes=Lanes(),
            events=self.events,
            clock=self.clock,
            second_port=None if second is None else (self.settings.server.listen.host, second),
        )

    @cached_property
    def sweeper(self) -> Sweeper:
        """What the clock brings."""
        return Sweeper(
            self.repository,
            self.runs,
            self.leases,
            self.workers,
            self.roster,
            self.steady,
            self.job_versions,
            self.limits,
        )

    @property
    def lineage(self) -> Lineage:
        """This life of the master. Only after ``start``."""
        if self._lineage is None:
            raise LookupError("the appliance has not been started")
        return self._lineage

    # ---- web

    @cached_property
    def static_files(self) -> StaticFiles:
        """Scripts, styles and pictures."""
        return StaticFiles(self.settings.web.static)

    @cached_property
    def room_watch(self) -> RoomWatch:
        """Looks after the disk's room."""
        return RoomWatch(self.room, self.roster, self.dispatcher)

    @cached_property
    def rendering(self) -> Rendering:
        """The pages' templates."""
        settings = self.settings.web
        return Rendering(self.static_files, settings.templates, settings.announcement, lambda: self.room.full_since)

    @cached_property
    def web_settings(self) -> WebSettings:
        """What the web shell needs of the settings."""
        return WebSettings(
            base_url=self.settings.server.base_url or "",
            insecure_http=self.settings.server.insecure_http,
            triggers_per_minute=self.settings.limits.triggers_per_minute,
            trigger_burst=self.settings.limits.trigger_burst,
        )

    @cached_property
    def parts(self) -> Parts:
        """What the handlers of routes call."""
        return Parts(
            accounts=self.accounts,
            projects=self.projects,
            configuration=self.configuration,
            runs=self.runs,
            lost_runs=self.lost_runs,
            workers=self.workers,
            waits=self.waits,
            recoveries=self.recoveries,
            clock=self.clock,
            key=caps.derive(self.master_key, "web"),
            unready=self.unready,
            clock_trouble=self.steady.trouble,
            expiry=lambda at: at + self.steady.lead(),
            full_since=lambda: self.room.full_since,
            settings=self.web_settings,
            rendering=self.rendering,
            static_files=self.static_files,
        )

    @cached_property
    def web(self) -> WebServer:
        """The port: pages and service in threads; an Upgrade leaves it for the gateway."""
        listen, limits = self.settings.server.listen, self.settings.limits
        return WebServer(
            build(self.parts),
            listen.host,
            listen.port,
            self.gateway.adopt,
            ServerLimits(
                threads=limits.http_threads,
                connections=limits.connection_limit,
                connections_per_address=limits.connections_per_address,
                request_within=limits.request_timeout,
                body=limits.body_size,
            ),
            self.settings.server.trusted_proxy,
        )

    def unready(self) -> Sequence[str]:
        """What keeps the appliance from its work; empty = ready."""
        return () if self._is_ready else ("starting or stopping",)

    # ---- the unit

    @cached_property
    def notifier(self) -> Notifier:
        """What systemd hears."""
        return Notifier(*notify_socket())

    @cached_property
    def watchdog(self) -> Watchdog:
        """Tells systemd that we live, while the thread of all sockets and the one that writes do."""
        return Watchdog(self.notifier, {"event loop": self.gateway.beat, "database writer": self.repository.beat})

    # ---- life

    def start(self) -> None:
        """Everything up, in order; when this returns the port answers. Raises after stopping what had started."""
        try:
            self.room.look()
            self._begin("database", self.open_storage, self.repository.close)
            leased = self.repository.runs.leased()
            records = [record for run, _ in leased for record in self.repository.runs.streams(run.id)]
            self.logs.recover(records, [run.id for run, _ in leased])
            self._closers.append(("logs", self.logs.close))
            self._lineage = self.repository.lineage.open_epoch(self.new_incarnation(), boot_id(), self.clock.now())
            self.configuration.load()
            self._begin("sweeper", self.sweeper.start, self.sweeper.stop)
            self._begin("room", self.room_watch.start, self.room_watch.stop)
            with self._listening("server.second_port", self.settings.server.second_port):
                self._begin("gateway", self.gateway.start, self.gateway.stop)
            self._begin("dispatcher", self.dispatcher.start, self.dispatcher.stop)
            with self._listening("server.listen", self.settings.server.listen.port):
                self._begin("web", self.web.start, self.web.stop)
            self._begin("watchdog", self.watchdog.start, self.watchdog.stop)
        except BaseException:
            self.stop()
            raise
        self._is_ready = True
        _log.info("life %d of cluster %s has begun", self.lineage.epoch, self.lineage.cluster)

    def stop(self) -> None:
        """Everything down, in reverse; a second call does nothing. Runs on workers are left alone (F02)."""
        self._is_ready = False
        while self._closers:
            name, close = self._closers.pop()
            try:
                close()
            except Unavailable as error:
                _log.warning("%s had something left to write: %s", name, error)
            except Exception:
                _log.exception("%s did not stop as it should", name)

    def serve(self, tell: Callable[[str], object] = lambda _url: None) -> int:
        """Start, ``tell`` the address, and run until SIGTERM or SIGINT; SIGHUP reads the project files again.

        Answers the exit code.
        """
        set_up_logging(self.settings.log.level)
        if self.notifier.watchdog is not None:
            faulthandler.enable()  # the watchdog's SIGABRT then shows in the journal where each thread is stuck
        sys.setswitchinterval(SWITCH_EVERY)
        _raise_descriptor_limit()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._end())
        signal.signal(signal.SIGHUP, lambda *_: self._hang_up())
        self.start()
        host = self.settings.server.listen.host
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{self.web.port}"
        tell(url)
        self.notifier.ready(f"listening on {url}")
        while self._wake.wait() and not self._is_ending:
            self._wake.clear()
            if self._is_hung_up:
                self._is_hung_up = False
                self.notifier.reloading()
                self.notifier.ready(f"listening on {url}; {self.reload()}")
        self.notifier.stopping("stopping; jobs on workers go on")
        self.stop()
        return self._exit_code

    def reload(self) -> str:
        """Read the project files again, and answer what came of it. If they cannot be used, the old configuration
        stays (F40)."""
        try:
            applied = self.configuration.load()
        except (ConfigurationError, Unavailable) as error:
            _log.error("the configuration was not reloaded: %s", error)
            return f"the configuration was not reloaded: {error}"
        changed, found = show_count(len(applied.changes), "change"), show_count(len(applied.findings), "finding")
        said = f"the configuration was reloaded; {changed}, {found}, {show_count(applied.cancelled, 'run')} cancelled"
        _log.info("%s", said)
        return said

    # ---- inside

    def _begin(self, name: str, start: Callable[[], object], stop: Callable[[], object]) -> None:
        self._closers.append((name, stop))
        start()

    @contextmanager
    def _listening(self, key: str, port: int | None) -> Iterator[None]:
        """What cannot be listened on is a wrong setting: say which, and what to do."""
        try:
            yield
        except OSError as error:
            listen, file = self.settings.server.listen, self.settings.file or SERVER_FILE
            advice = _LISTEN_ADVICE.get(error.errno or 0, "choose another address here")
            what = f"cannot listen on {listen.host}:{port}: {error.strerror or error}; {advice}"
            raise ConfigurationError(file, 0, key, what) from error

    def on_fatal(self, error: Exception) -> None:
        """A disk that fails writes nothing any more: end, and let the unit start us again (F18)."""
        _log.critical("storage error, the server ends: %s", error)
        self._is_ready = False
        self._exit_code = 1
        self._end()

    def _end(self) -> None:
        self._is_ending = True
        self._wake.set()

    def _hang_up(self) -> None:
        self._is_hung_up = True
        self._wake.set()

    def _converse(self, worker: Worker, connection: Connection) -> Conversation:
        return Conversation(
            worker,
            connection,
            runs=self.runs,
            leases=self.leases,
            inventories=self.inventories,
            workers=self.workers,
            roster=self.roster,
            events=self.events,
            clock=self.clock,
            send=self.dispatcher.send,
        )

    def _listener(self, path: str, headers: dict[str, str], peer: str) -> tuple[Principal, Session | None]:
        caller = authenticate_socket(self.accounts, self.web_settings, Head("http", peer, headers))
        if caller.principal is None:
            raise Unauthenticated("log in, or send a token")
        return caller.principal, caller.session

    def _show_run(self, run: Run) -> bytes:
        return msgspec.json.encode(run_document(run, self.runs.log_size(run.id)))


def _raise_descriptor_limit() -> None:
    """As many descriptors as this process may have, up to ``DESCRIPTORS``: each worker that is connected takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
