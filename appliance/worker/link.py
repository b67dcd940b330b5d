"""The only socket of a worker: connects, says hello, tells and listens, and comes back after any trouble (F09)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from appliance import __version__
from appliance.clock import Clock
from appliance.model.errors import ApplianceError, Full
from appliance.wire import (
    BEAT_EVERY,
    CLOSE_WITHIN,
    MESSAGE_LIMIT,
    PING_EVERY,
    PONG_WITHIN,
    RECONNECT_FIRST,
    RECONNECT_MOST,
    SEND_WITHIN,
    SUBPROTOCOL,
    ProtocolError,
)
from appliance.wire.local_runs import (
    Abort,
    Action,
    Commit,
    Delete,
    Identity,
    Keep,
    Read,
    Recall,
    Refused,
    Secrets,
    Store,
)
from appliance.wire.local_runs import Draining as DrainTold
from appliance.wire.worker_end import WorkerEnd
from appliance.worker import processes
from appliance.worker.disk import StorageTrouble
from appliance.worker.draining import Draining
from appliance.worker.journal import Journal
from appliance.worker.notes import NO_SPACE
from appliance.worker.quarantine import Quarantine
from appliance.worker.reasons import LATER, RARELY, Trouble, explain
from appliance.worker.recalling import tell_again
from appliance.worker.room import Room
from appliance.worker.rundir import Damaged
from appliance.worker.supervisor import Supervisor

_log = logging.getLogger(__name__)
logging.getLogger("websockets.client").setLevel(logging.CRITICAL)  # what matters is said here

OPEN_WITHIN = 10.0  # seconds
TURNS_EVERY = 0.1  # seconds between two looks at whose turn it is, while a run is under suspicion
LATER_BETWEEN = (60.0, 600.0)  # seconds
HOURLY = 3600.0  # seconds


def socket_url(url: str) -> str:
    """``ws[s]://…/worker`` of a server's address."""
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/worker"


