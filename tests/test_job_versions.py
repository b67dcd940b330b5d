"""Definitions of jobs by version."""

from __future__ import annotations

import pytest

from appliance import job_versions
from appliance.job_versions import JobVersions
from tests.lease_place import Place, job


def test_a_version_is_read_once_and_never_changes() -> None:
    place = Place()
    first = place.versions.get("work-v1")
    assert place.versions.get("work-v1") is first
    assert place.versions.get("work-v1", {"identifier": "other"}) is first


def test_a_version_that_was_replaced_is_still_there() -> None:
    place = Place(job(description="first"))
    place.put_jobs(job(version="v2", description="second"))
    versions = JobVersions(place.repository)
    assert [versions.get(f"work-{one}").description for one in ("v1", "v2")] == ["first", "second"]


def test_a_version_that_never_was_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match="nothing"):
        Place().versions.get("nothing")


def test_only_so_many_versions_are_remembered() -> None:
    versions = JobVersions(Place().repository)
    document = job().document
    first = versions.get("v0", document)
    for number in range(1, job_versions.REMEMBERED + 1):
        versions.get(f"v{number}", document)
    assert versions.get("v0", document) is not first
