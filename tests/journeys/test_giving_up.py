"""Workers that are away, were sent away or do not fit: what people see and can do, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import Request, urlopen

import pytest
from websockets.exceptions import InvalidStatus

from appliance.model.errors import Conflict
from tests.journeys.raw_worker import OUTPUT, RawWorker, dial, token_of
from tests.journeys.site import Site, opened

NAMES = ("gone", "revoked", "owned", "old", "racing", "half")
JOBS: list[dict[str, Any]] = [
    {"identifier": name, "requires": {"who": name}, "definition": {"commands": ["true"]}} for name in NAMES
]
PROJECTS: dict[str, Any] = {"projects": [{"identifier": "journeys", "display_name": "Journeys", "jobs": JOBS}]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECTS) as site:
        yield site


def away(site: Site, name: str) -> None:
    """Wait until the server has noticed that the worker's connection is gone."""
    while site.client.worker(name)["is_active"]:
        pass


def get(site: Site, path: str) -> bytes:
    request = Request(site.url + path, headers={"Authorization": f"Bearer {site.token}"})
    with urlopen(request) as answer:
        return bytes(answer.read())


def test_fault_F10_a_run_of_a_silent_worker_is_declared_lost_and_reported_later(site: Site) -> None:
    token = token_of(site, "gone")
    with RawWorker(site, token) as worker:
        worker.greet()
        run, held = worker.begin("gone")
        name = f"journeys/gone#{site.client.run(run)['number']}"
        refused = site.run("run", "declare-lost", name)
        assert refused.returncode == 1 and b"abort" in refused.stderr
    away(site, "gone")
    assert b"declared lost by root" in site.out("run", "declare-lost", name)
    ended = site.client.run(run)
    assert (ended["status"], ended["reason"], ended["late"]) == ("errored", "declared_lost", None)
    with pytest.raises(Conflict):
        site.client.declare_lost(run)

    whole = OUTPUT + b"and more\n"
    with RawWorker(site, token, worker.journal) as back:
        welcome = back.greet(held)
        assert welcome["resume"][0]["sizes"]["0"] == 0
        back.print(run, 0, whole)
        back.exit(run, whole, status="failed", reason="exit_code", code=3)
        back.hear("committed")
    after = site.client.run(run)
    late = after.pop("late")
    assert after == {key: value for key, value in ended.items() if key != "late"}
    assert (late["status"], late["exit"]["code"], late["log"]["verified"]) == ("failed", 3, True)
    assert get(site, f"/api/v1/runs/{run}/late/log") == whole
    assert site.log(run) in (OUTPUT, b"")  # what had arrived; it is not sent again
    site.assert_healthy()


def test_fault_F25_a_revoked_worker_is_closed_at_once_and_goes_on_at_the_byte_with_a_new_token(site: Site) -> None:
    token = token_of(site, "revoked")
    with RawWorker(site, token) as worker:
        worker.greet()
        run, held = worker.begin("revoked")
        told = site.run("worker", "revoke", "revoked")
        assert b"revoked by root" in told.stderr and b"1 of its runs waits" in told.stderr
        assert worker.closed()[0] == 4002
    with pytest.raises(InvalidStatus) as refused, dial(site, token):
        pass
    assert refused.value.response.status_code == 401
    with pytest.raises(Conflict):
        site.client.remove_worker("revoked")
    before = site.client.run(run)
    assert before["status"] == "running"
    assert "revoked by root" in site.client.worker("revoked")["trouble"]
    new = token_of(site, "revoked")  # as: orchestra worker token revoked
    assert new != token
    with RawWorker(site, new, worker.journal) as back:
        (resume,) = back.greet(held)["resume"]
        assert resume["sizes"]["0"] == site.client.log(run).size
        back.print(run, resume["sizes"]["0"], OUTPUT[resume["sizes"]["0"] :] or b"x")
        back.exit(run, site.log(run))
        back.hear("committed", "nack")
        assert site.client.worker("revoked")["trouble"] == ""
        site.client.revoke_worker("revoked", "give_up")
        assert back.closed()[0] == 4002
    assert site.wait(run)["status"] in ("succeeded", "errored")
    site.client.remove_worker("revoked")
    site.assert_healthy()


def test_fault_F25_a_worker_whose_owner_is_disabled_is_sent_away_until_that_ends(site: Site) -> None:
    site.client.add_user("ada", "correct horse battery staple", ["administrator"])
    with type(site.client)(site.url) as hers:
        hers.login("ada", "correct horse battery staple")
        token = str(hers.create_worker("owned", {"who": "owned"})["token"])
    with RawWorker(site, token) as worker:
        worker.greet()
        run, held = worker.begin("owned")
        site.client.enable_user("ada", False)
        assert worker.closed()[0] == 4002
    with pytest.raises(InvalidStatus) as refused, dial(site, token):
        pass
    assert refused.value.response.status_code == 403
    site.client.enable_user("ada", True)
    with RawWorker(site, token, worker.journal) as back:
        back.greet(held)
        output = site.log(run)
        back.exit(run, output)
        back.hear("committed")
    assert site.wait(run)["status"] == "succeeded"
    site.assert_healthy()


def test_fault_F37_a_worker_that_is_too_old_is_told_so_and_so_is_the_administrator(site: Site) -> None:
    token = token_of(site, "old")
    with RawWorker(site, token) as worker:
        worker.greet()
        run, held = worker.begin("old")
    with RawWorker(site, token, worker.journal) as outdated:
        outdated.hello(held, protocols=[0, 0], software="orchestra-appliance 0.0.1")
        said = outdated.hear("error")["text"]
        assert "protocol 0 to 0" in said and "1 to 1" in said and "orchestra-appliance 0.0.1" in said
        assert outdated.closed()[0] == 4006
    trouble = site.client.worker("old")["trouble"]
    assert trouble.startswith("the worker is too old") and trouble.endswith("1 of its runs waits")
    assert site.client.run(run)["status"] == "running"
    with RawWorker(site, token, worker.journal) as upgraded:
        upgraded.greet(held)
        assert site.client.worker("old")["trouble"] == ""
        upgraded.exit(run, site.log(run))
        upgraded.hear("committed")
    site.assert_healthy()


def test_fault_F15_connections_of_one_journal_race_and_the_newest_wins(site: Site) -> None:
    token = token_of(site, "racing")
    with RawWorker(site, token) as first:
        first.greet()
        run, held = first.begin("racing")
        for _ in range(5):
            with ThreadPoolExecutor(8) as pool:
                racers = list(pool.map(lambda _: RawWorker(site, token, first.journal), range(8)))
                list(pool.map(lambda racer: racer.hello(held), racers))
            with RawWorker(site, token, first.journal) as last:  # the newest of all
                last.greet(held)
                with ThreadPoolExecutor(8) as pool:
                    assert set(pool.map(lambda racer: racer.closed()[0], racers)) == {4001}
        with RawWorker(site, token, first.journal) as last:
            last.greet(held)
            last.exit(run, site.log(run))
            last.hear("committed")
    assert site.wait(run)["status"] == "succeeded"
    site.assert_healthy()


def test_inv_I7_a_worker_has_one_unfinished_hello_at_a_time(site: Site) -> None:
    token = token_of(site, "half")
    with RawWorker(site, token) as first, RawWorker(site, token, first.journal) as second:
        first.hello(more=True)
        second.hello(more=True)
        assert first.closed()[0] == 4001
        with RawWorker(site, token, first.journal) as third:
            third.greet()
            assert second.closed()[0] == 4001
    site.assert_healthy()
