"""Job Orchestra's test and example definitions, in its own shape and spelling, as one project."""

from __future__ import annotations

from typing import Any

PYTHON = "{environment[python3_executable]}"


def a_job(identifier: str, *commands: list[str], **keys: Any) -> dict[str, Any]:
    """A job in Job Orchestra's shape."""
    return {
        "identifier": identifier,
        "display_name": identifier.replace("_", " ").capitalize(),
        "description": "An example.",
        "definition": {"type": "job", "commands": list(commands)},
        "parameters": [],
        "properties": {"is_controller": False},
        **keys,
    }


def a_controller(identifier: str, *triggered: str) -> dict[str, Any]:
    """A controller job, a command for each run that it triggers and one that waits."""
    controller = [PYTHON, "-m", "controller", "--results", "{result_file_path}"]
    commands = [[*controller, "trigger", "{project_identifier}", job] for job in triggered]
    return a_job(identifier, *commands, [*controller, "wait"], properties={"is_controller": True})


def a_pipeline(identifier: str, elements: dict[str, tuple[str, list[str]]]) -> dict[str, Any]:
    """A pipeline of ``identifier: (job, elements it comes after)``; every link is on succeeded."""
    shown = []
    for name, (job, upstream) in elements.items():
        element: dict[str, Any] = {"identifier": name, "job": job}
        if upstream:
            element["after"] = [{"element": other, "status": ["succeeded"]} for other in upstream]
        shown.append(element)
    return a_job(identifier, definition={"type": "pipeline", "elements": shown})


def two_stages(first: str, second: str) -> dict[str, tuple[str, list[str]]]:
    """Two elements, and two that come after the first of them and the second of them."""
    return {
        "s1j1": (first, []),
        "s1j2": (first, []),
        "s2j1": (second, ["s1j1"]),
        "s2j2": (second, ["s1j2"]),
    }


def hellos(links: dict[str, list[str]]) -> dict[str, tuple[str, list[str]]]:
    """Every element runs the job hello."""
    return {name: ("hello", upstream) for name, upstream in links.items()}


COMPLEX_1 = {
    "1-1": [],
    **{name: ["1-1"] for name in ["2-1", "2-2", "2-3"]},
    **{name: ["2-1", "2-2", "2-3"] for name in ["3-1", "3-2"]},
    **{name: ["1-1", "3-1", "3-2"] for name in ["4-1", "4-2"]},
}
COMPLEX_2 = {
    **{name: [] for name in ["1-1", "1-2"]},
    **{name: ["1-1", "1-2"] for name in ["2-1", "2-2", "2-3", "2-4"]},
    **{name: ["2-1", "2-2", "2-3"] for name in ["3-1", "3-2"]},
    "3-3": ["2-4"],
    "4-1": ["1-1", "3-1", "3-2"],
    "4-2": ["1-1", "2-4"],
}
SYSTEMS = ["linux", "mac", "windows"]
COMPLEX_3 = {
    "check": [],
    **{f"build-{system}": ["check"] for system in SYSTEMS},
    **{f"test-{system}": [f"build-{system}"] for system in SYSTEMS},
    "upload": [f"{step}-{system}" for step in ("build", "test") for system in SYSTEMS],
    "release": ["upload"],
}

EXAMPLE: dict[str, Any] = {
    "identifier": "examples",
    "display_name": "Examples",
    "services": {
        "revision_control": {
            "type": "github",
            "repository": "example/example",
            "references_for_status": ["main", "develop"],
        }
    },
    "jobs": [
        a_job("success", [PYTHON, "-c", "print('hello')"]),
        a_job("sleep", [PYTHON, "-c", "import time; time.sleep(5)"]),
        a_job("failure", [PYTHON, "-c", "raise RuntimeError"]),
        a_job("exception", [PYTHON, "-c", "print('{undefined}')"]),
        a_job("hello", [PYTHON, "-c", "import sys; print('hello'); print('hello', file=sys.stderr)"]),
        a_job("empty"),
        a_job("environment", [PYTHON, "-c", "import os; print(sorted(os.environ))"]),
        a_job(
            "parameters",
            [PYTHON, "-c", "print('{parameters[text_to_print]}')"],
            parameters=[{"key": "text_to_print", "description": "What is printed"}],
            properties={"is_controller": False, "include_in_status": True},
            is_enabled=True,
        ),
        a_job("log-with-special-characters", [PYTHON, "-c", "print('… é ² √ 👍')"]),
        a_job("log-with-html", [PYTHON, "-c", "print('<p>hello</p>')"]),
        a_controller("controller_success", "success", "success"),
        a_controller("controller_failure", "success", "failure"),
        a_pipeline("pipeline_success", two_stages("success", "success")),
        a_pipeline("pipeline_failure", two_stages("success", "failure")),
        a_pipeline("pipeline_exception", two_stages("success", "unknown")),
        a_pipeline("pipeline_sleep", two_stages("sleep", "success")),
        a_pipeline("complex_1", hellos(COMPLEX_1)),
        a_pipeline("complex_2", hellos(COMPLEX_2)),
        a_pipeline("complex_3", hellos(COMPLEX_3)),
    ],
    "schedules": [
        {
            "identifier": "success_nightly",
            "display_name": "Nightly success",
            "job": "success",
            "parameters": {},
            "expression": "0 0 * * *",
        }
    ],
}
