"""An id of a requirement that the code cites is explained in the docs."""

from __future__ import annotations

import re

from tests.house.repository_tree import ROOT

PAGE = ROOT / "docs/reference/requirements.md"
CITED = re.compile(r"\b(S-[0-9]{2}|F[0-9]{2}|J[0-9]{2}|I(?:10|[1-9]))\b")


def test_every_cited_id_is_explained() -> None:
    explained = {line.split("|")[1].strip() for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")}
    unknown = {
        f"{path.relative_to(ROOT)}: {one}"
        for path in sorted((ROOT / "appliance").rglob("*.py"))
        for one in CITED.findall(path.read_text("utf-8"))
        if one not in explained
    }
    assert unknown == set(), "explain it in docs/reference/requirements.md"
