"""What no source file may hold, and what each must be."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.house.repository_tree import ROOT, at, python_files, source, tree

LONGEST_FILE = 400  # lines
BANNED = {"manager", "provider", "helper", "util", "utils", "common", "misc", "data", "info", "handle", "process"}
GIVEN_NAMES = {
    "Data",  # a data frame is what the worker protocol calls it (reliability.md 5)
    *("handle_accept", "handle_read", "handle_close"),  # waitress calls them
    "process_redirect",  # websockets calls it
}
PRODUCT = ("appliance", "migrations", "systemd")
SECRET = re.compile(r"(^|_)(secret|token|mac|sig|signature|digest|csrf|cap)$", re.IGNORECASE)


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every comment."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Every call, with what is called as written (``time.sleep``, ``text.format``)."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def definitions(path: Path) -> Iterator[tuple[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Every class and function, with its name."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, node.name


def words(name: str) -> list[str]:
    """``HTTPPageInfo`` and ``http_page_info`` in lower-case words."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def test_no_file_is_longer_than_400_lines() -> None:
    long = {at(path, count): count for path in python_files() if (count := source(path).count("\n")) > LONGEST_FILE}
    assert long == {}, "look for the missing idea"


def test_no_module_class_or_function_has_a_name_that_says_nothing() -> None:
    modules = [at(path, 1) for path in python_files() if (BANNED | {"utils"}) & set(words(path.stem))]
    named = [
        f"{at(path, node.lineno)} {name}"
        for path in python_files(*PRODUCT, "benchmarks")
        for node, name in definitions(path)
        if says_nothing(node, name) and name not in GIVEN_NAMES
    ]
    assert modules + named == []


def says_nothing(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
    """A class that *is* a banned noun, or a function that does a banned verb."""
    if isinstance(node, ast.ClassDef):
        return words(name)[-1:] != [] and words(name)[-1] in BANNED - {"process"}  # banned as a verb
    return words(name)[:1] != [] and words(name)[0] in {"handle", "process", "manage"}


def test_every_ignored_type_error_and_lint_has_its_reason() -> None:
    pattern = re.compile(r"#\s*(type:\s*ignore|noqa)(?P<codes>\[[\w, -]+\]|:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*)?(?P<rest>.*)")
    bare = []
    for path in python_files():
        for line, comment in comments(path):
            found = pattern.search(comment)
            if found and (not found["codes"] or len(found["rest"].strip(" #-–:;,")) < 4):
                bare.append(f"{at(path, line)} {comment}")
    assert bare == [], "say why, behind the comment: # type: ignore[code]  # reason"


def test_no_error_is_swallowed_whole() -> None:
    silent = [
        at(path, node.lineno)
        for path in python_files(*PRODUCT)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}))
        and all(isinstance(step, ast.Pass | ast.Continue) for step in node.body)
    ]
    assert silent == []


def test_req_S_05_secrets_are_not_compared_with_equals() -> None:
    """S-05: MACs, tokens and signatures are compared in constant time; tokens are found by their hash.

    Comparing digests of public bytes (log receipts, idempotency) leaks nothing: such a line, or the one above it, says
    so in a comment with the word "public".
    """
    found = []
    for path in python_files(*PRODUCT):
        lines = source(path).splitlines()
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Compare) or not any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                continue
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Constant) for side in sides):
                continue  # a comparison with a literal tells nothing about a secret
            names = [side.attr if isinstance(side, ast.Attribute) else getattr(side, "id", "") for side in sides]
            if any(SECRET.search(name) for name in names):
                around = "\n".join(lines[max(0, node.lineno - 2) : node.end_lineno or node.lineno])
                if "public" not in around:
                    found.append(f"{at(path, node.lineno)} {names}")
    assert found == [], "use hmac.compare_digest"


def test_req_S_30_no_code_or_format_is_made_from_text_of_users() -> None:
    """S-30: no str.format, Template, eval, exec, pickle, marshal or unsafe YAML in the product."""
    banned_calls = {"eval", "exec", "compile", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
    banned_imports = {"pickle", "marshal", "shelve", "string.Template", "dill"}
    found = [
        at(path, node.lineno)
        for path in python_files(*PRODUCT)
        for node, name in calls(path)
        if name in banned_calls or (name.endswith((".format", ".format_map")) and name != "msgspec.json.format")
    ]
    for path in python_files(*PRODUCT):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
            else:
                continue
            if names & banned_imports:
                found.append(at(path, node.lineno))
    assert found == []


def test_req_S_30_no_percent_format_is_made_from_a_variable() -> None:
    """``text % (a, b)`` with a text that is not a literal. Log calls pass theirs as arguments."""
    found = [
        at(path, node.lineno)
        for path in python_files(*PRODUCT)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Mod)
        and isinstance(node.right, ast.Tuple | ast.Dict)
        and not isinstance(node.left, ast.Constant)
    ]
    assert found == []


def test_req_S_21_patterns_that_check_input_do_not_end_in_a_dollar_sign() -> None:
    """``$`` accepts a trailing newline; use fullmatch, ``\\Z`` or ``(?!\\n)$``."""
    found = []
    for path in python_files(*PRODUCT):
        for node, name in calls(path):
            is_pattern = name in {"re.compile", "re.match", "re.search"} and node.args
            text = ast.get_source_segment(source(path), node.args[0]) if is_pattern else None
            if text and re.search(r"(?<!\\)\$[\"']$", text) and r"(?!\n)$" not in text:
                found.append(at(path, node.lineno))
    assert found == []


def test_environment_and_settings_have_one_reader() -> None:
    """Only config.py asks for settings in the environment; a worker and its executor compose environments of jobs."""
    allowed = (
        "appliance/config.py",
        "appliance/worker/",
        "appliance/cli/",
        "appliance/examples/",
        "appliance/__main__.py",
    )
    found = [
        at(path, node.lineno)
        for path in python_files("appliance")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and node.attr in {"environ", "getenv"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and not str(path.relative_to(ROOT)).startswith(allowed)
    ]
    assert found == []


def test_no_process_is_forked_beside_a_database() -> None:
    """A child that closes a file of a database it inherited drops its parent's locks (reliability.md 3.3)."""
    allowed = (
        "appliance/worker/command.py",  # a worker imports no database
        "appliance/worker/starter.py",
        "appliance/crash_test/job.py",  # a program of its own
    )
    found = [
        at(path, node.lineno)
        for path in python_files(*PRODUCT)
        for node, name in calls(path)
        if name in {"os.fork", "os.forkpty", "pty.fork"}
        or "multiprocessing" in name
        or "preexec_fn" in ast.unparse(node)
        if not str(path.relative_to(ROOT)).startswith(allowed)
    ]
    assert found == []
