"""Project files: what is read from YAML and Python, and what refuses a file."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from appliance import project_files
from appliance.project_files import FileFinding, RawProject, read_files

EXAMPLES = Path(project_files.__file__).with_name("examples")


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def read(tmp_path: Path, text: str | bytes, name: str = "p.yaml") -> list[RawProject]:
    projects, findings = read_files([write(tmp_path / name, text)])
    assert findings == []
    return projects


def refused(tmp_path: Path, text: str | bytes, name: str = "p.yaml") -> FileFinding:
    projects, findings = read_files([write(tmp_path / name, text)])
    assert projects == []
    (finding,) = findings
    assert finding.file == str(tmp_path / name)
    assert "\n" not in finding.sentence
    return finding


def value(tmp_path: Path, text: str) -> Any:
    """What a plain word or a piece of YAML in the place of a value is read as."""
    (project,) = read(tmp_path, f"projects: [{{identifier: {text}}}]\n")
    return project.document["identifier"]


# YAML: values


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "Yes", "y", "n", "2026-12-01", "2026-12-01T09:00", "9:30"])
def test_defect_J03_words_that_yaml_1_1_turns_into_something_else_stay_text(word: str, tmp_path: Path) -> None:
    assert value(tmp_path, word) == word


@pytest.mark.parametrize(
    "word", ["007", "0x10", "0o17", "1_000", "1e", ".inf", ".nan", "+-1", "1.2.3", "=3.11", "=", "1__"]
)
def test_words_that_only_look_like_numbers_stay_text(word: str, tmp_path: Path) -> None:
    assert value(tmp_path, word) == word


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("0", 0),
        ("-3", -3),
        ("+12", 12),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-2.50", -2.5),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_numbers_truth_values_and_null_are_read_as_such(word: str, meaning: object, tmp_path: Path) -> None:
    found = value(tmp_path, word)
    assert found == meaning
    assert type(found) is type(meaning)


@pytest.mark.parametrize("quoted", ['"1"', "'true'", '"null"', '""'])
def test_quoted_words_are_text(quoted: str, tmp_path: Path) -> None:
    assert value(tmp_path, quoted) == quoted.strip("\"'")


def test_keys_keep_the_word_on(tmp_path: Path) -> None:
    (project,) = read(tmp_path, "projects:\n  - then: [{job: deploy, on: succeeded}]\n")
    assert project.document == {"then": [{"job": "deploy", "on": "succeeded"}]}


def test_block_texts_keep_their_lines(tmp_path: Path) -> None:
    (project,) = read(tmp_path, "projects:\n  - run: |\n      one\n        two\n    folded: >-\n      a\n      b\n")
    assert project.document == {"run": "one\n  two\n", "folded": "a b"}


def test_an_alias_repeats_its_value(tmp_path: Path) -> None:
    (project,) = read(tmp_path, "projects:\n  - a: &x {k: [1, two]}\n    b: *x\n    c: &y word\n    d: *y\n")
    assert project.document == {"a": {"k": [1, "two"]}, "b": {"k": [1, "two"]}, "c": "word", "d": "word"}


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**15), 10**15)
        | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"), max_size=20)
        | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: "e" not in repr(number)),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdefgh", min_size=1), inner, max_size=4),
        max_leaves=20,
    )
)
def test_what_a_yaml_writer_writes_in_quotes_comes_back(content: Any) -> None:
    text = yaml.safe_dump({"projects": [{"content": content}]}, default_style='"', allow_unicode=True)
    plain = yaml.safe_dump({"projects": [{"content": content}]}, allow_unicode=True)
    # default_style='"' puts tags before numbers; those are what project files refuse, so take the plain form then.
    builder = project_files._read_yaml
    document, _ = builder((plain if "!!" in text else text).encode())
    assert document == {"projects": [{"content": content}]}


# YAML: refusals

REFUSED_YAML: dict[str, tuple[str | bytes, int, str]] = {
    "empty": ("", 0, "must hold a list named 'projects'"),
    "a word": ("hello\n", 1, "must hold a list"),
    "a list": ("- identifier: a\n", 1, "must hold a list"),
    "projects is a mapping": ("projects: {a: 1}\n", 1, "must hold a list"),
    "project is a word": ("projects:\n  - one\n", 2, "is not a project"),
    "unknown key beside": ("projects: []\nprojetcs: []\n", 2, "unknown key 'projetcs'"),
    "pools come later": ("projects: []\npools: []\n", 2, "not supported by this version"),
    "the same key twice": ("projects:\n  - a: 1\n    b: 2\n    a: 3\n", 4, "'a' stands twice"),
    "key is a number": ("projects:\n  - {1: a}\n", 2, "put it in quotes"),
    "key is a truth value": ("projects:\n  - true: a\n", 2, "put it in quotes"),
    "key is a list": ("projects:\n  - ? [a]\n    : b\n", 2, "no text"),
    "merge key": ("projects:\n  - a: &x {k: 1}\n    b:\n      <<: *x\n", 4, "merge keys"),
    "python tag": ("projects:\n  - a: !!python/object/apply:os.system [id]\n", 2, "tags such as"),
    "own tag": ("projects:\n  - a: !secret x\n", 2, "tags such as !secret"),
    "tag that says nothing": ("projects:\n  - a: ! 12\n", 2, "tags such as"),
    "harmless tag": ("projects:\n  - a: !!str 1\n", 2, "tags such as"),
    "tag on a mapping": ("projects:\n  - !!omap {}\n", 2, "tags such as"),
    "alias of nothing": ("projects:\n  - a: *x\n", 2, "*x"),
    "alias of itself": ("projects:\n  - &x {a: *x}\n", 2, "no finished value"),
    "two documents": ("projects: []\n---\nprojects: []\n", 2, "second document"),
    "tab": ("projects:\n\t- a: 1\n", 2, "not YAML"),
    "unclosed": ("projects: [\n", 1, "not YAML"),
    "bad indentation": ("projects:\n  - a: 1\n   b: 2\n", 3, "not YAML"),
    "not UTF-8": (b"projects:\n  - a: \xff\n", 2, "UTF-8"),
    "NUL": ("projects: [{a: x\0y}]\n", 0, "not YAML"),
    "very deep": ("projects: " + "[" * 10_000 + "\n", 1, "nested deeper than 32"),
    "aliases that multiply": (
        "projects:\n  - a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"    {b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        7,
        "more than 200000 values",
    ),
}


@pytest.mark.parametrize("case", REFUSED_YAML)
def test_fault_F40_a_yaml_file_that_cannot_be_used_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    text, line, words = REFUSED_YAML[case]
    finding = refused(tmp_path, text)
    assert words in finding.sentence
    assert finding.line == line


@pytest.mark.parametrize("tag", ["!!python/object/apply:pathlib.Path.touch", "!<tag:yaml.org,2002:python/none>", "!x"])
def test_req_S_89_no_constructor_is_reached_by_a_tag(tag: str, tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    assert "tags such as" in refused(tmp_path, f"projects:\n  - a: {tag} ['{sign}']\n").sentence
    assert not sign.exists()


def test_the_parsers_in_python_and_in_c_read_the_same() -> None:
    text = (EXAMPLES / "example.yaml").read_text("utf-8") + "x: [1, '1', on, &a {b: ~}, *a, 1.5, 007]\n"
    slow = project_files._Builder().build(yaml.parse(text, Loader=yaml.SafeLoader))
    assert project_files._read_yaml(text.encode()) == slow


# Python


def test_configure_answers_the_projects(tmp_path: Path) -> None:
    (project,) = read(
        tmp_path,
        "from dataclasses import dataclass\n\n"
        "@dataclass\nclass Named:\n    name: str\n\n"
        "def configure():\n    return {'projects': [{'identifier': Named('a').name}]}\n",
        "p.py",
    )
    assert project.document == {"identifier": "a"}


def test_running_a_python_file_leaves_nothing_behind(tmp_path: Path) -> None:
    modules = set(sys.modules)
    read(tmp_path, "def configure():\n    return {'projects': []}\n", "p.py")
    assert [path.name for path in tmp_path.iterdir()] == ["p.py"]
    assert {name for name in set(sys.modules) - modules if name.startswith("appliance_project")} == set()


def test_a_python_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    for identifier in ("one", "two"):
        (project,) = read(
            tmp_path, f"def configure():\n    return {{'projects': [{{'identifier': '{identifier}'}}]}}\n", "p.py"
        )
        assert project.document == {"identifier": identifier}


REFUSED_PYTHON = {
    "no configure": ("x = 1\n", 0, "no function configure()"),
    "configure is a value": ("configure = 3\n", 0, "no function configure()"),
    "syntax": ("def configure():\n    return {\n", 2, "not Python"),
    "raises while loaded": ("\nimport nothing_of_this_name\n", 2, "ModuleNotFoundError"),
    "raises in configure": ("def configure():\n\n    return 1 / 0\n", 3, "ZeroDivisionError: division by zero"),
    "raises elsewhere": ("import json\ndef configure():\n    return json.loads('{')\n", 3, "JSONDecodeError"),
    "leaves": ("def configure():\n    raise SystemExit\n", 2, "SystemExit"),
    "needs an argument": ("def configure(a):\n    return {}\n", 0, "TypeError"),
    "answers nothing": ("def configure():\n    pass\n", 0, "must hold a list"),
    "answers a project": ("def configure():\n    return {'identifier': 'a'}\n", 0, "must hold a list"),
    "answers words": ("def configure():\n    return {'projects': ['a']}\n", 0, "not a project"),
    "recurses for ever": ("def configure():\n    return configure()\n", 2, "RecursionError"),
    "a message of two lines": ("def configure():\n    raise ValueError('a\\nb')\n", 2, "ValueError: a"),
}


@pytest.mark.parametrize("case", REFUSED_PYTHON)
def test_fault_F40_a_python_file_that_cannot_be_used_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    text, line, words = REFUSED_PYTHON[case]
    finding = refused(tmp_path, text, "p.py")
    assert words in finding.sentence
    assert finding.line == line


# Lines


def test_values_of_yaml_know_their_lines(tmp_path: Path) -> None:
    first, second = read(
        tmp_path,
        "projects:\n  - identifier: a\n    jobs:\n      - identifier: j\n        timeout: 1h\n"
        "  - identifier: b\n    jobs: [{identifier: k,\n      timeout: 2h}]\n",
    )
    assert first.line(("identifier",)) == 2
    assert first.line(("jobs", 0, "timeout")) == 5
    assert second.line(("jobs", 0, "timeout")) == 8


def test_a_value_without_a_line_has_that_of_what_surrounds_it(tmp_path: Path) -> None:
    (project,) = read(tmp_path, "projects:\n  - identifier: a\n    jobs:\n      - identifier: j\n")
    assert project.line(("jobs", 0, "definition", "commands", 3)) == 4
    assert project.line(("nothing",)) == 2


def test_jobs_of_python_know_the_line_of_their_identifier(tmp_path: Path) -> None:
    (project,) = read(
        tmp_path,
        "def configure():\n    jobs = [\n        {'identifier': 'one'},\n        {'identifier': 'two'},\n    ]\n"
        "    return {'projects': [{'identifier': 'p', 'jobs': jobs}]}\n",
        "p.py",
    )
    assert project.line(("identifier",)) == 6
    assert project.line(("jobs", 1, "timeout")) == 4


# Files and directories


def test_a_directory_gives_its_project_files_in_order_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.py", "d.txt", ".hidden.yaml", "e.yaml~", "README.md"):
        body = "def configure():\n    return {'projects': [{'identifier': 'c.py'}]}\n"
        write(tmp_path / name, body if name == "c.py" else f"projects: [{{identifier: {name}}}]\n")
    (tmp_path / "deeper").mkdir()
    write(tmp_path / "deeper" / "f.yaml", "projects: [{identifier: f}]\n")
    projects, findings = read_files([tmp_path])
    assert findings == []
    assert [project.document["identifier"] for project in projects] == ["a.yml", "b.yaml", "c.py"]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    file = write(tmp_path / "p.yaml", "projects: [{identifier: a}]\n")
    (tmp_path / "again.yaml").symlink_to(file)
    projects, findings = read_files([tmp_path, file, tmp_path / ".." / tmp_path.name / "p.yaml"])
    assert (len(projects), findings) == (1, [])


def test_fault_F40_each_file_that_cannot_be_used_has_a_finding_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "projects: [\n")
    write(tmp_path / "b.yaml", "projects: [{identifier: b}]\n")
    write(tmp_path / "c.py", "1 /\n")
    projects, findings = read_files([tmp_path, tmp_path / "gone"])
    assert [project.document["identifier"] for project in projects] == ["b"]
    assert [Path(finding.file).name for finding in findings] == ["a.yaml", "c.py", "gone"]
    assert str(findings[2]) == f"{tmp_path / 'gone'}: there is no such file or directory"
    assert str(findings[0]).startswith(f"{tmp_path / 'a.yaml'}:1: not YAML")


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    assert "4 MiB" in refused(tmp_path, "#" * (4 << 20) + "\nprojects: []\n").sentence


def test_a_directory_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").mkdir()
    _, findings = read_files([tmp_path])
    assert "cannot be read" in findings[0].sentence


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
@pytest.mark.parametrize("name", ["p.yaml", "p.py"])
def test_req_S_89_a_file_that_others_may_change_is_not_even_run(mode: int, name: str, tmp_path: Path) -> None:
    write(tmp_path / name, f"open({str(tmp_path / 'ran')!r}, 'w')\n", mode)
    projects, findings = read_files([tmp_path])
    assert projects == []
    assert "chmod go-w" in findings[0].sentence
    assert not (tmp_path / "ran").exists()


def test_req_S_89_a_directory_that_others_may_change_gives_no_projects(tmp_path: Path) -> None:
    file = write(tmp_path / "p.yaml", "projects: [{identifier: a}]\n")
    tmp_path.chmod(0o777)
    for path in (tmp_path, file):
        projects, findings = read_files([path])
        assert projects == []
        assert "chmod go-w" in findings[0].sentence


def test_the_examples_are_read_without_findings() -> None:
    projects, findings = read_files([EXAMPLES / "example.yaml", EXAMPLES / "job-orchestra.py"])
    assert findings == []
    assert [project.document["identifier"] for project in projects] == ["example", "job-orchestra"]


def test_fractions_are_finite_or_text(tmp_path: Path) -> None:
    assert math.isinf(value(tmp_path, "1e999")), "the schema refuses it with its place"
