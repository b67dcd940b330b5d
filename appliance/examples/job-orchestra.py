"""Projects as Python code, in Job Orchestra's own shape.

A worker runs these jobs if its environment has ``python3_executable``, the path of a Python.
"""

from typing import Any


def configure() -> dict[str, Any]:
    """What the server loads."""
    return {"projects": [project()]}


def project() -> dict[str, Any]:
    return {
        "identifier": "job-orchestra",
        "display_name": "Examples in Job Orchestra's shape",
        "jobs": [
            job("success", "Ends well", "print('hello')"),
            job("sleep", "Takes five seconds", "import time; time.sleep(5)"),
            job("failure", "Ends badly", "raise RuntimeError"),
            # No name "undefined" is known to templates, so a run of it ends as errored and names it.
            job("exception", "Cannot even begin its command", "print('{undefined}')"),
        ],
        "schedules": [],
    }


def job(identifier: str, description: str, code: str) -> dict[str, Any]:
    return {
        "identifier": identifier,
        "display_name": identifier.capitalize(),
        "description": description,
        "definition": {
            "type": "job",
            "commands": [["{environment[python3_executable]}", "-c", code]],
        },
        "parameters": [],
        "properties": {"is_controller": False},
    }
