"""Jobs to read in tests, and what was found in them."""

from __future__ import annotations

from typing import Any

from appliance.model.definitions import JobReading, ProjectReading, read_project
from appliance.model.findings import show_place

CONTRACT_JOB: dict[str, Any] = {
    "identifier": "test",
    "display_name": "Test",
    "description": "Tests it",
    "definition": {
        "type": "job",
        "setup_commands": [["true"]],
        "commands": [
            ["git", "clone", "--depth=1", "--branch", "{parameters[branch]}", "{environment[origin]}", "src"],
            "cd src && make test",
            {"run": ["make", "report"], "name": "report", "timeout": "2m"},
            {"run": "make clean"},
        ],
        "teardown_commands": [["rm", "-rf", "src"]],
    },
    "parameters": [
        {
            "key": "branch",
            "description": "Branch to test",
            "type": "string",
            "default": "main",
            "pattern": "[\\w./-]+",
            "required": True,
        },
        {"key": "level", "type": "choice", "choices": ["fast", 2], "default": 2},
        {"key": "count", "type": "int"},
        {"key": "quick", "type": "bool", "default": False},
        {"key": "revision", "type": "ref", "max_length": 40},
    ],
    "properties": {"include_in_status": True, "is_controller": False},
    "requires": {"os": "linux", "python": ">=3.11", "arch": ["x86_64", "aarch64"]},
    "environment": {"CI": "1"},
    "timeout": "30m",
    "expires": "2h",
    "grace": "10s",
    "lost_after": "never",
    "log_limit": "10GB",
    "on_log_full": "abort",
    "is_enabled": True,
}


def project_of(*jobs: Any, **keys: Any) -> ProjectReading:
    return read_project({"identifier": "example", "jobs": list(jobs), **keys})


def job_with(**keys: Any) -> JobReading:
    """The reading of a job that has these keys."""
    return project_of({"identifier": "test", "definition": {"commands": []}, **keys}).jobs[0]


def told(reading: JobReading | ProjectReading) -> list[str]:
    """The findings as ``severity place: sentence``, places seen from the job."""
    cut = 2 if isinstance(reading, JobReading) else 0
    return [f"{one.severity} {show_place(one.place[cut:])}: {one.sentence}" for one in reading.findings]
