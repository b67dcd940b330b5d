"""The schema of project files (contract.md section 4): what this version understands, as msgspec Structs.

The shapes only; ``definitions`` reads files into them key by key, with findings. Every text and list has a bound
(S-64). Keys that the contract lists and this version cannot do yet stand in the ``…_LATER`` tables, so that nobody
believes they work: they are accepted and named in a finding.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from appliance.model.sizes import parse_size
from appliance.model.times import parse_duration

Name = Annotated[str, msgspec.Meta(max_length=64, description="1 to 64 of A-Z a-z 0-9 _ . -")]
Line = Annotated[str, msgspec.Meta(max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=10_000)]
Argument = Annotated[str, msgspec.Meta(max_length=128 * 1024)]
Arguments = Annotated[list[Argument], msgspec.Meta(min_length=1, max_length=1000)]
Properties = Annotated[dict[Line, Any], msgspec.Meta(max_length=200)]
Duration = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9]{1,7}[smhdw](?!\n)$", description="a duration: 90s, 30m, 2h, 1d, 1w")
]
Patience = Annotated[
    str, msgspec.Meta(pattern=r"^([0-9]{1,7}[smhdw]|never)(?!\n)$", description="a duration such as 2h, or never")
]
Size = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9]{1,6}(kB|MB|GB|KiB|MiB|GiB)(?!\n)$", description="a size: 500kB, 64MiB, 10GB")
]
Variable = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}(?!\n)$", description="the name of a variable")
]


class Command(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A command with more to say. ``run``: a list of arguments (fields are filled in) or a text for the shell."""

    run: Argument | Arguments
    name: Line | None = None
    timeout: Duration | None = None


Commands = Annotated[list[Argument | Arguments | Command], msgspec.Meta(max_length=1000)]


class After(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A link of a pipeline: the element waits until ``element`` has ended with one of ``status``."""

    element: Name
    status: Annotated[list[Line], msgspec.Meta(min_length=1, max_length=10)] = msgspec.field(
        default_factory=lambda: ["succeeded"]
    )


class Element(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A job in a pipeline. ``parameters`` are templates, filled from the pipeline's results."""

    identifier: Name
    job: Name
    project: Name | None = None
    parameters: Properties = {}
    after: Annotated[list[After], msgspec.Meta(max_length=1000)] = []


class Definition(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a job does. Teardown commands always run; a failed setup command skips ``commands``."""

    type: Literal["job", "pipeline"] = "job"
    setup_commands: Commands = []
    commands: Commands = []
    teardown_commands: Commands = []
    elements: Annotated[list[Element], msgspec.Meta(max_length=1000)] = []


class Parameter(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A value that a trigger gives (C1, S-31).

    ``pattern``: the language of ``model.patterns``, matched whole; ``max_length``: characters. Both for type string.
    """

    key: Name
    description: Text = ""
    type: Literal["string", "int", "bool", "choice", "ref", "secret"] = "string"
    default: Any = None
    required: bool = False
    choices: Annotated[list[Line | int | float | bool], msgspec.Meta(max_length=1000)] = []
    pattern: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    max_length: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 4096


class JobDocument(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A job as in the project file."""

    identifier: Name
    display_name: Line = ""
    description: Text = ""
    definition: Definition = Definition()
    parameters: Annotated[list[Parameter], msgspec.Meta(max_length=100)] = []
    properties: Properties = {}
    is_enabled: bool = True
    requires: Annotated[dict[Line, Any], msgspec.Meta(max_length=50)] = {}
    environment: Annotated[dict[Variable, Argument], msgspec.Meta(max_length=200)] = {}
    timeout: Duration | None = None
    expires: Duration | None = None
    grace: Duration | None = None
    lost_after: Patience | None = None
    log_limit: Size | None = None
    on_log_full: Literal["truncate", "abort"] | None = None

    @property
    def timeout_seconds(self) -> float | None:
        """Seconds the whole run may take; None: no limit."""
        return _seconds(self.timeout)

    @property
    def expires_seconds(self) -> float | None:
        """Seconds a run may stay pending; None: not said."""
        return _seconds(self.expires)

    @property
    def grace_seconds(self) -> float | None:
        """Seconds between SIGTERM and SIGKILL of an abort; None: not said."""
        return _seconds(self.grace)

    @property
    def lost_after_seconds(self) -> float | None:
        """Seconds without contact until a run is lost; infinity for ``never``; None: not said."""
        return float("inf") if self.lost_after == "never" else _seconds(self.lost_after)

    @property
    def log_limit_bytes(self) -> int | None:
        """Bytes of log that are kept; None: not said."""
        return None if self.log_limit is None else parse_size(self.log_limit)


class ScheduleDocument(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A schedule as in the project file. When it fires is decided by the scheduler's own rules."""

    identifier: Name
    display_name: Line = ""
    job: Name = ""
    parameters: Properties = {}
    expression: Line | None = None
    every: Line | None = None
    at: Line | None = None
    timezone: Line | None = None
    overlap: Literal["skip", "queue", "allow"] | None = None
    missed: Literal["once", "skip", "all"] | None = None
    on: Literal["any", "every"] | None = None
    quiet: Annotated[list[Line], msgspec.Meta(max_length=50)] = []
    jitter: Duration | None = None
    disable_after_failures: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    is_enabled: bool = True


class ProjectDocument(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A project as in the project file. ``services``: free, in Job Orchestra's shape."""

    identifier: Name
    display_name: Line = ""
    services: Properties = {}
    jobs: Annotated[list[JobDocument], msgspec.Meta(max_length=1000)] = []
    schedules: Annotated[list[ScheduleDocument], msgspec.Meta(max_length=1000)] = []
    is_enabled: bool = True


class ProjectFile(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A whole file, and what ``configure()`` returns."""

    projects: Annotated[list[ProjectDocument], msgspec.Meta(max_length=1000)] = []


JOB_LATER = frozenset(
    {"silence_timeout", "warn_after", "retries", "concurrency", "artifacts", "junit", "secrets", "workspace", "then"}
    | {"pool", "weight", "priority", "locks", "may_trigger", "allow_background"}
)
ELEMENT_LATER = frozenset({"matrix", "when", "gate"})
PROJECT_LATER = frozenset({"hooks", "notify", "pools"})
FILE_LATER = frozenset({"pools", "locks"})

PROTECTIVE = frozenset({"pool", "pools", "locks", "concurrency", "secrets"})
"""Keys that forbid something, or bring what the commands count on: a job that has one is not run without it."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a project file, for editors and ``orchestra config schema``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Projects of Orchestra Appliance",
        **msgspec.json.schema(ProjectFile),
    }


def _seconds(text: str | None) -> float | None:
    return None if text is None else parse_duration(text)
