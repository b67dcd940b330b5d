"""The clock of the server jumps (F22): by an hour and by a year, ahead and back."""

from __future__ import annotations

from datetime import datetime

import pytest

from appliance.accounts import Accounts
from appliance.clock import BELIEVED_AFTER, CATCH_UP, MARK_EVERY
from appliance.db.memory.lineage import MemoryLineage
from appliance.db.repository import KEY_LIFE, RunFilter
from appliance.master.conversation import SILENT_FOR
from appliance.master.sweeper import ANSWER_WITHIN, SWEEP_EVERY
from appliance.model.entities import IdempotencyKey, Run
from appliance.model.errors import ApplianceError, Full
from appliance.model.run_state import Reason, Status
from appliance.passwords import PasswordLimits
from appliance.wire import messages as m
from tests.account_place import HERE, PASSWORD
from tests.clock_place import DAY, HOUR, YEAR, Site, jumps
from tests.lease_place import OTHER_JOURNAL, USER

SLOW = 1 / (1 - CATCH_UP)  # so much longer something lives at most while the clock catches up


@pytest.fixture
def site() -> Site:
    site = Site()
    site.accounts.add_user("alice", PASSWORD)
    return site


# ---- F22: what expires


@jumps
def test_fault_F22_nothing_expires_by_a_jump_that_is_put_right_within_the_hour(site: Site, jump: float) -> None:
    login = site.accounts.login("alice", PASSWORD, HERE)
    token, stored = site.accounts.login_for_token("alice", PASSWORD, HERE)
    _, unused = site.workers.create("unused", "alice")
    run = site.trigger()
    key = IdempotencyKey("alice", "key", "digest")
    keyed, _ = site.runs.trigger("p", "work", {}, USER, key=key)
    site.clock.step(jump)
    site.pass_time(BELIEVED_AFTER - 60)
    assert site.is_logged_in(login.cookie) and site.opens(token) and stored.expires_at is not None
    assert site.opens(unused)
    assert site.now(run).status is Status.PENDING
    assert site.runs.trigger("p", "work", {}, USER, key=key) == (keyed, False)
    site.clock.step(-jump)
    site.pass_time(60)
    assert site.is_logged_in(login.cookie) and site.opens(token)
    assert site.now(run).status is Status.PENDING
    assert site.runs.trigger("p", "work", {}, USER, key=key) == (keyed, False)


@pytest.mark.parametrize("jump", [-HOUR, -YEAR])
def test_fault_F22_a_clock_that_went_back_keeps_nothing_for_ever(site: Site, jump: float) -> None:
    login = site.accounts.login("alice", PASSWORD, HERE)
    token, _ = site.accounts.login_for_token("alice", PASSWORD, HERE)
    run = site.trigger()
    site.clock.step(jump)
    site.pass_time(DAY * SLOW - 2 * HOUR, 600)
    assert (site.now(run).status, site.is_logged_in(login.cookie)) == (Status.PENDING, True)
    site.pass_time(2 * HOUR + 600, 600)
    assert (site.now(run).status, site.now(run).reason) == (Status.CANCELLED, Reason.EXPIRED)
    site.pass_time(7 * DAY * SLOW, 6000)
    assert not site.is_logged_in(login.cookie) and not site.opens(token)


@pytest.mark.parametrize("jump", [-HOUR, -YEAR])
def test_fault_F22_what_has_expired_does_not_come_back_with_the_old_time(site: Site, jump: float) -> None:
    login = site.accounts.login("alice", PASSWORD, HERE)
    token, _ = site.accounts.login_for_token("alice", PASSWORD, HERE)
    site.clock.advance(7 * DAY + 1)
    assert not site.is_logged_in(login.cookie) and not site.opens(token)
    site.clock.step(jump)
    assert not site.is_logged_in(login.cookie) and not site.opens(token)


def test_fault_F22_a_jump_that_stays_is_the_time_after_an_hour(site: Site) -> None:
    login = site.accounts.login("alice", PASSWORD, HERE)
    run = site.trigger()
    site.clock.step(YEAR)
    site.pass_time(BELIEVED_AFTER + 60)
    assert not site.is_logged_in(login.cookie)
    assert (site.now(run).status, site.now(run).reason) == (Status.CANCELLED, Reason.EXPIRED)
    assert site.accounts.sessions("alice") == []


@jumps
def test_fault_F22_a_login_during_a_jump_lasts_as_long_as_any_other(site: Site, jump: float) -> None:
    site.clock.step(jump)
    login = site.accounts.login("alice", PASSWORD, HERE)
    site.pass_time(600)
    site.clock.step(-jump)
    site.pass_time(6 * DAY, 6000)
    assert site.is_logged_in(login.cookie)
    fresh = site.accounts.login("alice", PASSWORD, HERE)
    site.pass_time(7 * DAY * SLOW, 6000)
    assert not site.is_logged_in(fresh.cookie)


