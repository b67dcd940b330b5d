"""Project files with the use cases that read them, over a repository of the test's choice."""

from __future__ import annotations

from pathlib import Path

from appliance.clock import FakeClock
from appliance.configuration import Configuration
from appliance.db.logs import LogStore
from appliance.db.memory import MemoryRepository
from appliance.db.repository import Repository
from appliance.events import Event, Events
from appliance.job_versions import JobVersions
from appliance.model.entities import Run, Source
from appliance.projects import Projects
from appliance.runs import Runs

WEBSITE = """\
projects:
  - identifier: website
    jobs:
      - {identifier: test, definition: {commands: [[make, test]]}, timeout: 30m}
      - {identifier: deploy, definition: {commands: ["make deploy"]}}
"""


class ConfigurationPlace:
    """A directory of project files, and what is in force of them."""

    def __init__(self, directory: Path, repository: Repository | None = None) -> None:
        self.files = directory / "projects"
        self.files.mkdir(mode=0o700)
        self.repository = repository or MemoryRepository()
        self.clock = FakeClock()
        self.events = Events()
        self.seen: list[Event] = []
        self.events.subscribe(self.seen.append)
        self.logs = LogStore(directory / "logs", "boot-1")
        self.projects = Projects(self.repository, self.clock, self.events)
        versions = JobVersions(self.repository)
        self.runs = Runs(self.repository, self.logs, self.clock, self.events, versions)
        self.configuration = Configuration(self.projects, self.runs, [self.files])

    def write(self, text: str, name: str = "website.yaml") -> Path:
        """A project file, private as it must be."""
        file = self.files / name
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
        return file

    def load(self, text: str) -> None:
        """Put this file in force."""
        self.write(text)
        self.configuration.load()

    def apply(self, text: str) -> list[str]:
        """Write and apply this file; answers what changed, as ``changed job website/test: timeout``."""
        self.write(text)
        return [
            f"{one.what} {one.kind} {one.name}" + (f": {', '.join(key.key for key in one.keys)}" if one.keys else "")
            for one in self.configuration.apply("ada").changes
        ]

    def trigger(self, job: str = "test") -> Run:
        """A pending run of a job of the website."""
        return self.runs.trigger("website", job, {}, Source(type="user", user="ada"))[0]
