"""Projects, jobs and schedules in force (D3, J14)."""

from __future__ import annotations

from appliance.db.repository import ProjectSet, Repository
from appliance.model.entities import Schedule
from tests.db.values import NOW, add, at, configuration, job

NIGHTLY = Schedule("website", "nightly", "Nightly", {"job": "test"}, findings=("odd",))


def test_a_configuration_comes_back_as_it_was_in_the_order_of_the_files(repository: Repository) -> None:
    jobs = (
        job("zeta", findings=("no commands",), position=0, description="d"),
        job("alpha", position=1, is_enabled=False),
    )
    repository.projects.apply(configuration(*jobs, schedules=(NIGHTLY,)), NOW)
    assert repository.projects.jobs("website") == list(jobs)
    assert repository.projects.job("website", "alpha") == jobs[1]
    assert repository.projects.schedules("website") == [NIGHTLY]
    assert [one.identifier for one in repository.projects.projects()] == ["website"]
    assert repository.projects.jobs("elsewhere") == []


def test_equal_positions_keep_the_order_given(repository: Repository) -> None:
    repository.projects.apply(configuration(job("b"), job("a")), NOW)
    repository.projects.apply(configuration(job("c"), job("b"), job("a")), at(1))
    assert [one.identifier for one in repository.projects.jobs("website")] == ["c", "b", "a"]


def test_jobs_are_counted_by_project_as_long_as_they_are_in_force(repository: Repository) -> None:
    assert repository.projects.job_counts() == {}
    repository.projects.apply(configuration(job("b"), job("a")), NOW)
    assert repository.projects.job_counts() == {"website": 2}
    repository.projects.apply(configuration(job("a")), at(1))
    assert repository.projects.job_counts() == {"website": 1}
    repository.projects.apply(configuration(), at(2))
    assert repository.projects.job_counts() == {}


def test_a_flag_set_at_run_time_survives_and_wins(repository: Repository) -> None:
    repository.projects.apply(configuration(job()), NOW)
    assert repository.projects.enable_job("website", "test", False)
    assert repository.projects.enable_project("website", False)
    repository.projects.apply(configuration(job(version="v2")), at(1))
    found = repository.projects.job("website", "test")
    assert found is not None
    assert (found.is_enabled, found.definition_version) == (False, "v2")
    assert [one.is_enabled for one in repository.projects.projects()] == [False]


def test_flags_are_refused_for_what_is_not_in_force(repository: Repository) -> None:
    repository.projects.apply(configuration(job()), NOW)
    assert not repository.projects.enable_job("website", "other", False)
    assert not repository.projects.enable_project("other", False)


def test_defect_J14_job_and_schedule_go_together_and_history_stays(repository: Repository) -> None:
    repository.projects.apply(configuration(job(), schedules=(NIGHTLY,)), NOW)
    first = add(repository)
    repository.projects.apply(ProjectSet((), (), ()), at(1))
    assert repository.projects.projects() == []
    assert repository.projects.jobs("website") == []
    assert repository.projects.job("website", "test") is None
    assert repository.projects.schedules("website") == []
    assert repository.runs.get(first.id) == first
    repository.projects.apply(configuration(job()), at(2))
    assert add(repository).number == first.number + 1


def test_every_version_of_a_job_is_kept(repository: Repository) -> None:
    repository.projects.apply(configuration(job(version="v1")), NOW)
    repository.projects.apply(configuration(job(version="v2")), at(1))
    repository.projects.apply(ProjectSet((), (), ()), at(2))
    assert repository.projects.definition("v1") == job(version="v1").document
    assert repository.projects.definition("v2") == job(version="v2").document
    assert repository.projects.definition("v3") is None


def test_a_document_is_not_the_callers_any_more(repository: Repository) -> None:
    mine = job()
    repository.projects.apply(configuration(mine), NOW)
    mine.document["identifier"] = "changed later"
    found = repository.projects.job("website", "test")
    assert found is not None
    assert found.document["identifier"] == "test"
