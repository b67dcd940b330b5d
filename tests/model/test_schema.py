"""The schema of project files: complete, bounded, and the same as what is read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from appliance.model.schema import JOB_LATER, JobDocument, json_schema
from appliance.model.sizes import parse_size
from tests.model.definition_texts import CONTRACT_JOB, project_of


def test_the_json_schema_accepts_the_contracts_job_and_names_every_key() -> None:
    schema = json_schema()
    job = schema["$defs"]["JobDocument"]["properties"]
    assert set(CONTRACT_JOB) == set(job)
    assert schema["$defs"]["JobDocument"]["additionalProperties"] is False
    assert not JOB_LATER & set(job)


def test_req_S_64_every_text_and_list_of_the_schema_has_a_bound() -> None:
    unbounded = []

    def walk(node: Any, where: str) -> None:
        if isinstance(node, dict):
            kind = node.get("type")
            if kind == "string" and not {"maxLength", "pattern", "enum"} & set(node):
                unbounded.append(where)
            if (kind == "array" and "maxItems" not in node) or (
                kind == "object" and "properties" not in node and "maxProperties" not in node
            ):
                unbounded.append(where)
            for key, value in node.items():
                if key != "default":
                    walk(value, f"{where}.{key}")
        elif isinstance(node, list):
            for item in node:
                walk(item, where)

    walk(json_schema(), "")
    assert unbounded == []


@pytest.mark.parametrize(("text", "size"), [("500kB", 500_000), ("64MiB", 64 << 20), ("10GB", 10**10), ("1KiB", 1024)])
def test_a_size_is_read_in_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_documents_are_plain_values_that_can_be_compared_and_copied() -> None:
    job = project_of(CONTRACT_JOB).jobs[0].document
    assert msgspec.convert(msgspec.to_builtins(job), JobDocument) == job
