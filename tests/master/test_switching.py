"""Jobs are switched and configurations loaded while the dispatcher looks at them."""

from __future__ import annotations

from typing import Any

from appliance.events import ProjectsChanged
from appliance.model.run_state import Status
from tests.lease_place import Place


def test_a_job_that_is_enabled_while_the_dispatcher_looks_is_not_taken_for_disabled_for_ever() -> None:
    place = Place()
    place.repository.projects.enable_job("p", "work", False)
    place.dispatcher.load()
    worker = place.worker()
    place.connect(worker)
    run = place.trigger()
    look = place.repository.projects.job

    def job_that_is_enabled_behind_the_look(project: str, job: str) -> Any:
        found = look(project, job)
        place.repository.projects.job = look  # type: ignore[method-assign]  # from now on as before
        place.repository.projects.enable_job(project, job, True)
        place.events.publish(ProjectsChanged())
        return found

    place.repository.projects.job = job_that_is_enabled_behind_the_look  # type: ignore[method-assign]  # once
    place.dispatcher.step()
    assert place.now(run).status is Status.PENDING, "the look came first"
    place.dispatcher.step()
    assert place.now(run).status is Status.ASSIGNED