@pytest.mark.parametrize("jump", [-HOUR, -YEAR])
def test_fault_F22_a_jump_back_while_the_server_was_down_revives_nothing(site: Site, jump: float) -> None:
    login = site.accounts.login("alice", PASSWORD, HERE)
    site.pass_time(7 * DAY, 6000)
    site.clock.step(jump)
    site.restart()
    assert not site.is_logged_in(login.cookie)
    assert site.steady.trouble().startswith("The server's clock moved back ")


def test_fault_F22_a_machine_that_starts_a_year_ahead_and_is_put_right_deletes_no_login(site: Site) -> None:
    site.sweeper.sweep()
    login = site.accounts.login("alice", PASSWORD, HERE)
    site.clock.step(YEAR)
    site.restart()
    site.pass_time(300)
    assert not site.is_logged_in(login.cookie), "nobody can tell this from a year of rest"
    site.clock.step(-YEAR)
    assert site.is_logged_in(login.cookie)


def test_fault_F22_keys_are_forgotten_after_their_time_whatever_the_clock_says(site: Site) -> None:
    key = IdempotencyKey("alice", "key", "digest")
    first, _ = site.runs.trigger("p", "work", {}, USER, key=key)
    site.clock.step(-YEAR)
    site.pass_time(KEY_LIFE.total_seconds() * SLOW + 6000, 6000)
    again, is_new = site.runs.trigger("p", "work", {}, USER, key=key)
    assert is_new and again.number == first.number + 1


@jumps
def test_fault_F22_how_often_one_may_try_is_counted_in_time_that_passes(site: Site, jump: float) -> None:
    strict = Accounts(
        site.repository,
        site.steady,
        site.events,
        site.random.randbytes,
        b"k" * 32,
        PasswordLimits(iterations=1000, logins_per_minute=1, login_burst=1),
    )

    def tries() -> bool:
        try:
            strict.login("alice", PASSWORD, HERE)
        except ApplianceError:
            return False
        return True

    assert (tries(), tries()) == (True, False)
    site.clock.step(jump)
    assert not tries()
    site.clock.advance(61)
    assert tries()


# ---- F22: silence, order


def silent(site: Site) -> Run:
    """A run whose worker has just gone."""
    worker = site.worker()
    run = site.running(worker)
    site.roster.heard(worker.id, site.clock.now())
    return run


@jumps
def test_fault_F22_a_run_is_lost_when_its_worker_was_silent_for_so_long_and_not_by_a_jump(
    site: Site, jump: float
) -> None:
    run = silent(site)
    site.pass_time(60)
    site.clock.step(jump)
    site.sweeper.sweep()
    site.pass_time(HOUR - 120)
    assert site.now(run).status is Status.RUNNING
    site.pass_time(120)
    after = site.now(run)
    assert (after.status, after.sentence) == (Status.LOST, "no contact with w1 for 1 h 01 min")


@jumps
def test_fault_F22_a_worker_has_its_time_to_answer(site: Site, jump: float) -> None:
    site.dispatcher.load()
    _, ear, _ = site.connect(site.worker())
    run = site.trigger()
    site.dispatcher.step()
    assert site.now(run).status is Status.ASSIGNED
    site.sweeper.sweep()
    site.clock.step(jump)
    site.pass_time(ANSWER_WITHIN, SWEEP_EVERY)
    assert ear.closed is None
    site.pass_time(SWEEP_EVERY, SWEEP_EVERY)
    assert ear.closed is not None


@jumps
def test_fault_F22_a_second_machine_waits_until_the_first_was_silent_for_a_minute(site: Site, jump: float) -> None:
    worker = site.worker()
    _, first, _ = site.connect(worker)
    site.clock.step(jump)
    _, second, welcomes = site.connect(worker, journal=OTHER_JOURNAL)
    assert second.closed is not None and welcomes == [] and first.closed is None
    site.clock.advance(SILENT_FOR + 1)
    _, third, welcomes = site.connect(worker, journal=OTHER_JOURNAL)
    assert third.closed is None and len(welcomes) == 1


@jumps
def test_fault_F22_a_worker_that_an_earlier_life_heard_is_replaced_all_the_same(site: Site, jump: float) -> None:
    worker = site.worker()
    site.workers.heard({worker.id: site.clock.now()})
    site.clock.step(jump)
    site.restart()
    _, ear, welcomes = site.connect(worker, journal=OTHER_JOURNAL)
    assert ear.closed is None and len(welcomes) == 1


