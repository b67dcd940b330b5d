"""The project files change while runs go through: no run is lost or changed, and what is removed leaves its history."""

from __future__ import annotations

import json
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from appliance.client import Client
from appliance.projects import definition_version
from tests.journeys.site import LONG_ENOUGH, Site

RELOADS = 100  # with two runs each
IN_FLIGHT = 16  # runs that were triggered and are not waited for yet
WORDS = ("first", "second")
OFTEN = 5  # each fifth reload is followed by a SIGHUP


def versioned(word: str) -> dict[str, Any]:
    """The job in one of its two versions: it prints the word."""
    return {"identifier": "versioned", "definition": {"commands": [["echo", word]]}}


def write(site: Site, name: str, project: str, *jobs: dict[str, Any]) -> None:
    """A project file, there in full or not at all."""
    folder = site.directory / "server" / "projects"
    part = folder / f".{name}.part"
    part.write_text(json.dumps({"projects": [{"identifier": project, "jobs": list(jobs)}]}))
    part.chmod(0o600)
    part.rename(folder / name)


class Load:
    """So many runs in pairs, and one reload beside each pair, all at once with a reader of pages and lists."""

    def __init__(self, site: Site, reloads: int) -> None:
        self.site, self.reloads = site, reloads
        self._pairs = threading.Semaphore(0)
        self._is_over = threading.Event()
        self.triggered: list[dict[str, Any]] = []
        self.reads = 0

    def run(self) -> None:
        """Until all is done; raises what a request was refused with."""
        with ThreadPoolExecutor() as pool:
            others = [pool.submit(self._reload), pool.submit(self._read)]
            try:
                self._trigger()
            finally:
                self._pairs.release(self.reloads)
                self._is_over.set()
            for one in others:
                one.result(LONG_ENOUGH)

    def _trigger(self) -> None:
        for number in range(2 * self.reloads):
            self.triggered.append(self.site.client.trigger("reloaded", "versioned"))
            if number % 2:
                self._pairs.release()
            if number >= IN_FLIGHT:
                self.site.wait(self.triggered[number - IN_FLIGHT]["id"])

    def _reload(self) -> None:
        with Client(self.site.url, self.site.token) as client:
            for number in range(self.reloads):
                self._pairs.acquire()
                write(self.site, "reloaded.yaml", "reloaded", versioned(WORDS[(number + 1) % 2]))
                assert client.apply_configuration()["is_applied"]
                if number % OFTEN == 0:
                    self.site.server.hang_up()

    def _read(self) -> None:
        with Client(self.site.url, self.site.token) as client:
            while not self._is_over.is_set():
                assert client.job("reloaded", "versioned")["identifier"] == "versioned"
                assert len(list(client.runs(project="reloaded", limit=5))) <= 5
                self.reads += 1


@pytest.mark.long
def test_req_D3_reloads_under_load_lose_and_change_no_run_and_fail_no_request(site: Site) -> None:
    write(site, "reloaded.yaml", "reloaded", versioned(WORDS[0]))
    site.client.apply_configuration()
    words = {definition_version(versioned(word)): word for word in WORDS}
    before = sum(1 for _ in site.client.runs(project="reloaded"))
    load = Load(site, RELOADS)
    load.run()

    assert len(load.triggered) == 2 * RELOADS and load.reads > 0
    ran = set()
    for run in load.triggered:
        ended = site.wait(run["id"])
        assert ended["status"] == "succeeded", ended
        same = ("id", "number", "job", "parameters", "source", "created_at", "definition_version")
        assert {name: ended[name] for name in same} == {name: run[name] for name in same}
        word = words[run["definition_version"]]
        assert site.log(run["id"]) == f"{word}\n".encode(), "it ran with the version it was triggered with"
        assert site.client.definition(run["id"])["job"] == versioned(word)
        ran.add(word)
    assert ran == set(WORDS)
    numbers = [run["number"] for run in load.triggered]
    assert numbers == list(range(before + 1, before + 2 * RELOADS + 1)), "none is missing, none came twice"
    assert sum(1 for _ in site.client.runs(project="reloaded")) == before + len(numbers)
    log = site.server.log.read_text()
    assert "the configuration was reloaded" in log and "was not reloaded" not in log
    site.assert_healthy()


def test_req_D3_a_removed_project_keeps_its_runs_and_goes_on_counting_when_it_returns(site: Site) -> None:
    once = {"identifier": "once", "definition": {"commands": [["echo", "said once"]]}}
    never = {"identifier": "never", "requires": {"nowhere": "to be found"}, "definition": once["definition"]}
    write(site, "passing.yaml", "passing", once, never)
    assert site.out("config", "diff").decode() == "+ project passing\n+ job passing/once\n+ job passing/never\n"
    site.out("config", "apply")
    ended = json.loads(site.out("trigger", "passing/once", "--wait", "--json"))
    waiting = site.client.trigger("passing", "never")

    (site.directory / "server" / "projects" / "passing.yaml").unlink()
    ran = site.run("config", "apply")
    assert ran.stdout.decode() == "- project passing\n- job passing/once\n- job passing/never\n"
    assert ran.stderr.decode() == "1 waiting run of removed jobs cancelled\n"
    gone = site.wait(waiting["id"])
    assert (gone["status"], gone["reason"]) == ("cancelled", "removed")

    site.server.terminate()
    site.server.start()
    assert site.out("run", "log", "passing/once#1") == b"said once\n"
    assert site.client.named_run("passing/once#latest") == ended
    for path in ("/p/passing", "/p/passing/once", "/p/passing/once/1", "/p/passing/once/1/log"):
        request = urllib.request.Request(site.url + path, headers={"Authorization": f"Bearer {site.token}"})
        with urllib.request.urlopen(request, timeout=LONG_ENOUGH) as answer:
            assert answer.status == 200, path
    assert site.run("trigger", "passing/once").returncode == 3

    write(site, "passing.yaml", "passing", once)
    site.out("config", "apply")
    assert site.out("trigger", "passing/once", "--wait").decode().startswith("passing/once#2")
    (site.directory / "server" / "projects" / "passing.yaml").unlink()
    site.out("config", "apply")
    site.assert_healthy()


def test_fault_F40_a_bad_file_is_refused_and_the_server_goes_on(site: Site) -> None:
    bad = site.directory / "server" / "projects" / "bad.yaml"
    before = site.client.configuration()
    bad.write_text("projects: [{identifier: bad, jobs: [{identifier: j, definitoin: {}}]}]\n")
    bad.chmod(0o600)
    try:
        ran = site.run("config", "apply")
        assert ran.returncode == 1
        lines = ran.stdout.decode().splitlines()
        assert lines and all(line.startswith(f"{bad}:1: bad/j: ") for line in lines)
        assert "did you mean 'definition'?" in ran.stdout.decode()
        assert site.client.configuration() == before
    finally:
        bad.unlink()
    assert site.out("config", "apply") == b""
