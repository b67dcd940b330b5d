"""The journal: who the worker is, which runs it holds, and what it may delete."""

from __future__ import annotations

import asyncio
import stat
import uuid
from pathlib import Path

import pytest

from appliance.clock import FakeClock
from appliance.model.errors import Conflict, Invalid, Malformed
from appliance.wire.local_runs import Identity
from appliance.worker import rundir
from appliance.worker.disk import Disk
from appliance.worker.journal import Journal, Recovered
from tests.worker.executions import CAP, request_of, workshop

RUN = "11111111-2222-4333-8444-555555555555"


def opened(path: Path) -> Journal:
    """An open journal."""
    journal = Journal(path)
    journal.open()
    return journal


def test_the_identity_is_made_once_and_kept(tmp_path: Path) -> None:
    first = opened(tmp_path)
    assert len(first.identity.journal) == 32
    synchronised = Identity(journal=first.identity.journal, cluster="c" * 32, epoch=3, incarnation="i" * 32)
    first.keep(synchronised)
    first.close()
    assert opened(tmp_path).identity == synchronised


def test_a_journal_never_changes_its_cluster(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    known = Identity(journal=journal.identity.journal, cluster="c" * 32)
    journal.keep(known)
    with pytest.raises(Conflict):
        journal.keep(Identity(journal=known.journal, cluster="d" * 32))
    with pytest.raises(Conflict):
        journal.keep(Identity(journal="e" * 32, cluster=known.cluster))


def test_two_workers_never_share_a_journal(tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(Conflict, match="another worker process"):
        Journal(tmp_path).open()
    first.close()
    first.close()
    opened(tmp_path).close()


@pytest.mark.parametrize("content", [b"", b"{", b'{"journal": 3}'])
def test_a_damaged_identity_stops_the_worker_and_nothing_is_touched(tmp_path: Path, content: bytes) -> None:
    opened(tmp_path).close()
    (tmp_path / "identity.json").write_bytes(content)
    with pytest.raises(Invalid, match="damaged"):
        Journal(tmp_path).open()
    assert (tmp_path / "identity.json").read_bytes() == content


def test_runs_without_an_identity_are_not_taken_over(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.accept(RUN, CAP, request_of(RUN, [["true"]]), {})
    journal.close()
    (tmp_path / "identity.json").unlink()
    with pytest.raises(Invalid, match="holds runs"):
        Journal(tmp_path).open()


def test_inv_I6_an_assignment_may_be_repeated_but_not_changed(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    request = request_of(RUN, [["true"]])
    for _ in range(2):
        journal.accept(RUN, CAP, request, {"A": "1"})
    with pytest.raises(Conflict):
        journal.accept(RUN, CAP, request + " ", {})
    (held,) = journal.runs()
    assert (held.run, held.cap, held.sizes, held.record, held.needs_secrets) == (RUN, CAP, {}, None, False)
    assert journal.recover() == Recovered(waiting=(RUN,))


@pytest.mark.parametrize(
    "request_text",
    [
        "{",
        "[]",
        "{}",
        request_of(RUN, [[]]),
        request_of(RUN, [""]),
        request_of(RUN, [3]),
        request_of(RUN, [["true"]], format=2),
        request_of(RUN, [["true"]], timeout=-1),
        request_of(RUN, [["true"]], parameters={"a": [1]}),
        request_of(str(uuid.UUID(int=5)), [["true"]]),
    ],
)
def test_a_request_that_cannot_be_run_is_refused_and_leaves_nothing(tmp_path: Path, request_text: str) -> None:
    journal = opened(tmp_path)
    with pytest.raises(Invalid):
        journal.accept(RUN, CAP, request_text, {"A": "1"})
    assert journal.runs() == []
    assert list((tmp_path / "runs").iterdir()) == list((tmp_path / "runtime").iterdir()) == []
    assert issubclass(Malformed, Invalid)


@pytest.mark.parametrize("run_id", ["../../etc", "x", "", RUN.upper() + "A", RUN + "\n", "/" + RUN])
def test_req_S_23_only_a_run_id_becomes_a_path(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(Invalid):
        opened(tmp_path).run_directory(run_id)


def test_req_S_55_what_the_worker_keeps_is_its_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workshop(tmp_path / "worker") as shop:
            run_id = shop.launch([["true"]], secrets={"A": "1"})
            await shop.end(run_id)
            shop.accept([["true"]], secrets={"A": "1"})
            found = list((tmp_path / "worker").rglob("*"))
            assert len(found) > 12
            for path in [tmp_path / "worker", *found]:
                if not path.is_socket():
                    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path

    asyncio.run(scenario())


def test_a_torn_assignment_was_never_accepted_and_goes(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    torn = tmp_path / "runs" / RUN
    torn.mkdir()
    (torn / "request.json.tmp").write_text("{")
    assert journal.recover() == Recovered()
    assert not torn.exists()
    assert not journal.has_trash


def test_a_run_that_cannot_be_read_is_left_alone_and_stops_nobody(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    other = str(uuid.UUID(int=7))
    for run_id in (RUN, other):
        journal.accept(run_id, CAP, request_of(run_id, [["true"]]), {})
    (tmp_path / "runs" / RUN / "request.json").write_text("{")
    assert [run.run for run in journal.runs()] == [other]
    journal.recover()
    assert (tmp_path / "runs" / RUN / "request.json").read_text() == "{"


def test_inv_I5_only_what_the_master_has_is_deleted_and_after_its_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workshop(tmp_path) as shop:
            journal = shop.journal
            first, second, third = [shop.launch(["echo some output"]) for _ in range(3)]
            for run_id in (first, second, third):
                await shop.end(run_id)
            for run_id in (first, second):
                journal.commit(run_id)
                journal.commit(run_id)
            assert journal.trim() == []
            assert {run.run for run in journal.runs() if run.committed} == {first, second}
            assert journal.read(first, 0, 0, 100) == b"some output\n"
            assert set(journal.trim(keep_seconds=-1.0)) == {first, second}
            assert [run.run for run in journal.runs()] == [third]
            assert journal.trim(keep_seconds=-1.0, keep_bytes=0) == []
            journal.commit(third)
            assert journal.trim(keep_bytes=0) == [third]

    asyncio.run(scenario())


DAY = 86_400.0


def test_inv_I5_what_the_master_has_is_kept_for_its_time_and_then_deleted(tmp_path: Path) -> None:
    clock = FakeClock()
    journal = Journal(tmp_path, clock=clock)
    journal.open()
    finished = str(uuid.UUID(int=9))
    for run_id in (RUN, finished):
        journal.accept(run_id, CAP, request_of(run_id, [["true"]]), {})
        assert journal.end_unstarted(run_id, "aborted", "requested", "why")
    journal.commit(RUN)
    clock.advance(DAY - 1)
    assert journal.trim() == []
    journal.commit(RUN)  # said again: the time does not begin anew
    clock.advance(2)
    assert journal.trim() == [RUN]
    clock.advance(1000 * DAY)  # what the master has not said to have is kept for ever
    assert journal.trim(keep_seconds=0.0, keep_bytes=0) == []
    assert [run.run for run in journal.runs()] == [finished]
    journal.close()


def test_inv_I5_the_oldest_go_first_when_what_is_kept_takes_too_much(tmp_path: Path) -> None:
    clock = FakeClock()
    journal = Journal(tmp_path, clock=clock)
    journal.open()
    run_ids = [str(uuid.UUID(int=number)) for number in (3, 1, 2)]
    for run_id in run_ids:
        journal.accept(run_id, CAP, request_of(run_id, [["true"]]), {})
        assert journal.end_unstarted(run_id, "aborted", "requested", "why")
        journal.run_directory(run_id).replace(rundir.LOG, b"x" * 1000)
        journal.commit(run_id)
        clock.advance(60)
    assert journal.trim(keep_bytes=3000) == []
    assert journal.trim(keep_bytes=2999) == run_ids[:1]
    assert journal.trim(keep_bytes=999) == [run_ids[2], run_ids[1]]
    journal.close()


def test_inv_I5_a_run_that_the_disk_does_not_let_go_stays_until_the_next_time(tmp_path: Path) -> None:
    class Stubborn(Disk):
        is_broken = True

        def rename(self, old: str, new: str) -> None:
            if self.is_broken and "trash" in new:
                raise OSError(5, "Input/output error")
            super().rename(old, new)

    disk = Stubborn()
    journal = Journal(tmp_path, disk=disk)
    journal.open()
    journal.accept(RUN, CAP, request_of(RUN, [["true"]]), {})
    assert journal.end_unstarted(RUN, "aborted", "requested", "why")
    journal.run_directory(RUN).replace_object(rundir.ACKED, {"at": 0})
    assert journal.trim() == []
    disk.is_broken = False
    assert journal.trim() == [RUN]
    journal.close()


def test_a_commit_before_the_end_changes_nothing(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.accept(RUN, CAP, request_of(RUN, [["true"]]), {})
    journal.commit(RUN)
    assert not journal.run_directory(RUN).has(rundir.ACKED)


def test_req_X9_the_workspace_goes_when_the_master_has_the_run_even_if_the_job_locked_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workshop(tmp_path) as shop:
            run_id = shop.launch(["mkdir -p a/b; touch a/b/c; chmod 0 a/b; chmod 500 a; ln -s / root"])
            await shop.end(run_id)
            shop.journal.commit(run_id)
            assert not shop.directory(run_id).has(rundir.WORKSPACE)
            shop.journal.empty_trash()
            assert not shop.journal.has_trash

    asyncio.run(scenario())


def test_a_run_is_forgotten_only_when_its_executor_is_gone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workshop(tmp_path) as shop:
            run_id = shop.launch(["echo ready; sleep 300"])
            await shop.said(run_id, b"ready")
            assert not shop.journal.forget(run_id)
            shop.supervisor.abort(run_id, 5.0)
            await shop.end(run_id)
            async with asyncio.timeout(30):
                while not shop.journal.forget(run_id):  # the executor lets go of its lock as it ends
                    await asyncio.sleep(0)
            assert shop.journal.run(run_id) is None
            assert shop.journal.forget(run_id)
            assert shop.journal.read(run_id, 0, 0, 10) == b""

    asyncio.run(scenario())


def test_fault_F24_a_journal_says_since_when_it_has_everything_before_it_deletes_anything(tmp_path: Path) -> None:
    clock = FakeClock()
    journal = Journal(tmp_path, clock=clock)
    journal.open()
    made = clock.now().timestamp()
    assert journal.watermark.since == 0
    for run_id in (RUN, str(uuid.UUID(int=9))):
        clock.advance(60)
        journal.accept(run_id, CAP, request_of(run_id, [["true"]]), {})
        assert journal.end_unstarted(run_id, "aborted", "requested", "why")
        journal.commit(run_id)
    assert journal.trim() == []
    assert journal.watermark.since == 0
    clock.advance(DAY - 30)

    journal.close()
    again = Journal(tmp_path, clock=clock)
    again.open()
    assert again.watermark.since == 0
    assert again.trim() == [RUN]
    assert again.watermark.since == made + 60
    again.close()
    last = Journal(tmp_path, clock=clock)
    last.open()
    assert last.watermark.since == made + 60
    last.close()


def test_a_damaged_watermark_stops_the_worker(tmp_path: Path) -> None:
    opened(tmp_path).close()
    (tmp_path / "complete.json").write_bytes(b"{}")
    with pytest.raises(Invalid, match=r"complete\.json is damaged"):
        Journal(tmp_path).open()
