"""Wrong command lines: one clear line on stderr that names what is wrong, exit code 2, and nothing done."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.model import tokens
from tests.cli.conftest import Run
from tests.cli.wrong_lines import TOKEN, WRONG, Wrong
from tests.journeys.site import COMMAND, ENVIRONMENT
from tests.required import demand


def test_there_are_enough_of_them() -> None:
    assert len(WRONG) >= 60
    assert len({one.typed for one in WRONG}) == len(WRONG)
    assert tokens.parse(TOKEN).kind == "worker"


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: ascii(" ".join(wrong.typed))[:60])
def test_fault_F40_a_wrong_command_line_is_one_clear_line_and_exit_code_2(
    orchestra: Run, tmp_path: Path, wrong: Wrong
) -> None:
    here, file = tmp_path / "here", tmp_path / "file"
    here.mkdir()
    file.write_text("")
    ran = orchestra(*(one.replace("{here}", str(here)).replace("{file}", str(file)) for one in wrong.typed))
    assert (ran.code, ran.out) == (2, b""), ran.err
    assert wrong.said in ran.err
    assert re.fullmatch(r"orchestra: [^\n]+[;?] [Ss]ee orchestra( [a-z-]+)* --help\n", ran.err)
    assert len(ran.err) < 600 and "Traceback" not in ran.err and ran.err.rstrip("\n").isprintable()
    assert list(here.iterdir()) == [] and file.read_text() == "" and not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        (("serve", "--config", "{file}"), 2),
        (("--data", "{shut}", "db", "check"), 2),
        (("worker", "run", "--config", "{file}"), 2),
        (("init", "{shut}/new"), 1),
        (("config", "check", "{file}"), 2),
        (("restore", "{file}"), 2),
        (("--url", "http://127.0.0.1:1", "worker", "list"), 78),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_what_this_account_may_not_read_is_named_in_one_line(tmp_path: Path, typed: tuple[str, ...], code: int) -> None:
    shut, file, token = tmp_path / "shut", tmp_path / "p.yaml", tmp_path / "token"
    shut.mkdir()
    for one in (file, token):
        one.write_text("projects: []\n")
    for one in (shut, file, token):
        one.chmod(0)
    line = [one.replace("{file}", str(file)).replace("{shut}", str(shut)) for one in typed]
    ran = subprocess.run(
        [*as_one_who_obeys_modes(), *COMMAND, *line],
        env={**ENVIRONMENT, "HOME": str(tmp_path), "ORCHESTRA_TOKEN_FILE": str(token)},
        capture_output=True,
        text=True,
        check=False,
    )
    shut.chmod(0o700)
    said = ran.stderr + ran.stdout
    assert ran.returncode == code, said
    assert said.count("\n") == 1 and "Traceback" not in said
    assert re.search(r"p\.yaml|shut|token", said) and re.search("ermission|not readable", said)


def as_one_who_obeys_modes() -> list[str]:
    """Before a command: root without the right to read everything; others are so already."""
    if os.geteuid() != 0:
        return []
    demand("setpriv", None if shutil.which("setpriv") else "setpriv of util-linux is not there")
    less = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={less}", f"--inh-caps={less}"]
