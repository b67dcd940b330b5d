"""After a restore the worker lists what it keeps, and tells again what it is asked for (F24)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from appliance.wire import INVENTORY_PAGE, MESSAGE_LIMIT, Close, ProtocolError, inventory
from appliance.wire import messages as m
from appliance.wire.local_runs import Abort, Commit, Read, Recall
from appliance.wire.master_end import Merged, Stage
from tests.wire import test_master_end as master
from tests.wire.messages_of import RUN
from tests.wire.test_worker_end import DONE, OTHER, REQUEST, End, local, welcome


def committed(run: str = RUN, at: float = 1.0, **changes: Any) -> Any:
    return local(run, record=DONE, committed=True, committed_at=at, **changes)


def restored(*runs: Any) -> End:
    """A worker that was told that the master was restored."""
    end = End(*runs)
    end.dial()
    end.said()
    end.hear(welcome(reconcile=True))
    return end


# ---- the worker


def test_a_hello_names_the_run_that_was_committed_last() -> None:
    end = End(committed(RUN, 5.0), committed(OTHER, 3.0))
    end.dial()
    (hello,) = end.said()
    assert hello.recalls
    assert (hello.last.run, hello.last.state, hello.runs) == (RUN, "exited", [])
    fresh = End(local())
    fresh.dial()
    assert fresh.said()[0].last is None


def test_fault_F24_what_is_kept_is_listed_once_the_identity_is_durable() -> None:
    end = restored(committed(), local(OTHER))
    assert end.said() == []
    end.resume()
    (page,) = end.said()
    assert isinstance(page, m.InventoryPage)
    assert ([one.run for one in page.runs], page.more) == ([RUN], False)


def test_nothing_is_listed_for_a_master_that_does_not_ask() -> None:
    assert End(committed()).open().said() == []


def test_many_kept_runs_are_listed_in_pages_and_none_at_all_in_one() -> None:
    end = restored(*(committed(f"{number:08x}-7a29-4a8b-9d7e-3f5a4c1e2d60") for number in range(INVENTORY_PAGE + 1)))
    end.resume()
    assert [(len(page.runs), page.more) for page in end.said()] == [(INVENTORY_PAGE, True), (1, False)]
    empty = restored()
    empty.resume()
    assert [(page.runs, page.more) for page in empty.said()] == [([], False)]


def test_fault_F24_a_recalled_run_is_told_again_as_any_other() -> None:
    end = restored(committed(sizes={0: 5}, started_at=2.0))
    end.resume()
    end.said()
    assert end.hear(m.Recall(id=7, run=RUN)) == [Recall(run=RUN)]
    end.recalled(committed(sizes={0: 5}, started_at=2.0), REQUEST)
    assert end.said() == [m.Recalled(id=3, run=RUN, request=REQUEST)]
    assert end.hear(m.ResumePage(id=8, resume=[m.Resume(run=RUN, sizes={0: 2})])) == []
    assert [type(one) for one in end.said()] == [m.Started, Read, m.Exited]
    assert end.hear(m.Committed(id=9, run=RUN)) == [Commit(run=RUN)]
    assert list(end.kept) == [RUN]


def test_fault_F24_a_run_that_goes_on_is_recalled_too_and_its_progress_is_not_lost() -> None:
    end = restored(local(started_at=2.0))
    end.resume()
    assert end.hear(m.Recall(id=7, run=RUN)) == [Recall(run=RUN)]
    end.recalled(local(started_at=2.0), REQUEST)
    end.grew(RUN, {0: 9})
    end.said()
    resume = m.Resume(run=RUN, abort=True, grace=4.0)
    assert end.hear(m.ResumePage(id=8, resume=[resume])) == [Abort(run=RUN, grace=4.0)]
    assert [type(one) for one in end.said()] == [m.Started, Read]


@pytest.mark.parametrize("run", [RUN, OTHER])
def test_a_run_that_is_not_here_or_cannot_be_read_is_unknown(run: str) -> None:
    end = restored(committed())
    end.resume()
    end.said()
    actions = end.hear(m.Recall(id=7, run=run))
    for action in actions:
        assert isinstance(action, Recall)
        end.not_recalled(action.run)
    assert [(type(one), one.run) for one in end.said()] == [(m.Unknown, run)]
    assert list(end.kept) == [RUN]


def test_a_resume_that_no_recall_has_asked_for_is_refused() -> None:
    end = restored(committed())
    end.resume()
    for resume in ([], [m.Resume(run=RUN)], [m.Resume(run=OTHER)]):
        with pytest.raises(ProtocolError) as caught:
            end.hear(m.ResumePage(id=7, resume=resume))
        assert caught.value.close == Close.PROTOCOL


def test_a_new_connection_lists_a_recalled_run_as_live() -> None:
    end = restored(committed())
    end.resume()
    end.hear(m.Recall(id=7, run=RUN))
    end.recalled(committed(), REQUEST)
    end.dial()
    (hello,) = [one for one in end.said() if isinstance(one, m.Hello)]
    assert [(one.run, one.state) for one in hello.runs] == [(RUN, "exited")]
    assert hello.last is None


# ---- pages


def test_fault_F35_a_hello_with_long_properties_and_many_runs_fits_its_messages() -> None:
    runs = [
        local(f"{number:08x}-7a29-4a8b-9d7e-3f5a4c1e2d60", sizes={0: 1 << 49, 2: 1 << 49}) for number in range(1200)
    ]
    end = End(*runs)
    end.dial(properties={f"property {number}": "x" * 900 for number in range(200)})
    said = end.said()
    assert [type(one) for one in said[:2]] == [m.Hello, m.InventoryPage]
    assert sum(len(one.runs) for one in said) == 1200
    assert [one.more for one in said] == [True] * (len(said) - 1) + [False]
    assert all(len(msgspec.json.encode(one)) <= MESSAGE_LIMIT for one in said)


def test_pages_are_full_before_the_next_begins() -> None:
    item = m.Held(run=RUN, cap="c" * 64, digest="d" * 64, state="started", sizes={0: 1 << 49})
    assert inventory.pages([]) == [[]]
    assert [len(page) for page in inventory.pages([item] * (INVENTORY_PAGE + 2))] == [INVENTORY_PAGE, 2]
    assert [len(page) for page in inventory.pages([item] * 3, inventory.PAGE_BYTES)] == [0, 3]


# ---- the master


def test_the_master_hears_of_kept_runs_only_when_it_has_asked() -> None:
    end = master.End()
    greeting = end.hear(master.hello())
    end.welcome(greeting, Merged(reconcile=True), master.AT)
    (said,) = end.said()
    assert said.reconcile
    first, last = m.InventoryPage(id=2, runs=master.held(2), more=True), m.InventoryPage(id=3, runs=[])
    assert (end.hear(first), end.hear(last)) == (first, last)
    assert end.hear(m.InventoryPage(id=4, runs=[])) is None
    assert end.stage is Stage.CLOSED
    assert end.closed is not None
    assert end.closed[0] == Close.PROTOCOL


def test_inv_I2_a_run_that_is_deleted_between_hello_and_list_is_listed_all_the_same() -> None:
    end = restored(committed(), committed(OTHER))
    end.removed(RUN)  # its retention is over: what the hello says of deleted runs is older
    end.resume()
    (page,) = end.said()
    assert {one.run for one in page.runs} == {RUN, OTHER}
    assert end.hear(m.Recall(id=7, run=RUN)) == []
    assert end.said() == [m.Unknown(id=3, re=7, run=RUN)]