@jumps
def test_fault_F22_runs_go_by_their_numbers_through_any_jump(site: Site, jump: float) -> None:
    runs = [site.trigger() for _ in range(3)]
    site.clock.step(jump)
    runs += [site.trigger() for _ in range(3)]
    site.pass_time(BELIEVED_AFTER + 60)
    runs += [site.trigger() for _ in range(3)]
    site.clock.step(-jump)
    runs += [site.trigger() for _ in range(3)]
    numbers = [run.number for run in runs]
    assert numbers == list(range(1, 13))
    history = [run.number for run in site.runs.find(RunFilter(), oldest_first=True)]
    assert history == numbers
    assert [run.number for run in site.repository.runs.pending(None, 100)] == [
        run.number for run in site.runs.find(RunFilter(status=(Status.PENDING,)), oldest_first=True)
    ]


@jumps
def test_fault_F22_a_run_keeps_its_length_when_the_clock_jumps_between_its_beginning_and_its_end(
    site: Site, jump: float
) -> None:
    site.dispatcher.load()
    talk, _, _ = site.connect(site.worker())
    run = site.trigger()
    site.dispatcher.step()
    talk.take(m.Accepted(id=2, run=run.id))
    its_clock = site.clock.now().timestamp()
    talk.take(m.Started(id=3, run=run.id, at=its_clock))
    site.clock.step(jump)
    site.clock.advance(100)
    talk.take(site.exited(run, at=its_clock + 90, started_at=its_clock))
    after = site.now(run)
    assert after.started_at is not None and after.finished_at is not None
    assert (after.finished_at - after.started_at).total_seconds() == 90
    assert (site.clock.now() - after.finished_at).total_seconds() == 10


def test_an_exit_record_says_when_the_run_began_if_nobody_had_said_so(site: Site) -> None:
    worker = site.worker()
    run = site.running(worker)
    began = site.clock.now()
    site.clock.advance(30)
    record = site.exited(run, started_at=began.timestamp())
    assert site.leases.exited(site.holder(worker), record) is None
    assert (site.now(run).started_at, site.now(run).finished_at) == (began, site.clock.now())


@jumps
def test_fault_F22_a_run_that_goes_on_through_a_jump_keeps_its_length(site: Site, jump: float) -> None:
    site.dispatcher.load()
    worker = site.worker()
    talk, _, _ = site.connect(worker)
    run = site.trigger()
    site.dispatcher.step()
    talk.take(m.Accepted(id=2, run=run.id))
    its_clock = site.clock.now().timestamp()
    site.clock.step(jump)
    site.clock.advance(100)
    talk.take(m.Started(id=3, run=run.id, at=its_clock + 40))
    site.clock.advance(100)
    talk.take(site.exited(run, at=its_clock + 190))
    after = site.now(run)
    assert after.status is Status.SUCCEEDED and after.started_at is not None and after.finished_at is not None
    assert (after.finished_at - after.started_at).total_seconds() == 150
    assert (site.clock.now() - after.finished_at).total_seconds() == 10


def test_fault_F22_the_time_that_is_certain_is_stored_at_least_once_a_minute(site: Site) -> None:
    for _ in range(20):
        site.clock.advance(SWEEP_EVERY)
        site.sweeper.sweep()
        mark = site.repository.lineage.clock_mark()
        assert mark is not None
        assert 0 <= (site.clock.now() - mark).total_seconds() <= MARK_EVERY - SWEEP_EVERY


@pytest.mark.parametrize("jump", [-HOUR, -YEAR])
def test_fault_F22_runs_go_by_their_numbers_though_the_server_was_killed_before_the_clock_went_back(
    site: Site, jump: float
) -> None:
    site.sweeper.sweep()
    site.clock.advance(MARK_EVERY - 5)
    before = [site.trigger() for _ in range(3)]
    site.clock.step(jump)
    site.restart()
    after = [site.trigger() for _ in range(3)]
    assert site.runs.find(RunFilter(), oldest_first=True) == before + after


class FullLineage(MemoryLineage):
    """A store without room for the time."""

    def put_clock_mark(self, at: datetime) -> None:
        """There is none."""
        raise Full("the server's disk is full")


def test_fault_F22_fault_F16_a_time_that_cannot_be_stored_keeps_no_silent_run_from_being_called_lost(
    site: Site,
) -> None:
    run = silent(site)
    site.repository.lineage.__class__ = FullLineage
    site.pass_time(HOUR + 60)
    assert site.now(run).status is Status.LOST and site.repository.lineage.clock_mark() is None
