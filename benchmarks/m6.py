"""M6: memory and CPU of an idle appliance."""

from __future__ import annotations

import time

from benchmarks.contestant import Contestant, Floor
from benchmarks.lib import Series, goal, known, tell, title
from benchmarks.processes import seconds_of, tree, use
from benchmarks.product import Product

WATCHED = 60.0  # seconds
SERVER, WORKER, CPU = 80, 40, 1  # MB, MB, %: first goals


def idle(contestant: Contestant, watched: float) -> dict[str, Series]:
    """Resident and proportional memory of both trees, and their CPU while nothing happens."""
    found: dict[str, Series] = {}
    contestant.run_many("noop", 5)  # whatever is loaded at first use is loaded
    time.sleep(5)
    roots = {"server": contestant.server.pid, "worker": contestant.worker.pid}
    before = {name: seconds_of(pid) for name, pid in roots.items()}
    time.sleep(watched)
    for name, pid in roots.items():
        parts = use(tree(pid))
        for one in parts:
            sizes = f"RSS {one.resident:6.1f} MB  PSS {one.proportional:6.1f} MB  private {one.private:6.1f} MB"
            print(f"    {contestant.name}, {name}: {sizes}  {one.command[:70]}")
        said = f"{contestant.name}: {name}"
        found[f"{name} sum"] = Series(f"{said}, RSS of all its processes", "MB", [sum(one.resident for one in parts)])
        once = (
            max(one.resident for one in parts)
            + sum(one.private for one in parts)
            - max(parts, key=lambda one: one.resident).private
        )
        found[f"{name} RSS"] = Series(f"{said}, RSS, what its processes share counted once", "MB", [once])
        found[f"{name} PSS"] = Series(
            f"{said}, PSS of all its processes", "MB", [sum(one.proportional for one in parts)]
        )
        found[f"{name} CPU"] = Series(f"{said}, CPU", "% of a core", [100 * (seconds_of(pid) - before[name]) / watched])
    return found


def main(samples: int) -> bool:
    """Measure and print; answers whether the first goal is met."""
    watched = WATCHED if samples > 1 else 10.0
    title(
        "M6",
        "idle: memory and CPU",
        f"5 runs, then nothing for {watched:.0f} s, one worker connected; the goals are for RSS with libraries that the"
        " processes of one side share counted once: the largest process whole, of the others what is private",
    )
    with Floor(4) as floor:
        lowest = idle(floor, watched)
    with Product(4) as product:
        ours = idle(product, watched)
    tell(*lowest.values(), *ours.values())
    known(["all processes: Laminar 9.6 MB, Cronicle 87 MB, Buildbot 148 MB, Prefect 306 MB"])
    cpu = ours["server CPU"].median + ours["worker CPU"].median
    met = [
        goal("server RSS", ours["server RSS"].median, SERVER, "MB"),
        goal("worker RSS", ours["worker RSS"].median, WORKER, "MB"),
        goal("CPU of both", cpu, CPU, "%"),
    ]
    return all(met)