class _Straight(connect):
    """Follows no redirect: a token goes where its owner said, and who joins is told the other address."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """The refusal as it is."""
        return exc


async def dial(url: str, token: str) -> ClientConnection:
    """A connection that the server has accepted. Raises what ``explain`` understands."""
    return await _Straight(
        socket_url(url),
        additional_headers={"Authorization": f"Bearer {token}"},
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        max_size=MESSAGE_LIMIT,
        max_queue=64,
        write_limit=1 << 18,
        open_timeout=OPEN_WITHIN,
        close_timeout=CLOSE_WITHIN,
        ping_interval=PING_EVERY,
        ping_timeout=PONG_WITHIN - CLOSE_WITHIN,
        user_agent_header=f"orchestra-worker/{__version__}",
        proxy=None,
    )


class Link:
    """Keeps the worker's end of the protocol connected to the master, for as long as the worker lives."""

    def __init__(
        self,
        *,
        url: str,
        token: str,
        slots: int,
        properties: Mapping[str, object],
        end: WorkerEnd,
        journal: Journal,
        supervisor: Supervisor,
        clock: Clock,
        on_commit: Callable[[str], None],
        random: Callable[[], float],
        min_free: int | None = None,
    ) -> None:
        """``random`` gives numbers from 0 to 1, for jitter. ``on_commit`` hears of each run the master has whole.

        ``min_free``: bytes of free space below which no new run is taken (F17); default as in ``room``.
        """
        self._url = url
        self._token = token
        self._slots = slots
        self._properties = dict(properties)
        self._end = end
        self._journal = journal
        self._supervisor = supervisor
        self._clock = clock
        self.room = Room(journal.directory, journal.free_bytes, min_free)
        self._quarantine = Quarantine(end, journal, supervisor)
        self._on_commit = on_commit
        self._random = random
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._instance = secrets.token_hex(16)
        self._attempts = 0
        self.last_trouble = ""  # why there is no connection; "" while there is one, or the first is tried
        self._to_delete: set[str] = set()
        self._to_commit: dict[str, Commit] = {}  # what found no room, by run
        self._later: dict[tuple[str, type[Action]], Action] = {}  # what the disk refused
        self._unkept: Identity | None = None
        self.draining = Draining(end)

    def wake(self) -> None:
        """The end may have something to send."""
        self._wake.set()

    async def run(self) -> None:
        """Connect, again and again, until cancelled. No trouble with the network ever ends it."""
        while True:
            trouble = await self._once()
            delay = self._delay(trouble)
            if trouble.sentence != self.last_trouble:
                self.last_trouble = trouble.sentence
                _log.warning("%s; trying again, next in %.1f s", trouble.sentence, delay)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._hurry.wait()
            self._hurry.clear()

    def hurry(self) -> None:
        """Do not wait for the next try: somebody has put right what kept it from succeeding (F37)."""
        self._attempts = 0
        self._hurry.set()

    async def _once(self) -> Trouble:
        try:
            async with await dial(self._url, self._token) as connection:
                await self._converse(connection)
        except ProtocolError as error:
            return Trouble(f"the server said something this worker does not understand: {error}", LATER)
        except StorageTrouble as error:
            return Trouble(f"storage error on this worker: {error}", LATER)
        except ConnectionClosed as error:
            trouble = explain(error, self._url)
            is_one_run = error.rcvd is not None and self._quarantine.closed(error.rcvd.code)
            return Trouble(trouble.sentence) if is_one_run else trouble
        except (OSError, InvalidHandshake, InvalidURI, ssl.SSLError, EOFError, TimeoutError) as error:
            return explain(error, self._url)
        except Exception as error:
            _log.exception("the connection failed in an unforeseen way")
            return explain(error, self._url)
        finally:
            self._end.disconnect()
        return Trouble("the server closed the connection")

    def _delay(self, trouble: Trouble) -> float:
        """Full jitter, so that a thousand workers do not come back in the same instant (F33)."""
        self._attempts += 1
        if trouble.again == RARELY:
            return HOURLY * (0.9 + 0.2 * self._random())
        first, most = LATER_BETWEEN if trouble.again == LATER else (RECONNECT_FIRST, RECONNECT_MOST)
        longest = min(most, first * 2.0 ** min(self._attempts - 1, 16))
        return max(first * 0.1, longest * self._random()) if trouble.again != LATER else longest

    # ---- one connection

    async def _converse(self, connection: ClientConnection) -> None:
        self._end.connect(
            instance=self._instance,
            software=f"orchestra-appliance {__version__}",
            boot=self._journal.boot_id,
            at=self._clock.now().timestamp(),
            slots=self._slots,
            properties=self._properties,
            complete_since=self._journal.watermark.since,
        )
        tasks = [
            asyncio.create_task(self._write(connection), name="link-write"),
            asyncio.create_task(self._read(connection), name="link-read"),
            asyncio.create_task(self._beat(), name="link-beat"),
        ]
        self._wake.set()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, connection: ClientConnection) -> None:
        while True:
            frame = await connection.recv()
            for action in self._end.receive(frame):
                self._do(action)
            self._wake.set()

    async def _write(self, connection: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            item = self._end.next()
            if item is None:
                if not self._quarantine.next_turn(loop.time()):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(TURNS_EVERY if self._quarantine.has_turns else None):
                            await self._wake.wait()
                    self._wake.clear()
                continue
            frame = self._read_chunk(item) if isinstance(item, Read) else item
            if frame is None:
                continue
            try:
                async with asyncio.timeout(SEND_WITHIN):
                    self._quarantine.says(item, loop.time())
                    await connection.send(frame)
            except TimeoutError:
                connection.transport.abort()  # a half-open connection (F11)
                raise

    def _read_chunk(self, wanted: Read) -> bytes | None:
        """The frame with these bytes; None when the disk does not give them: that is that run's trouble alone."""
        try:
            payload = self._journal.read(wanted.run, wanted.stream, wanted.offset, wanted.length)
        except OSError as error:
            payload, why = b"", str(error)
        else:
            why = "its files were cut or removed"
        frame = self._end.chunk(wanted, payload)
        if not payload:
            self._quarantine.unreadable(wanted.run, why)
        return frame

    async def _beat(self) -> None:
        while True:
            if self._end.is_welcome:
                self.beat()
                for _ in range(round(BEAT_EVERY)):
                    await asyncio.sleep(1.0)
                    if self.room.is_back():
                        break  # the next beat says that work is taken again
            else:
                await asyncio.sleep(1.0)

    def beat(self) -> None:
        """Give a sign of life, and do what a full disk has put off."""
        self._end.beat(self._clock.now().timestamp(), processes.load_average(), self._journal.free_bytes())
        self._wake.set()
        for word in list(self._to_commit.values()):
            self._commit(word)
        if self._unkept is not None:
            self._keep(self._unkept)
        for action in self._later.values():
            self._do(action)

    # ---- what the master wants

    def _do(self, action: Action) -> None:
        match action:
            case Keep(identity=identity):
                self._keep(identity)
                self._end.resume()
                self._quarantine.resumed()
                self._attempts = 0
                self.last_trouble = ""
                _log.info("connected to %s", self._url)
            case Store():
                self._store(action)
            case Secrets(run=run_id, secrets=given):
                self._journal.give_secrets(run_id, given)
                self._supervisor.launch(run_id)
            case Abort(run=run_id, grace=grace):
                with self._put_off(action, run_id):
                    self._supervisor.abort(run_id, grace)
            case Commit():
                self._commit(action)
            case Recall(run=run_id):
                tell_again(self._journal, self._end, run_id)
            case Delete(run=run_id):
                with self._put_off(action, run_id):
                    self._delete(run_id)
            case DrainTold(on=on):
                self.draining.told(on)
            case Refused(code=code, text=text):
                _log.warning("the server reports %s: %s", code, text)
                if code != "not_yours":
                    self._quarantine.refused(action.re, text)

    def _keep(self, identity: Identity) -> None:
        """A full disk puts it off: an old pair that the server once gave is no danger, and to be away would be one."""
        try:
            self._journal.keep(identity)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise StorageTrouble(str(error)) from None
            if self._unkept is None:
                _log.warning("the disk is full: the server's new start cannot be noted yet")
            self._unkept = identity
        else:
            self._unkept = None

    @contextlib.contextmanager
    def _put_off(self, action: Action, run_id: str) -> Iterator[None]:
        """What the disk refuses for one run is tried again with the next beat, and stops nobody else (J07)."""
        self._later = {key: later for key, later in self._later.items() if key != (run_id, type(action))}
        try:
            yield
        except OSError as error:
            _log.error("run %s: %s is put off: %s", run_id, type(action).__name__.lower(), error)
            self._later[run_id, type(action)] = action

    def _commit(self, word: Commit) -> None:
        """Note that the master has the run. A full disk puts it off: the run is kept too long, and never too short."""
        try:
            self._journal.commit(word.run, word.proof)
        except OSError as error:
            if word.run not in self._to_commit:
                _log.warning("run %s is stored by the server, which cannot be noted yet: %s", word.run, error)
            self._to_commit[word.run] = word
            return
        self._to_commit.pop(word.run, None)
        self._on_commit(word.run)
        self.draining.look()

    def _store(self, assignment: Store) -> None:
        """Durable first, then launched and accepted. What cannot be stored is declined, and never begins (J07)."""
        try:
            if not self.room.suffices():
                raise Full("the worker's disk is nearly full")
            self._journal.accept(assignment.run, assignment.cap, assignment.request, assignment.secrets)
        except (ApplianceError, Damaged, OSError) as error:
            _log.warning("run %s is declined: %s", assignment.run, error)
            self._end.declined(assignment.run, str(error) or type(error).__name__)
            return
        except StorageTrouble:
            self._end.disconnect()  # so that nobody hears of this: it stays this worker's, and is assigned again
            self._end.declined(assignment.run, "")
            raise
        self._supervisor.launch(assignment.run)
        self._end.accepted(assignment.run)

    def _delete(self, run_id: str) -> None:
        if self._journal.forget(run_id):
            self._to_delete.discard(run_id)
            self._end.forgotten(run_id)
        else:  # its executor lives: end it, and delete it when it has exited
            self._to_delete.add(run_id)
            self._supervisor.abort(run_id, 0.0)

    def exited(self, run_id: str) -> None:
        """A run has exited: what was waiting for that is done now."""
        self._quarantine.ended(run_id)
        if run_id in self._to_delete:
            self._do(Delete(run=run_id))


def system_random() -> float:
    """A number from 0 to 1."""
    return secrets.randbelow(1 << 30) / (1 << 30)


__all__: list[Any] = ["Link", "dial", "socket_url", "system_random"]
