"""What is installed, and what the papers of the repository say."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tests.house.repository_tree import ROOT, source, tree

README = ROOT / "README.md"
MOST_DEPENDENCIES = 12  # S-71
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")],
)


def constant(name: str) -> Any:
    """The literal that setup.py gives ``name``."""
    for node in tree(ROOT / "setup.py").body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"setup.py has no {name}")


def package_names(requirements: list[str]) -> set[str]:
    """``Jinja2>=3.1,<4`` becomes ``jinja2``."""
    return {re.split(r"[\[<>=!~; ]", one, maxsplit=1)[0].lower() for one in requirements}


def test_req_S_71_the_list_of_dependencies_is_closed_and_each_has_its_reason() -> None:
    reasons = re.findall(
        r"^\| ([\w-]+) \| .+ \| (.{20,}) \|$", source(ROOT / "docs/decisions/dependencies.md"), re.MULTILINE
    )
    assert package_names(constant("REQUIRED")) == {name.lower() for name, _ in reasons}
    assert len(reasons) <= MOST_DEPENDENCIES


def test_every_dependency_is_held_below_its_next_major_version() -> None:
    for one in [*constant("REQUIRED"), *constant("EXTRAS")["sql"], *constant("EXTRAS")["mongo"]]:
        assert re.search(r">=[\d.]+,<\d", one), one


def test_the_readme_gives_the_two_commands_of_a_fresh_machine() -> None:
    for command in (
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/orchestra demo",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest",
    ):
        assert re.search(rf"^ *{re.escape(command)}$", source(README), re.MULTILINE), command


def test_ci_runs_the_test_command_with_nothing_skipped() -> None:
    script = source(ROOT / ".ci" / "run")
    assert re.search(r"^export ORCHESTRA_REQUIRE=browser,axe,nu,netns[a-z,]* .*\n.*pytest\" -q$", script, re.MULTILINE)
    assert 'orchestra" demo --once' in script
    assert not re.search(r"https?://", script), "a registry is configured on the machine, never here"


def test_the_changelog_collects_what_is_not_released() -> None:
    changelog = source(ROOT / "CHANGELOG.md")
    assert changelog.index("## [Unreleased]") < changelog.index("### Added")


def test_contributing_stays_within_two_pages() -> None:
    assert source(ROOT / "CONTRIBUTING.md").count("\n") <= 110


def anchors(path: Path) -> set[str]:
    """The fragments that a Markdown page answers to."""
    headings = re.findall(r"^#{1,6} (.+)$", source(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", source(document), flags=re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        if not path.exists() or (fragment and fragment not in anchors(path)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_page_of_the_docs_can_be_reached_from_the_readme(document: Path) -> None:
    reached: set[Path] = set()
    queue = [README]
    while queue:
        page = queue.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        queue += [
            (page.parent / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)\s:]+)\)", source(page))
        ]
    assert document in reached
