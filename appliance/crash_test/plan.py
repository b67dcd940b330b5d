"""What happens in a crash test, from a seed: which runs, which wishes about them, which faults in which order.

The same seed gives the same plan. Moments are not part of it: they come from the clocks of real processes, so a
repeated plan meets other moments.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator

import msgspec

PACE = 3.0  # kills a second, if the machine keeps up

KILLED = {"server": 3, "worker": 6, "starter": 1, "executor": 10}  # of 20 kills
NETWORK = "network"  # the victim of faults of connections
_ENDINGS = (0, 0, 0, 0, 0, 0, 1, 7, 255, -int(signal.SIGTERM), -int(signal.SIGKILL), -int(signal.SIGUSR1))
_LONG_LINE = 100_000_000  # bytes
_LONG_LINE_EVERY = 1000  # kills: one such line each, so that disks suffice


class Task(msgspec.Struct, frozen=True):
    """What one run does: the argument of ``job.py``. It ends with ``code``, or by ``signal`` if that is not 0."""

    key: str
    seed: int
    size: int
    shape: str  # bytes, line, text
    seconds: float
    code: int = 0
    signal: int = 0
    has_results: bool = False
    has_child: bool = False


class Order(msgspec.Struct, frozen=True):
    """One run to trigger. ``wish``: "", ``abort`` or ``cancel``, asked ``after`` seconds. ``is_spared``: its own
    processes are left alone, so that its log must be whole whatever happens to server, workers and connections (R2)."""

    task: Task
    wish: str = ""
    after: float = 0.0
    is_spared: bool = False

    @property
    def text(self) -> str:
        """The parameter of the run."""
        return msgspec.json.encode(self.task).decode()


class Fault(msgspec.Struct, frozen=True):
    """One blow. ``at``: seconds after the first, or later, when the one before it took long. ``wait``: seconds that its
    victim is left in peace before it. ``length``: seconds of a stop, of a slow line, or until the restart.

    ``how``: ``kill``, ``stop``, ``terminate``; of connections ``cut``, ``silence``, ``dribble``, ``delay``,
    ``refuse``.
    ``choice``: from 0 to 1, which of the candidates there are. ``bytes``: until a cut. ``is_early``: at its
    moment, whatever happens; else not before some runs could begin (see ``Storm``).
    """

    victim: str
    how: str
    at: float = 0.0
    wait: float = 0.0
    length: float = 0.0
    choice: float = 0.0
    bytes: int = 0
    is_early: bool = False


class Plan:
    """Everything from one seed. ``queues``: the faults of each stage hand, done side by side, each in its order."""

    def __init__(self, seed: int, kills: int, workers: int, cuts: int) -> None:
        self.seed, self.kills, self.workers, self.cuts = seed, kills, workers, cuts
        self.seconds = max(kills / PACE, cuts * 0.5, 2.0)  # that the faults are spread over
        self.queues = self._queues()

    def orders(self) -> Iterator[Order]:
        """Runs without end."""
        rng = random.Random(f"{self.seed} orders")  # noqa: S311  # chance, not secrets
        long_lines = self.kills // _LONG_LINE_EVERY + 1 if self.kills >= 100 else 0
        number = 0
        while True:
            number += 1
            key = f"crash-{self.seed}-{number}"
            if number % 200 == 20 and long_lines:
                long_lines -= 1
                task = Task(key=key, seed=number, size=_LONG_LINE, shape="line", seconds=1.0)
                yield Order(task=task, is_spared=True)
                continue
            yield _order(rng, key, number)

    def _queues(self) -> dict[str, list[Fault]]:
        rng = random.Random(f"{self.seed} faults")  # noqa: S311  # chance, not secrets
        blows = [(victim, "kill") for victim in self._victims(rng)]
        blows += [(rng.choice(("server", "worker", "starter", "executor", "command")), "stop") for _ in _part(self, 8)]
        blows += [(rng.choice(("server", "worker", "executor", "command")), "terminate") for _ in _part(self, 10)]
        blows += [("command", "kill") for _ in _part(self, 8)]
        rng.shuffle(blows)
        queues: dict[str, list[Fault]] = {"server": [], "run": [], NETWORK: []}
        queues |= {f"worker-{number}": [] for number in range(1, self.workers + 1)}
        turn = 0
        for victim, how in blows:
            name = victim if victim == "server" else "run"
            if victim in ("worker", "starter"):
                turn += 1
                name = f"worker-{turn % self.workers + 1}"
            queues[name].append(self._fault(rng, victim, how))
        for how in self._cuts(rng):
            amount = int(10 ** rng.uniform(0, 6))
            fault = Fault(NETWORK, how, length=rng.uniform(0.5, 4.0), choice=rng.random(), bytes=amount)
            queues[NETWORK].append(fault)
        return {name: self._spread(rng, faults) for name, faults in queues.items()}

    def _victims(self, rng: random.Random) -> list[str]:
        block = [victim for victim, share in KILLED.items() for _ in range(share)]
        victims: list[str] = []
        while len(victims) < self.kills:
            victims += rng.sample(block, len(block))
        return victims[: self.kills]

    def _fault(self, rng: random.Random, victim: str, how: str) -> Fault:
        length = rng.choice((0.05, 0.3, 1.0, 2.0)) * rng.random() if how == "stop" else rng.random() * 0.3
        wait = rng.choice((0.0, 0.1, 0.5)) * rng.random()
        return Fault(victim, how, wait=wait, length=length, choice=rng.random(), is_early=rng.random() < 0.25)

    def _cuts(self, rng: random.Random) -> list[str]:
        """``cuts`` cuts, and some of the rest with them: a silence for each twenty begun."""
        rest = -(-self.cuts // 10)
        hows = ["cut"] * self.cuts + ["silence"] * -(-self.cuts // 20) + ["dribble", "delay", "refuse"] * rest
        rng.shuffle(hows)
        return hows

    def _spread(self, rng: random.Random, faults: list[Fault]) -> list[Fault]:
        moments = sorted(rng.uniform(0.0, self.seconds) for _ in faults)
        return [msgspec.structs.replace(fault, at=at) for fault, at in zip(faults, moments, strict=True)]


def _part(plan: Plan, share: int) -> range:
    return range(plan.kills // share)


def _order(rng: random.Random, key: str, number: int) -> Order:
    kind = rng.random()
    if kind < 0.25:
        size, shape, seconds = 0, "text", 0.0
    elif kind < 0.35:
        size, shape, seconds = 0, "bytes", rng.random()
    elif kind < 0.97:
        size, shape, seconds = (
            int(10 ** rng.uniform(0, 5.2)),
            rng.choice(("bytes", "bytes", "line")),
            rng.random() * 1.5,
        )
    else:
        size, shape, seconds = rng.randrange(1 << 20, 5 << 20), "bytes", rng.random() * 2
    ending = rng.choice(_ENDINGS)
    wish = rng.choices(("", "abort", "cancel"), (85, 9, 6))[0]
    task = Task(
        key=key,
        seed=rng.getrandbits(48) + number,
        size=size,
        shape=shape,
        seconds=round(seconds, 3),
        code=max(ending, 0),
        signal=max(-ending, 0),
        has_results=rng.random() < 0.2,
        has_child=rng.random() < 0.08,
    )
    return Order(task=task, wish=wish, after=rng.choice((0.0, 0.05, 0.5, 1.5)) * rng.random())
