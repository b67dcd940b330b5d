"""``orchestra crash-test``: does this installation lose or double anything when it is killed?"""

from __future__ import annotations

import secrets
import signal
from contextlib import ExitStack

import click

from appliance.cli import output
from appliance.cli.base import Command, Globals, pass_globals
from appliance.cli.values import Whole

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # as Ctrl-C: end in order, leave nothing running


@click.command(name="crash-test", cls=Command, example="orchestra crash-test --kills 60")
@click.option("--kills", type=Whole(0, 1_000_000), metavar="N", default=300, help="How many; default 300: two minutes.")
@click.option("--seed", type=Whole(0, 2**63), metavar="S", help="Of an earlier test, to plan the same faults again.")
@click.option("--workers", type=Whole(1, 16), metavar="N", default=2, help="How many; default 2.")
@click.option("--cuts", type=Whole(0, 1_000_000), metavar="N", help="Connections to cut; default: a tenth of --kills.")
@click.option("--keep", is_flag=True, help="Keep the directory though nothing was wrong.")
@pass_globals
def crash_test(options: Globals, kills: int, seed: int | None, workers: int, cuts: int | None, keep: bool) -> int:
    """Kill a server and workers at random, under load, and see what is lost.

    Runs a server and workers of its own in a temporary directory, and touches nothing else. Kills server, workers and
    executors, and stops, continues and cuts off what it meets; waits until all has healed; then compares the statuses
    and logs of all runs with what their jobs did. Exit code 1 if anything was lost, done twice or wrong.
    """
    from appliance.crash_test.plan import Plan
    from appliance.crash_test.trial import crash_test as play

    seed = secrets.randbelow(1_000_000) if seed is None else seed
    plan = Plan(seed, kills, workers, kills // 10 if cuts is None else cuts)
    with ExitStack() as undo:
        for number in _SIGNALS:
            undo.callback(signal.signal, number, signal.signal(number, signal.default_int_handler))
        report = play(plan, output.notice, keep=keep)
    if options.as_json:
        output.write_json(report.document())
    else:
        for line in report.lines():
            output.say(line)
    return 0 if report.is_good else 1
