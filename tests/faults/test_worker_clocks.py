"""The clock of a worker is wrong (F23), by minutes and by a year, ahead and back."""

from __future__ import annotations

import pytest

from appliance.db.repository import RunFilter
from appliance.model.run_state import Status
from appliance.wire import messages as m
from tests.clock_place import YEAR, Site


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize("off", [420.0, -420.0, YEAR, -YEAR])
def test_fault_F23_runs_of_a_worker_with_a_wrong_clock_have_our_times(site: Site, off: float) -> None:
    site.dispatcher.load()
    worker = site.worker()
    talk, _, _ = site.connect(worker, at=site.clock.now().timestamp() + off)
    runs = [site.trigger() for _ in range(2)]
    site.dispatcher.step()
    for run in runs:
        talk.take(m.Accepted(id=2, run=run.id))
        began = site.clock.now()
        talk.take(m.Started(id=3, run=run.id, at=began.timestamp() + off))
        site.clock.advance(30)
        talk.take(site.exited(run, at=site.clock.now().timestamp() + off))
        after = site.now(run)
        assert (after.status, after.started_at, after.finished_at) == (Status.SUCCEEDED, began, site.clock.now())
    newest_first = [run.number for run in site.runs.find(RunFilter())]
    assert newest_first == [2, 1]


@pytest.mark.parametrize("off", [YEAR, -YEAR])
def test_fault_F23_a_worker_whose_clock_is_put_right_while_it_works_ends_its_run_all_the_same(
    site: Site, off: float
) -> None:
    site.dispatcher.load()
    talk, _, _ = site.connect(site.worker(), at=site.clock.now().timestamp() + off)
    run = site.trigger()
    site.dispatcher.step()
    talk.take(m.Accepted(id=2, run=run.id))
    talk.take(m.Started(id=3, run=run.id, at=site.clock.now().timestamp() + off))
    talk.take(site.exited(run, at=site.clock.now().timestamp()))
    after = site.now(run)
    assert after.status is Status.SUCCEEDED
    assert after.finished_at is not None and after.finished_at <= site.clock.now()


@pytest.mark.parametrize(
    ("off", "said"),
    [
        (420.0, "its clock was 7 min 00 s ahead of the server's when it connected last: set it right"),
        (-YEAR, "its clock was 365 d 0 h behind the server's when it connected last: set it right"),
        (29.0, ""),
    ],
)
def test_fault_F23_a_wrong_clock_of_a_worker_is_said(site: Site, off: float, said: str) -> None:
    worker = site.worker()
    site.connect(worker, at=site.clock.now().timestamp() + off)
    assert site.workers.named("w1").clock == said
