"""A Python client of the service: for the command line, for scripts, and for controller jobs inside a run.

    from appliance.client import Client

    with Client(os.environ["ORCHESTRA_URL"], os.environ["ORCHESTRA_TOKEN"]) as orchestra:
        run = orchestra.trigger("website", "test", {"branch": "main"})
        run = orchestra.wait(run["id"])

Documents are plain dicts, exactly as contract.md section 7 describes them. What the service refuses is raised as the
error of ``appliance.model.errors`` that it means; a server that does not answer is Unreachable. One thread at a time
uses a client. Only the standard library is needed, and ``websockets`` to follow a log or wait for a run.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from appliance.client.connection import Connection, Document, Unreachable, part
from appliance.client.following import TERMINAL, Follower
from appliance.client.logs import LOG_RANGE, LogPart, read_log, run_path
from appliance.model.errors import Invalid
from appliance.model.times import rfc3339

__all__ = ["TERMINAL", "Client", "Document", "LogPart", "Unreachable"]


class Client:
    """The service at ``url``, spoken to with a user's or a run's ``token`` (``None`` for what needs no login)."""

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 30.0) -> None:
        self._http = Connection(url, token, timeout)

    @property
    def url(self) -> str:
        """The address of the server, without a slash at its end."""
        return self._http.url

    def close(self) -> None:
        """Hang up. The next request connects again."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The service as a whole, and oneself.

    def health(self) -> Document:
        """Whether the server is alive."""
        return self._http.document("GET", "/health")

    def login(self, user: str, password: str) -> Document:
        """``{token, expires_at}``; this client goes on with the new token."""
        answer = self._http.document("POST", "/api/v1/login", body={"user": user, "password": password})
        self._http.token = answer["token"]
        return answer

    def me(self) -> Document:
        """Who the token belongs to, and what it may do."""
        return self._http.document("GET", "/api/v1/me")

    def tokens(self, user: str | None = None) -> Iterator[Document]:
        """One's own tokens, or, for administrators, those of a ``user``, newest first; never their text."""
        return self._http.items(_tokens_path(user))

    def logout(self) -> None:
        """Revoke the token that this client speaks with."""
        self._http.call("POST", "/api/v1/logout")

    def create_token(self, label: str, expires_at: datetime | None = None, user: str | None = None) -> Document:
        """A new token of one's own; ``token`` is its text and is shown only here. Without a time it never ends.

        ``user``: for administrators, one that has no password and can make none itself.
        """
        body: Document = {"label": label}
        if expires_at is not None:
            body["expires_at"] = rfc3339(expires_at)
        return self._http.document("POST", _tokens_path(user), body=body)

    def revoke_token(self, token_id: str, user: str | None = None) -> None:
        """End a token of one's own, or, for administrators, of a ``user``, at once."""
        self._http.call("DELETE", f"{_tokens_path(user)}/{part(token_id)}")

    # Projects and jobs.

    def projects(self) -> Iterator[Document]:
        """The projects one may see."""
        return self._http.items("/api/v1/projects")

    def jobs(self, project: str) -> Iterator[Document]:
        """The jobs of a project."""
        return self._http.items(f"/api/v1/projects/{part(project)}/jobs")

    def job(self, project: str, job: str) -> Document:
        """A job as in the project file, with ``is_enabled`` and its findings."""
        return self._http.document("GET", _job_path(project, job))

    def enable_job(self, project: str, job: str, is_enabled: bool) -> Document:
        """Let a job run, or not."""
        return self._http.document("PATCH", _job_path(project, job), body={"is_enabled": is_enabled})

    def configuration(self) -> Document:
        """All that is in force, as one project file; for administrators."""
        return self._http.document("GET", "/api/v1/config")

    def apply_configuration(self, *, dry_run: bool = False, with_findings: bool = False) -> Document:
        """Let the server read its project files again: ``{is_applied, changes, findings, cancelled}``.

        ``dry_run``: only tell what would change. ``with_findings``: also when jobs have findings; those are marked.
        Raises Invalid, with a text for each place, when the files are refused; then nothing was changed.
        """
        body = {"dry_run": dry_run, "with_findings": with_findings}
        return self._http.document("POST", "/api/v1/config/apply", body=body)

    def recovery(self) -> Document:
        """What waits after a restore from a backup: ``{is_open, sentence, workers, recovered, failed, …}``."""
        return self._http.document("GET", "/api/v1/recovery")

    def release_recovery(self) -> Document:
        """Give out the runs of the backup though not all workers have reported. Raises Conflict when none waits."""
        return self._http.document("POST", "/api/v1/recovery/release")

    def trigger(
        self, project: str, job: str, parameters: Mapping[str, Any] | None = None, *, key: str | None = None
    ) -> Document:
        """A new run. The same ``key`` again answers the first run instead of making another (T5).

        Without a key one is made up, so that a request whose answer got lost is repeated safely.
        """
        headers = {"Idempotency-Key": key if key is not None else uuid.uuid4().hex}
        body = {"parameters": dict(parameters or {})}
        return self._http.document(
            "POST", f"{_job_path(project, job)}/runs", body=body, headers=headers, is_repeatable=True
        )

    # Runs.

    def runs(self, *, limit: int | None = None, **where: str | Sequence[str] | None) -> Iterator[Document]:
        """Runs, newest first. Filters as in the service (``project, job, worker, status, source, since, until``)."""
        return self._http.items("/api/v1/runs", {name: value for name, value in where.items() if value}, limit)

    def run(self, run_id: str) -> Document:
        """One run."""
        return self._http.document("GET", run_path(run_id))

    def numbered_run(self, project: str, job: str, number: int | str) -> Document:
        """The run with this number, or ``"latest"``, or ``"last-success"``."""
        return self._http.document("GET", f"{_job_path(project, job)}/runs/{part(str(number))}")

    def named_run(self, name: str) -> Document:
        """A run by what people write: its id, ``project/job#7`` or ``project/job#latest``."""
        path, mark, number = name.partition("#")
        if not mark:
            try:
                return self.run(str(uuid.UUID(path)))
            except ValueError:
                raise Invalid(f"not a run: {name[:200]!r}; write project/job#7, project/job#latest or its id") from None
        project, _, job = path.partition("/")
        if not project or not job or "/" in job or not number:
            raise Invalid(f"not a run: {name[:200]!r}; write project/job#7, project/job#latest or its id")
        return self.numbered_run(project, job, number)

    def definition(self, run_id: str) -> Document:
        """The job as it was when the run was triggered: ``{version, in_force, changed, job}``."""
        return self._http.document("GET", f"{run_path(run_id)}/definition")

    def results(self, run_id: str) -> Document:
        """The results of a run, as far as they are."""
        return self._http.document("GET", f"{run_path(run_id)}/results")

    def set_results(self, run_id: str, values: Mapping[str, Any]) -> Document:
        """Lay values over the results, key by key; answers all results."""
        return self._http.document("PATCH", f"{run_path(run_id)}/results", body=dict(values))

    def why(self, run_id: str, *, limit: int = 100, cursor: str | None = None) -> Document:
        """Why a run waits: ``{kind, sentence, position, waiting, needs, workers, items, next}``.

        ``items`` are workers, at most ``limit``, those that come nearest to having the run first; the next ones follow
        behind the ``cursor`` that ``next`` is.
        """
        query: Document = {"limit": limit}
        if cursor is not None:
            query["cursor"] = cursor
        return self._http.document("GET", f"{run_path(run_id)}/why", query=query)

    def queue(self, *, limit: int | None = None, **where: str | Sequence[str] | None) -> Iterator[Document]:
        """Runs that wait, in the order in which they are given out, with ``waits`` and ``position``. Filters:
        ``project, job, why``."""
        return self._http.items("/api/v1/queue", {name: value for name, value in where.items() if value}, limit)

    def cancel(self, run_id: str) -> Document:
        """Ask that a run that has not begun never does; answers the run with ``outcome`` and ``message``.

        Raises Conflict when it cannot be cancelled any more.
        """
        return self._http.document("POST", f"{run_path(run_id)}/cancel")

    def abort(self, run_id: str) -> Document:
        """Ask that a run ends now; answers as :meth:`cancel` does. Raises Conflict when it has ended."""
        return self._http.document("POST", f"{run_path(run_id)}/abort")

    def declare_lost(self, run_id: str) -> Document:
        """End a run whose worker is away, for good; answers the run. Raises Conflict while the worker is connected."""
        return self._http.document("POST", f"{run_path(run_id)}/declare-lost")

    def log(self, run_id: str, offset: int = 0, limit: int = LOG_RANGE) -> LogPart:
        """At most ``limit`` bytes of the log from byte ``offset`` on; none past its end."""
        return read_log(self._http, run_id, offset, limit)

    def follow_log(
        self, run_id: str, offset: int = 0, seen: Callable[[Document], None] = lambda _: None
    ) -> Iterator[bytes]:
        """The log from byte ``offset`` on as it grows, each byte once, until the run has ended and all was told.

        ``seen`` is told the run at the beginning and now and then: its ``waits`` says why nothing comes.
        A server that restarts, or a network that breaks, is waited for up to PATIENCE, then Unreachable is raised.
        """
        return Follower(self._http, run_id, offset, seen).log()

    def wait(self, run_id: str, seen: Callable[[Document], None] = lambda _: None) -> Document:
        """The run, once it has ended. Waits by events, and tells ``seen``, like :meth:`follow_log`."""
        return Follower(self._http, run_id, None, seen).end()

    # Workers.

    def workers(self) -> Iterator[Document]:
        """All workers, by name."""
        return self._http.items("/api/v1/workers")

    def worker(self, name: str) -> Document:
        """One worker."""
        return self._http.document("GET", f"/api/v1/workers/{part(name)}")

    def create_worker(self, name: str, properties: Mapping[str, Any] | None = None) -> Document:
        """A new worker's account: ``{token, join}``, shown only here."""
        return self._http.document(
            "POST", "/api/v1/workers/tokens", body={"name": name, "properties": dict(properties or {})}
        )

    def enable_worker(self, name: str, is_enabled: bool) -> Document:
        """Let a worker take runs, whatever it was kept from; or not, while what it runs goes on."""
        return self._http.document("PATCH", f"/api/v1/workers/{part(name)}", body={"is_enabled": is_enabled})

    def drain_worker(self, name: str) -> Document:
        """Let a worker finish what it has and take nothing new until it is enabled; ``is_drained`` says when it has."""
        return self._http.document("POST", f"/api/v1/workers/{part(name)}/drain")

    def disconnect_worker(self, name: str) -> Document:
        """Close a worker's connection until it is enabled. Its runs go on there."""
        return self._http.document("POST", f"/api/v1/workers/{part(name)}/disconnect")

    def revoke_worker(self, name: str, runs: str = "keep") -> Document:
        """Take a worker's token away. ``runs``: keep, abort (when it is back), or give_up (now, for good)."""
        return self._http.document("POST", f"/api/v1/workers/{part(name)}/revoke", body={"runs": runs})

    def remove_worker(self, name: str) -> None:
        """Delete a worker and its token. Raises Conflict while it has runs."""
        self._http.call("DELETE", f"/api/v1/workers/{part(name)}")

    # Users.

    def users(self) -> Iterator[Document]:
        """All users, by name."""
        return self._http.items("/api/v1/users")

    def add_user(
        self,
        name: str,
        password: str | None,
        site_roles: Sequence[str] = (),
        project_roles: Mapping[str, str] | None = None,
    ) -> Document:
        """A new user. Without a password it can use tokens only."""
        body: Document = {"name": name, "site_roles": list(site_roles), "project_roles": dict(project_roles or {})}
        if password is not None:
            body["password"] = password
        return self._http.document("POST", "/api/v1/users", body=body)

    def enable_user(self, name: str, is_enabled: bool) -> Document:
        """Let a user in, or end all its sessions and keep it out."""
        return self._http.document("PATCH", f"/api/v1/users/{part(name)}", body={"is_enabled": is_enabled})


def _tokens_path(user: str | None) -> str:
    """Where the service keeps the tokens of a user, or one's own."""
    return "/api/v1/me/tokens" if user is None else f"/api/v1/users/{part(user)}/tokens"


def _job_path(project: str, job: str) -> str:
    """Where the service keeps a job."""
    return f"/api/v1/projects/{part(project)}/jobs/{part(job)}"
