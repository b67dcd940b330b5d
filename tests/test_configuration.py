"""The configuration as a whole, on every adapter: compared, put in force, refused; and what removal leaves (D3)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.db.memory import MemoryRepository
from appliance.db.repository import ProjectSet, Repository
from appliance.db.sqlite import SqliteRepository
from appliance.model import run_state
from appliance.model.errors import Invalid, NotFound
from appliance.model.run_state import Reason, Status
from appliance.settings_text import ConfigurationError
from tests.configuration_place import WEBSITE, ConfigurationPlace

ADAPTERS: dict[str, Callable[[Path], Repository]] = {
    "memory": lambda _: MemoryRepository(),
    "sqlite": lambda directory: SqliteRepository(directory / "orchestra.db"),
}
WITHOUT_TEST = WEBSITE.replace("      - {identifier: test, definition: {commands: [[make, test]]}, timeout: 30m}\n", "")
SHOP = "projects: [{identifier: shop, jobs: []}]\n"


@pytest.fixture(params=ADAPTERS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ConfigurationPlace]:
    repository = ADAPTERS[request.param](tmp_path)
    repository.open()
    made = ConfigurationPlace(tmp_path, repository)
    yield made
    made.logs.close()
    assert repository.check() == []
    repository.close()


# Applying


def test_req_D3_apply_tells_what_it_changed(place: ConfigurationPlace) -> None:
    assert place.apply(WEBSITE) == ["added project website", "added job website/test", "added job website/deploy"]
    assert place.apply(WEBSITE.replace("30m", "1h").replace("make deploy", "deploy now")) == [
        "changed job website/test: timeout",
        "changed job website/deploy: definition.commands[0]",
    ]
    assert (
        place.apply("# nothing but layout\n" + WEBSITE.replace("30m", "1h").replace("make deploy", "deploy now")) == []
    )
    assert place.apply(SHOP) == [
        "added project shop",
        "removed project website",
        "removed job website/test",
        "removed job website/deploy",
    ]


def test_a_preview_tells_the_same_and_changes_nothing(place: ConfigurationPlace) -> None:
    place.load(WEBSITE)
    waiting = place.trigger()
    before = place.configuration.in_force()
    place.write(SHOP)
    preview = place.configuration.preview()
    assert (preview.is_applied, preview.cancelled) == (False, 0)
    assert place.configuration.in_force() == before
    assert place.runs.get(waiting.id).status is Status.PENDING
    applied = place.configuration.apply("ada")
    assert (applied.is_applied, applied.cancelled) == (True, 1)
    assert applied.changes == preview.changes


def test_what_is_in_force_is_a_project_file_that_changes_nothing(place: ConfigurationPlace) -> None:
    place.load(WEBSITE)
    place.projects.enable_job("website", "test", False, "ada")
    document = place.configuration.in_force()
    (place.files / "website.yaml").unlink()
    place.write(f"def configure():\n    return {document!r}\n", "website.py")
    assert place.configuration.apply("ada").changes == ()
    assert not place.projects.job("website", "test").is_enabled


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("projects: [\n", ":1", "not YAML"),
        (WEBSITE.replace("deploy, def", "test, def"), ":5", "website: jobs[1].identifier: there are two jobs 'test'"),
        (WEBSITE.replace("timeout", "timeuot"), ":4", "website/test: jobs[0].timeuot: 'timeuot' is not a known key"),
    ],
)
def test_req_D3_apply_refuses_what_has_findings_and_names_each_place(
    place: ConfigurationPlace, text: str, where: str, words: str
) -> None:
    place.load(WEBSITE)
    before, told = place.configuration.in_force(), len(place.seen)
    file = place.write(text)
    with pytest.raises(Invalid, match="something is wrong with the project files, and nothing was changed") as refused:
        place.configuration.apply("ada")
    assert list(refused.value.errors) == [f"{file}{where}"]
    assert words in refused.value.errors[f"{file}{where}"]
    assert (place.configuration.in_force(), len(place.seen)) == (before, told)


def test_with_findings_asked_for_single_jobs_are_marked_but_an_ambiguous_set_is_refused(
    place: ConfigurationPlace,
) -> None:
    place.write(WEBSITE.replace("timeout", "timeuot"))
    applied = place.configuration.apply("ada", with_findings=True)
    assert (applied.is_applied, len(applied.findings)) == (True, 1)
    assert "'timeuot'" in place.projects.job("website", "test").findings[0]
    place.write(WEBSITE, "again.yaml")
    with pytest.raises(Invalid, match="something is wrong"):
        place.configuration.apply("ada", with_findings=True)
    with pytest.raises(Invalid):
        place.configuration.preview()
    with pytest.raises(ConfigurationError, match="there is a project 'website' already"):
        place.configuration.load()


def test_two_findings_at_one_place_are_both_told(place: ConfigurationPlace) -> None:
    place.write(WEBSITE.replace("timeout: 30m", "timeuot: 30m, gracee: 1s"))
    with pytest.raises(Invalid, match="2 things are wrong") as refused:
        place.configuration.apply("ada")
    ((_, told),) = refused.value.errors.items()
    assert "'timeuot'" in told and "'gracee'" in told


def test_changes_at_once_wait_for_each_other_and_each_is_whole(place: ConfigurationPlace) -> None:
    place.load(WEBSITE)
    place.write(WEBSITE.replace("30m", "1h"))
    found = []

    def apply() -> None:
        found.append(len(place.configuration.apply("ada").changes))

    threads = [threading.Thread(target=apply) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0] * 7 + [1], "one of them changed it, the others found it so"


# Versions


def test_req_D3_a_run_keeps_its_definition_and_tells_what_changed_since(place: ConfigurationPlace) -> None:
    place.load(WEBSITE)
    run = place.trigger()
    same = place.projects.ran_with(run)
    assert (same.version, same.in_force, same.changed) == (run.definition_version, run.definition_version, ())
    place.apply(WEBSITE.replace("30m", "1h"))
    changed = place.projects.ran_with(run)
    assert changed.document == same.document and changed.document["timeout"] == "30m"
    assert changed.in_force not in (None, run.definition_version)
    assert [(key.key, key.before, key.after) for key in changed.changed] == [("timeout", "30m", "1h")]
    place.apply(WITHOUT_TEST)
    removed = place.projects.ran_with(run)
    assert (removed.document, removed.in_force, removed.changed) == (same.document, None, ())


# Removal


@pytest.mark.parametrize("text", [WITHOUT_TEST, SHOP], ids=["job", "project"])
def test_req_D3_removal_keeps_the_history_and_ends_what_waits(place: ConfigurationPlace, text: str) -> None:
    place.load(WEBSITE)
    ended = place.trigger()
    place.logs.append(ended.id, 0, 0, b"what it said\n")
    place.runs.advance(ended.id, run_state.Assign(place.clock.now()))
    place.runs.advance(ended.id, run_state.Finish(place.clock.now(), Status.SUCCEEDED, None, ""))
    assigned, waiting = place.trigger(), place.trigger()
    place.runs.advance(assigned.id, run_state.Assign(place.clock.now()))
    place.apply(text)
    with pytest.raises(NotFound):
        place.trigger()
    gone = place.runs.get(waiting.id)
    assert (gone.status, gone.reason) == (Status.CANCELLED, Reason.REMOVED)
    assert place.runs.get(assigned.id).status is Status.ASSIGNED, "what a worker has is left alone"
    assert place.runs.numbered("website", "test", "1").status is Status.SUCCEEDED
    assert place.runs.log(ended.id, 0) == b"what it said\n"
    assert place.projects.is_known("website")
    assert not place.projects.is_known("nowhere")
    place.apply(WEBSITE)
    assert place.trigger().number == 4, "numbers go on when it returns"
    assert place.runs.get(waiting.id) == gone, "and what was cancelled stays so"


def test_a_run_that_is_triggered_while_its_job_is_removed_is_cancelled_too(place: ConfigurationPlace) -> None:
    place.load(WEBSITE)
    store = place.repository.projects
    look = store.job

    def job_that_goes(project: str, job: str) -> object:
        found = look(project, job)
        store.apply(ProjectSet((), (), ()), place.clock.now())
        return found

    store.job = job_that_goes  # type: ignore[method-assign, assignment]  # the reload comes between look and write
    run = place.trigger()
    assert (run.status, run.reason) == (Status.CANCELLED, Reason.REMOVED)
