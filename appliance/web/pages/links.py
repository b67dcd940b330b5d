"""The addresses of pages (contract.md section 8). Links and redirects are built here, from names that S-21 has checked.

They are quoted all the same, so that a name that came another way cannot leave its place in the path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

DASHBOARD = "/"
LOGIN = "/login"
LOGOUT = "/logout"
PROJECTS = "/projects"
RUNS = "/runs"
QUEUE = "/queue"
WORKERS = "/workers"
ME = "/me"
SETUP = "/setup"
RELEASE_RECOVERY = "/recovery/release"


def project(name: str) -> str:
    """The jobs of a project."""
    return f"/p/{_part(name)}"


def job(project_name: str, name: str) -> str:
    """A job: trigger form and history."""
    return f"{project(project_name)}/{_part(name)}"


def switch_project(name: str, is_enabled: bool) -> str:
    """Where the button posts to that enables or disables a project."""
    return f"{PROJECTS}/{_part(name)}/{'enable' if is_enabled else 'disable'}"


def switch_job(project_name: str, name: str, is_enabled: bool) -> str:
    """Where the button posts to that enables or disables a job."""
    return f"{job(project_name, name)}/{'enable' if is_enabled else 'disable'}"


def run(project_name: str, job_name: str, number: int | str) -> str:
    """A run, by number or by ``latest`` or ``last-success``."""
    return f"{job(project_name, job_name)}/{_part(str(number))}"


def log(project_name: str, job_name: str, number: int | str, **query: int | str) -> str:
    """The log of a run; ``offset`` or ``before`` choose the part."""
    return f"{run(project_name, job_name, number)}/log{_query(query)}"


def late_log(run_id: str) -> str:
    """The log that came with a late report, as a download."""
    return f"/api/v1/runs/{_part(run_id)}/late/log"


def raw_log(project_name: str, job_name: str, number: int | str) -> str:
    """The exact bytes of a log, as a download."""
    return f"{run(project_name, job_name, number)}/log.txt"


def definition(run_id: str) -> str:
    """The definition of a run as the service answers it: JSON, all of it."""
    return f"/api/v1/runs/{_part(run_id)}/definition"


def results(run_id: str) -> str:
    """The results of a run as the service answers them: JSON, all of them."""
    return f"/api/v1/runs/{_part(run_id)}/results"


def runs(**filters: str) -> str:
    """The list of runs with filters."""
    return with_query(RUNS, **filters)


def runs_of(statuses: Iterable[str]) -> str:
    """The list of runs with one of these statuses."""
    return with_query(RUNS, status=[str(status) for status in statuses])


def below_me(*parts: str) -> str:
    """Where the buttons of the reader's own account post to."""
    return "/".join([ME, *map(_part, parts)])


def worker(name: str) -> str:
    """A worker."""
    return f"{WORKERS}/{_part(name)}"


def worker_action(name: str, action: str) -> str:
    """Where the buttons of a worker post to."""
    return f"{WORKERS}/{_part(name)}/{_part(action)}"


def _part(text: str) -> str:
    return quote(text, safe="")


def with_query(path: str, **query: Any) -> str:
    """A path with a query; empty values are left out, a sequence becomes repeated fields."""
    return path + _query({name: value for name, value in query.items() if value})


def _query(query: Mapping[str, Any]) -> str:
    return f"?{urlencode(query, doseq=True)}" if query else ""
