"""The faults of the simulator, and how often each strikes. Every seed has a mixture of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection

from appliance.model.run_state import TERMINAL
from tests.faults import invariants
from tests.faults.machines import Machine
from tests.faults.sim_master import Master, Voice
from tests.faults.simulator import World

LOST_AFTER = 3600.0  # seconds, the default of a job


class Weather:
    """What befalls one world."""

    def __init__(self, world: World, favour: Collection[str] = ()) -> None:
        """``favour``: kinds, by the names of the methods, that strike for certain and often."""
        self.world = world
        self._rng = world.rng
        kinds: list[tuple[float, Callable[[], None]]] = [
            (3.0, self.cut),
            (0.4, self.black_hole),
            (1.5, self.delay),
            (0.6, self.kill_master),
            (1.0, self.kill_master_within),
            (0.3, self.stop_master),
            (0.4, self.power_of_server),
            (0.6, self.power_of_server_within),
            (1.5, self.kill_worker),
            (1.5, self.kill_worker_within),
            (0.5, self.power_of_worker),
            (1.0, self.kill_executor),
            (1.0, self.kill_executor_within),
            (0.5, self.fill_worker),
            (0.4, self.fill_server),
            (1.0, self.refuse),
            (0.08, self.wipe_worker),
            (0.15, self.second_machine),
            (0.12, self.silence),
            (2.0, self.end_a_run),
            (0.5, self.trim),
            (0.3, self.drain),
            (0.3, self.damage),
        ]
        chosen = [(rate, kind) for rate, kind in kinds if self._rng.random() < 0.6]
        chosen += [(5.0, kind) for _, kind in kinds if kind.__name__ in favour]
        self._kinds = [kind for _, kind in chosen] or [self.cut]
        self._weights = [rate for rate, _ in chosen] or [1.0]
        self.rate = self._rng.choice((0.01, 0.03, 0.06))  # faults per step
        world.repeat_rate = self._rng.choice((0.0, 0.02))
        self._returns: dict[str, float] = {}  # machine -> when its network is back

    def step(self) -> None:
        """One step of the world, with what befalls it."""
        if self._rng.random() < self.rate:
            self._rng.choices(self._kinds, self._weights)[0]()
        for machine in self.world.machines:
            if machine.is_offline and self.world.now >= self._returns[machine.name]:
                machine.is_offline = False
        if self._rng.random() < 0.005:
            self._relieve()
        self.world.step()

    def clear(self) -> None:
        """All faults are gone; what they did remains."""
        world = self.world
        world.repeat_rate = 0.0
        world.refusals = 0
        world.fuse.quench()
        self._relieve()
        for machine in world.machines:
            machine.is_offline = False
            machine.fuse.quench()
            for one in machine.live:
                one.fuse.quench()
        if world.master is None:
            world.rise()
        for voice in list(world.master.voices) if world.master is not None else ():
            if not voice.cable.has_worker:  # a late frame would count as a sign of life
                world.in_master(functools.partial(_notice, voice))
        for machine in world.machines:
            world.in_master(functools.partial(_work_again, machine.worker.name))
        world.clock.advance(61.0)  # a new journal takes the old one's place after a minute (F26)

    def _relieve(self) -> None:
        if self.world.master is not None:
            self.world.master.disk.is_full = False
        for machine in self.world.machines:
            machine.disk.is_full = False

    def _machine(self) -> Machine:
        return self._rng.choice(self.world.machines)

    # ---- network

    def cut(self) -> None:
        """A connection is cut; the worker knows at once, the master later, when what is under way has come."""
        machine = self._machine()
        if machine.cable is not None:
            machine.cut()
            self.world.count("connection cut")

    def black_hole(self) -> None:
        """Nothing arrives any more, and nobody is told (F11)."""
        machine = self._machine()
        if machine.cable is not None:
            machine.cable.swallow(self.world.now)
            self.world.count("black hole")

    def delay(self) -> None:
        """What is under way is late, and so is what follows."""
        machine = self._machine()
        if machine.cable is not None:
            machine.cable.held_until = self.world.now + self._rng.random() * 5.0
            self.world.count("frames delayed")

    def silence(self) -> None:
        """A worker's network is away for longer than its runs bear (F10)."""
        machine = self._machine()
        if machine.is_offline:
            return
        machine.cut()
        machine.is_offline = True
        self.world.clock.advance(LOST_AFTER + 60.0)
        self._returns[machine.name] = self.world.now + self._rng.random() * 30.0
        self.world.count("worker silent over lost_after")

    # ---- the server

    def kill_master(self) -> None:
        """kill -9 between two steps."""
        if self.world.master is not None:
            self.world.count("master killed")
            self.world.end_master(power=False)

    def kill_master_within(self) -> None:
        """kill -9 between two awaits of something that it will do."""
        if not self.world.fuse.is_lit:
            self.world.is_power_at_stake = False
            self.world.fuse.light(self._rng.randrange(1, 40))

    def stop_master(self) -> None:
        """SIGTERM (F02)."""
        if self.world.master is not None and not self.world.fuse.is_lit:
            self.world.count("master stopped")
            self.world.in_master(lambda master: master.stop())
            self.world.end_master(power=False)

    def power_of_server(self) -> None:
        """The server's machine goes down between two steps (F08)."""
        if self.world.master is not None:
            self.world.count("server lost power")
            self.world.end_master(power=True)

    def power_of_server_within(self) -> None:
        """The same, between two awaits."""
        if not self.world.fuse.is_lit:
            self.world.is_power_at_stake = True
            self.world.fuse.light(self._rng.randrange(1, 40))

    def fill_server(self) -> None:
        """No room on the server's disk (F16)."""
        if self.world.master is not None:
            self.world.master.disk.is_full = True
            self.world.count("server's disk full")

    def refuse(self) -> None:
        """The database is busy for a moment (F19)."""
        self.world.refusals = self._rng.randrange(1, 6)
        self.world.count("database busy")

    def damage(self) -> None:
        """While the master is down, a byte of the log of a live run is spoilt on its disk (F39)."""
        world = self.world
        found = sorted(world.platter.root.glob("*/*/0.log"))
        if world.master is None and found:
            path = self._rng.choice(found)
            content = bytearray(path.read_bytes())
            run = world.repository.runs.get(path.parent.name)
            if content and run is not None and run.status not in TERMINAL:
                content[self._rng.randrange(len(content))] ^= 1
                path.write_bytes(content)
                world.damaged.add(run.id)
                world.count("server's log damaged")

    # ---- the workers

    def kill_worker(self) -> None:
        """kill -9 of a worker process (F03)."""
        self.world.count("worker killed")
        self._machine().kill()

    def kill_worker_within(self) -> None:
        """The same, between two awaits of something that it will do."""
        machine = self._machine()
        if not machine.fuse.is_lit:
            machine.fuse.light(self._rng.randrange(1, 25))

    def power_of_worker(self) -> None:
        """A worker's machine goes down (F07)."""
        self.world.count("worker lost power")
        self._machine().lose_power()

    def kill_executor(self) -> None:
        """kill -9 of an executor (F05)."""
        live = self._machine().live
        if live:
            self.world.count("executor killed")
            self._rng.choice(live).kill()

    def kill_executor_within(self) -> None:
        """The same, between two of its system calls."""
        live = [one for one in self._machine().live if not one.fuse.is_lit]
        if live:
            self.world.count("executor killed within a step")
            self._rng.choice(live).fuse.light(self._rng.randrange(1, 12))

    def fill_worker(self) -> None:
        """No room on a worker's disk: new work is declined, output is lost and noted (F17)."""
        self.world.count("worker's disk full")
        self._machine().disk.is_full = True

    def wipe_worker(self) -> None:
        """A worker is made anew with an empty disk and the same token (F26)."""
        machine = self._machine()
        self.world.count("worker's journal emptied")
        self.world.resets.add(machine.worker.id)
        machine.wipe()

    def second_machine(self) -> None:
        """Another machine comes with a worker's token (F15): refused while the first one is heard."""
        world, original = self.world, self._machine()
        self.world.count("second machine with the same token")
        life, before = world.heard.get(original.journal.identity.journal, (0, 0.0))
        second = Machine(world, original.worker, f"{original.name}+", original.slots)
        world.machines.append(second)
        for _ in range(200):
            world.step()
            if second.end.is_welcome:
                break
        world.machines.remove(second)
        known = world.repository.workers.get(original.worker.id)
        if known is not None and known.journal_id == second.journal.identity.journal:
            # The first one was silent for a minute: it is replaced (F26).
            silent = world.now - before
            is_right = world.master is None or world.master.lineage.epoch != life or silent > 59.0
            invariants.expect(is_right, "I1", f"a machine that was heard {silent:.1f} s ago was replaced (F15)")
            world.resets.add(original.worker.id)
            original.leave()
            world.machines[world.machines.index(original)] = second
        else:
            second.leave()
            for cable in second.cables:
                cable.to_master.clear()  # a hello that comes when it is gone would take the place of the first one

    def drain(self) -> None:
        """A worker gets nothing new, or new work again (F43)."""
        name, is_on = self._machine().worker.name, self._rng.random() < 0.5
        self.world.count("worker drained or not")
        self.world.in_master(lambda master: master.workers.drain(name) if is_on else master.workers.enable(name, True))

    def trim(self) -> None:
        """A worker's retention is over (I5)."""
        self.world.count("retention over")
        self._machine().trim()

    def end_a_run(self) -> None:
        """Cancel or abort (F42)."""
        self.world.ask_to_end()


def _notice(voice: Voice, master: Master) -> None:
    master.notice(voice)


def _work_again(name: str, master: Master) -> None:
    master.workers.enable(name, True)
