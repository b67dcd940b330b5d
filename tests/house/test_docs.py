"""What the pages say to type can be typed, what they show as a project file is one, and links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from appliance.project_files import read_files
from tests.cli.test_command_line import parsed
from tests.cli.wrong_lines import TOKEN
from tests.house.repository_tree import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")])
COMMAND = re.compile(r"^(?:    |`)?(?:\S*/bin/)?orchestra (.*)$")


def blocks(page: Path) -> Iterator[str]:
    """The indented blocks of a page, without their indentation."""
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", page.read_text("utf-8"), re.MULTILINE):
        yield re.sub(r"^ {4}", "", block.strip("\n") + "\n", flags=re.MULTILINE)


def lines(page: Path) -> Iterator[tuple[str, bool]]:
    """What a page says to type: in blocks, also behind ``&&``; and, only mentioned, in text as `orchestra ...`."""
    for block in blocks(page):
        for line in re.split(r"\n|&&", re.sub(r"<<'END'\n(?:.*\n)*?END$", "", block, flags=re.MULTILINE)):
            if match := COMMAND.match(line.strip()):
                yield match[1], False
    for mentioned in re.findall(r"`orchestra ([^`]+)`", page.read_text("utf-8")):
        yield mentioned, True


def typed(line: str) -> list[str]:
    """The words of a line, with something in the place of what a reader puts there."""
    line = re.sub(r"\s[<>|]\s.*$|\s{2,}#.*$", "", line)
    return shlex.split(re.sub(r"orc_w_…", TOKEN, line).replace("…", "x"))


NOT_TYPED = {"commands.md", "requirements.md", "defects.md", "faults.md"}  # made from the code; lists of what is wanted
LINES = [(page, *line) for page in PAGES if page.name not in NOT_TYPED for line in lines(page)]


def test_there_are_pages_with_lines_to_type() -> None:
    assert {"README.md", "first-run.md", "add-a-worker.md"} <= {page.name for page, _, _ in LINES}
    assert len(LINES) >= 40


@pytest.mark.parametrize(
    ("line", "is_mentioned"),
    [line for _, *line in LINES],
    ids=[f"{page.stem}: {line[:50]}" for page, line, _ in LINES],
)
def test_what_a_page_says_to_type_can_be_typed(line: str, is_mentioned: bool) -> None:
    """Read as the command line would, not obeyed. A mention may leave arguments out."""
    try:
        assert parsed(typed(line))
    except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
        assert is_mentioned


PROJECTS = [(page, block) for page in PAGES for block in blocks(page) if re.match(r"projects:\n", block)]


@pytest.mark.parametrize(("page", "block"), PROJECTS, ids=[page.stem for page, _ in PROJECTS])
def test_a_project_file_that_a_page_shows_has_no_finding(page: Path, block: str, tmp_path: Path) -> None:
    file = tmp_path / "shown.yaml"
    file.write_text(block)
    file.chmod(0o600)
    _, findings = read_files([file])
    assert findings == []


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_page_is_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    lost = [str(page.relative_to(ROOT)) for page in PAGES if "docs" in page.parts]
    assert [one for one in lost if f"]({one})" not in readme] == []
