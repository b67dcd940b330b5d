"""What a command sees: its environment variables and the names in its templates (contract.md section 5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from appliance.worker import rundir
from appliance.worker.processes import COOKIE

# All that commands get from the worker's own environment: never its token, nor what systemd told it.
INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_RUNTIME_DIR", "SYSTEMROOT",
)  # fmt: skip
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # when the worker has none

_NOT_IN_NAME = re.compile("[^A-Z0-9_]")


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the worker's own environment that commands get; always with a PATH."""
    return {"PATH": PATH, **{name: environ[name] for name in INHERITED if name in environ}}


def variable(key: str) -> str:
    """The variable of a parameter: ``PARAM_<KEY>``, in upper case, other characters as ``_``."""
    return "PARAM_" + _NOT_IN_NAME.sub("_", key.upper())


def compose(
    request: Mapping[str, Any],
    directory: str,
    *,
    base: Mapping[str, str],
    environment: Mapping[str, str],
    secrets: Mapping[str, str],
) -> dict[str, str]:
    """The whole environment of a run's commands. What is ours cannot be overridden by the job; ``CI`` can.

    ``directory``: the run directory, absolute. ``base``: of :func:`inherited`. ``environment``: of the settings.
    """
    return {
        **base,
        "CI": "true",
        "TMPDIR": f"{directory}/{rundir.TEMPORARY}",
        **environment,
        **request["environment"],
        **{variable(key): "" if value is None else str(value) for key, value in request["parameters"].items()},
        **secrets,
        COOKIE: request["run"],
        "ORCHESTRA_URL": request["url"] or environment.get("ORCHESTRA_URL", ""),
        "ORCHESTRA_PROJECT": request["project"],
        "ORCHESTRA_JOB": request["job"],
        "ORCHESTRA_NUMBER": str(request["number"]),
        "ORCHESTRA_RESULTS": f"{directory}/{rundir.RESULTS_FILE}",
        "ORCHESTRA_ARTIFACTS": f"{directory}/{rundir.ARTIFACTS}",
        "ORCHESTRA_WORKSPACE": f"{directory}/{rundir.WORKSPACE}",
    }


def names(request: Mapping[str, Any], directory: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """The context of the run's templates, without ``results``. Secrets are never among them (S-51)."""
    return {
        "environment": {**environment, **request["environment"]},
        "parameters": dict(request["parameters"]),
        "project_identifier": request["project"],
        "job_identifier": request["job"],
        "run_identifier": request["run"],
        "result_file_path": f"../{rundir.RESULTS_FILE}",
        "workspace": f"{directory}/{rundir.WORKSPACE}",
    }
