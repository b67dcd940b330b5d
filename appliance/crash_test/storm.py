"""The faults: one thread for each victim goes through its queue, side by side with all others."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from appliance.crash_test import job, victims
from appliance.crash_test.ledger import Ledger
from appliance.crash_test.plan import NETWORK, Fault, Plan
from appliance.crash_test.programs import Program
from appliance.crash_test.stage import Stage

_SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "stop": signal.SIGSTOP}
_PEACE = 10.0  # seconds that a program gets at most until it has done something
_RUNS_BETWEEN = {"program": 3, "run": 1}  # that begin between two blows of a queue, for most of them
_MARK = 50  # bytes of a run's mark, at least
_LOOK_EVERY = 0.05  # seconds, while there is no process to hit
_GIVE_UP = 120.0  # seconds of looking in vain for a process to hit


class Storm:
    """Runs the plan's faults against a stage. ``over`` set from outside ends it early.

    On a slow or busy machine programs would only be killed while they start, and nothing would be tried. So most blows
    wait until some runs have begun since the last one of their queue.
    """

    def __init__(self, stage: Stage, plan: Plan, ledger: Ledger, over: threading.Event) -> None:
        self._stage, self._plan, self._ledger, self._over = stage, plan, ledger, over
        self._pool = ThreadPoolExecutor(len(plan.queues), thread_name_prefix="storm")
        self._hands: list[Future[None]] = []
        self._begun_at: dict[str, int] = {}  # what _begun said at the last blow of a queue
        self.seconds = 0.0  # that it took
        self._began = time.monotonic()

    def begin(self) -> None:
        """Let the threads go."""
        self._began = time.monotonic()
        for name, faults in self._plan.queues.items():
            self._hands.append(self._pool.submit(self._work, self._strike_for(name), faults))

    @property
    def is_over(self) -> bool:
        """Whether every thread is done. Raises what one of them failed with."""
        done = [hand for hand in self._hands if hand.done()]
        for hand in done:
            hand.result()
        if len(done) < len(self._hands):
            self.seconds = time.monotonic() - self._began
        return len(done) == len(self._hands)

    def close(self) -> None:
        """Wait for the threads; ``over`` must be set or they done."""
        self._pool.shutdown(wait=True)

    def _strike_for(self, name: str) -> Callable[[Fault], None]:
        if name == "server":
            return self._strike_server
        if name == NETWORK:
            return self._strike_network
        if name == "run":
            return self._strike_run
        return lambda fault: self._strike_worker(name, fault)

    def _work(self, strike: Callable[[Fault], None], faults: list[Fault]) -> None:
        for fault in faults:
            if self._over.wait(max(0.0, self._began + fault.at - time.monotonic())):
                return
            strike(fault)

    # ---- programs

    def _strike_server(self, fault: Fault) -> None:
        self._leave_in_peace("server", fault)
        self._strike_program(self._stage.server, fault, "server")

    def _strike_worker(self, name: str, fault: Fault) -> None:
        worker = self._stage.workers[name]
        self._leave_in_peace(name, fault)
        if fault.victim == "worker":
            self._strike_program(worker, fault, "worker")
            return
        pid = worker.pid
        starter = None if pid is None else self._wait_for(lambda: victims.starter(pid))
        if starter is None:
            self._ledger.complain(f"{name} had no starter process for {_GIVE_UP:g} s")
            return
        self._signal_pid(starter, fault)
        self._ledger.count(f"{fault.how} starter")

    def _leave_in_peace(self, name: str, fault: Fault) -> None:
        """Wait until so many runs have begun as this victim is left in peace for, and then a little."""
        until = time.monotonic() + _PEACE
        enough = self._begun_at.get(name, 0) + (_RUNS_BETWEEN["run" if name == "run" else "program"] - 1) * _MARK
        while not fault.is_early and time.monotonic() < until and self._begun() <= enough:
            if self._over.wait(_LOOK_EVERY):
                return
        self._over.wait(fault.wait)
        self._begun_at[name] = self._begun()

    def _begun(self) -> int:
        """Bytes of the marks of runs that have begun."""
        try:
            return (self._stage.marks / job.STARTS).stat().st_size
        except FileNotFoundError:
            return 0

    def _strike_program(self, program: Program, fault: Fault, kind: str) -> None:
        wrong = None
        if fault.how == "stop":
            program.send(signal.SIGSTOP)
            self._over.wait(fault.length)
            program.send(signal.SIGCONT)
        else:
            wrong = program.kill() if fault.how == "kill" else program.terminate()
            self._over.wait(fault.length)
            wrong = wrong or program.start()
        if wrong is not None:
            self._ledger.complain(wrong)
        self._ledger.count(f"{fault.how} {kind}")

    def _signal_pid(self, pid: int, fault: Fault) -> None:
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return
        try:
            signal.pidfd_send_signal(descriptor, _SIGNALS[fault.how])
            if fault.how == "stop":
                self._over.wait(fault.length)
                signal.pidfd_send_signal(descriptor, signal.SIGCONT)
        except ProcessLookupError:
            pass  # its worker was killed in between
        finally:
            os.close(descriptor)

    # ---- runs

    def _strike_run(self, fault: Fault) -> None:
        """An executor or a command, chosen among those there are; waits until there is one."""
        self._leave_in_peace("run", fault)
        if self._wait_for(lambda: self._hit(fault) or None) is None and not self._over.is_set():
            self._ledger.complain(f"no {fault.victim} was there to be hit for {_GIVE_UP:g} s")

    def _hit(self, fault: Fault) -> bool:
        homes = list(self._stage.homes.values())
        kinds, spared = (fault.victim, "child"), self._ledger.spared
        found = [one for one in victims.find(homes) if one.kind in kinds and one.run_id not in spared]
        if not found:
            return False
        victim = found[int(fault.choice * len(found))]
        number = _SIGNALS[fault.how]
        self._ledger.hit(victim.run_id, f"{victim.kind} {number.name}")  # before it: the run may end at once
        if not victims.strike(victim, number, homes):
            return False
        if number is signal.SIGSTOP:
            self._over.wait(fault.length)
            victims.strike(victim, signal.SIGCONT, homes)
        self._ledger.count(f"{fault.how} {fault.victim}")
        return True

    def _wait_for(self, look: Callable[[], int | None]) -> int | None:
        until = time.monotonic() + _GIVE_UP
        while (found := look()) is None and time.monotonic() < until:
            if self._over.wait(_LOOK_EVERY):
                return None
        return found

    # ---- connections

    def _strike_network(self, fault: Fault) -> None:
        proxies = list(self._stage.proxies.values())
        proxy = proxies[int(fault.choice * len(proxies))]
        match fault.how:
            case "cut":
                proxy.cut(fault.bytes)
            case "silence":
                if self._wait_for(lambda: proxy.silence() or None) is None:
                    return
            case "dribble":
                proxy.dribble(fault.length)
            case "refuse":
                proxy.refuse(fault.length)
            case "delay":
                proxy.delay(fault.length, 0.02 + fault.choice * 0.2)
        self._ledger.count(f"{fault.how} connection")
