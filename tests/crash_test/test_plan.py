"""What a seed settles, and what it does not leave to chance."""

from __future__ import annotations

from itertools import islice

import pytest

from appliance.crash_test.evidence import printed
from appliance.crash_test.job import pieces
from appliance.crash_test.plan import KILLED, NETWORK, Plan


def blows(plan: Plan) -> list[tuple[str, str]]:
    return [(fault.victim, fault.how) for faults in plan.queues.values() for fault in faults]


def test_the_same_seed_is_the_same_plan_and_another_one_is_not() -> None:
    one, again, other = (Plan(seed, 100, 2, 10) for seed in (7, 7, 8))
    assert one.queues == again.queues != other.queues
    assert list(islice(one.orders(), 300)) == list(islice(again.orders(), 300)) != list(islice(other.orders(), 300))


@pytest.mark.parametrize("kills", [0, 1, 12, 300, 3000])
def test_goal_R1_exactly_as_many_kills_of_server_workers_and_executors_are_planned_as_asked(kills: int) -> None:
    done = blows(Plan(3, kills, 2, 0))
    assert sum(how == "kill" and victim in KILLED for victim, how in done) == kills


def test_goal_R1_each_kind_of_victim_has_its_share_of_the_kills() -> None:
    done = blows(Plan(3, 300, 2, 0))
    assert {victim: done.count((victim, "kill")) for victim in KILLED} == {
        "server": 45,
        "worker": 90,
        "starter": 15,
        "executor": 150,
    }


def test_goal_R5_cuts_are_planned_as_asked_with_a_silence_for_each_twenty_begun() -> None:
    done = blows(Plan(3, 0, 2, 20))
    assert {victim for victim, _ in done} == {NETWORK}
    assert done.count((NETWORK, "cut")) == 20
    assert done.count((NETWORK, "silence")) == 1
    assert blows(Plan(3, 0, 2, 21)).count((NETWORK, "silence")) == 2


def test_each_worker_has_a_queue_of_its_own_and_moments_ascend() -> None:
    plan = Plan(3, 90, 3, 9)
    assert {"worker-1", "worker-2", "worker-3"} < set(plan.queues)
    for faults in plan.queues.values():
        assert faults
        moments = [fault.at for fault in faults]
        assert moments == sorted(moments)
        assert max(moments) <= plan.seconds


def test_the_load_has_runs_of_every_kind() -> None:
    orders = list(islice(Plan(3, 300, 2, 0).orders(), 2000))
    tasks = [order.task for order in orders]
    assert len({task.key for task in tasks}) == len(tasks)
    assert {order.wish for order in orders} == {"", "abort", "cancel"}
    assert {task.shape for task in tasks} == {"text", "bytes", "line"}
    assert {0, 1, 7, 255} <= {task.code for task in tasks}
    assert len({task.signal for task in tasks}) == 4
    assert any(task.has_results for task in tasks) and any(task.has_child for task in tasks)
    assert any(task.size == 0 and task.shape == "bytes" for task in tasks)
    assert any(1 << 20 < task.size < 100_000_000 for task in tasks)


def test_goal_R2_a_line_of_100_MB_comes_early_and_once_for_each_thousand_kills() -> None:
    spared = [order.task.size for order in islice(Plan(3, 300, 2, 0).orders(), 2000) if order.is_spared]
    assert spared == [100_000_000]
    lines = [n for n, order in enumerate(islice(Plan(3, 300, 2, 0).orders(), 2000)) if order.task.size == 100_000_000]
    assert len(lines) == 1 and lines[0] < 30
    assert sum(order.task.size == 100_000_000 for order in islice(Plan(3, 3000, 2, 0).orders(), 2000)) == 4
    assert not any(order.task.size == 100_000_000 for order in islice(Plan(3, 12, 2, 0).orders(), 2000))


def test_ordinary_runs_print_so_little_that_any_number_of_them_fits_on_a_disk() -> None:
    tasks = [order.task for order in islice(Plan(3, 12, 2, 0).orders(), 5000)]
    assert sum(map(printed, tasks)) / len(tasks) < 200_000


def test_what_a_task_prints_has_the_size_it_says_and_a_line_has_no_break() -> None:
    for order in islice(Plan(5, 12, 2, 0).orders(), 60):
        task = order.task
        content = b"".join(pieces(task.seed, task.size, task.shape))
        assert len(content) == printed(task)
        assert content == b"".join(pieces(task.seed, task.size, task.shape))
        if task.shape == "line":
            assert b"\n" not in content
