"""Groups: pending runs of one job and one version of it are given out alike, the oldest first."""

from __future__ import annotations

from datetime import datetime

from appliance.model.entities import Run

Group = tuple[str, str, str]  # project, job, definition version
Key = tuple[datetime, str]  # when the run was triggered, and its id: the order in which runs are given out


def group_of(run: Run) -> Group:
    """The group that a run stands in."""
    return (run.project, run.job, run.definition_version)
