"""Command lines that are wrong before anything is done: what is typed, and words that the one line of refusal has.

``{here}`` is an empty directory, ``{file}`` a file, ``{shut}`` a directory that nobody may enter.
"""

from __future__ import annotations

from typing import NamedTuple

TOKEN = "orc_w_" + "a" * 64 + "14b8b6"
LONG = "x" * 5000


class Wrong(NamedTuple):
    """``typed`` ends with exit code 2, and ``said`` is in what is printed."""

    typed: tuple[str, ...]
    said: str


def join(*more: str) -> tuple[str, ...]:
    """``worker join`` with a good address and token."""
    return ("worker", "join", "http://127.0.0.1:1", TOKEN, *more)


FLAGS = [
    Wrong(("--verison",), "No such option '--verison'; did you mean '--version'?"),
    Wrong(("--jsn", "worker", "list"), "did you mean '--json'?"),
    Wrong(("worker", "list", "--jsn"), "did you mean '--json'?"),
    Wrong(("-x", "worker", "list"), "No such option '-x'"),
    Wrong(("worker", "run", "--idle", "3m"), "did you mean '--idle-exit'?"),
    Wrong(join("--slot", "4"), "did you mean '--slots'?"),
    Wrong(("run", "list", "--sinse", "x"), "did you mean '--since'?"),
    Wrong(("run", "log", "p/j#1", "--folow"), "did you mean '--follow'?"),
    Wrong(("trigger", "p/j", "--param", "a=1"), "did you mean '--parameter'?"),
    Wrong(("demo", "--ones"), "did you mean '--once'?"),
    Wrong(("db", "migrate", "--dryrun"), "did you mean '--dry-run'?"),
    Wrong(("config", "apply", "--with-finding"), "did you mean '--with-findings'?"),
    Wrong(("user", "add", "a", "--pasword-stdin"), "did you mean '--password-stdin'?"),
    Wrong(("token", "create", "--expire", "3d"), "did you mean '--expires'?"),
    Wrong(("init", "--base_url", "http://h"), "did you mean '--base-url'?"),
    Wrong(("serve", "--port", "8080"), "No such option '--port'; it has --config"),
    Wrong(("run", "list", "--\x1b[31m"), "No such option '--\\x1b[31m'"),
]
COMMANDS = [
    Wrong(("frobnicate",), "No such command 'frobnicate'"),
    Wrong(("int",), "No such command 'int'; did you mean 'init'?"),
    Wrong(("worker", "lst"), "did you mean 'list'?"),
    Wrong(("db", "mirgate"), "did you mean 'migrate'?"),
    Wrong(("config", "aply"), "did you mean 'apply'?"),
    Wrong((LONG,), "No such command 'xxx"),
    Wrong(("\x1b]0;title\x07",), "No such command '\\x1b]0;title\\x07'"),
]
ARGUMENTS = [
    Wrong(("token", "create", "--user", "ana", "--for", "bot"), "--user and --for contradict each other"),
    Wrong(("worker", "join"), "Missing argument 'URL'"),
    Wrong(("worker", "join", "http://127.0.0.1:1"), "Missing argument 'TOKEN|-'"),
    Wrong(("worker", "show"), "Missing argument 'NAME'"),
    Wrong(("run", "show"), "Missing argument 'RUN'"),
    Wrong(("trigger",), "Missing argument 'PROJECT/JOB'"),
    Wrong(("user", "passwd"), "Missing argument 'NAME'"),
    Wrong(("token", "revoke"), "Missing argument 'ID'"),
    Wrong(("worker", "run", "extra"), "unexpected extra argument (extra)"),
    Wrong(("run", "show", "a/b#1", "c/d#1"), "unexpected extra argument"),
    Wrong(("init", "a", "b"), "unexpected extra argument (b)"),
    Wrong(("config", "schema", "x"), "unexpected extra argument (x)"),
    Wrong(("--url",), "Option '--url' requires an argument; see orchestra --help"),
    Wrong(("trigger", "p/j", "-p"), "Option '-p' requires an argument; see orchestra trigger --help"),
    Wrong(("init", "--admin"), "Option '--admin' requires an argument; see orchestra init --help"),
    Wrong(("run", "list", "--limit"), "Option '--limit' requires an argument; see orchestra run list --help"),
    Wrong(("demo", "--once=yes"), "'--once'"),
]
NUMBERS = [
    Wrong(join("--slots", "0"), "'0' is not a whole number from 1 to 10000"),
    Wrong(join("--slots", "-1"), "'-1' is not a whole number"),
    Wrong(join("--slots", "1.5"), "'1.5' is not a whole number"),
    Wrong(join("--slots", "many"), "Invalid value for '--slots': 'many' is not a whole number"),
    Wrong(join("--slots", ""), "'' is not a whole number"),
    Wrong(join("--slots", "9" * 4000), "is not a whole number"),
    Wrong(join("--slots", "9" * 5000), "is not a whole number"),
    Wrong(("run", "list", "--limit", "0"), "from 1 to 100000"),
    Wrong(("run", "list", "--limit", "1e3"), "'1e3' is not a whole number"),
    Wrong(("demo", "--port", "0"), "from 1 to 65535"),
    Wrong(("demo", "--port", "70000"), "'70000' is not a whole number"),
]
ADDRESSES = [
    Wrong(("--url", "ftp://x", "worker", "list"), "Invalid value for '--url': not an address"),
    Wrong(("--url", "ci.example.org", "worker", "list"), "https://ci.example.org"),
    Wrong(("--url", "http://h:99999", "worker", "list"), "'http://h:99999'"),
    Wrong(("--url", "http://a b", "worker", "list"), "'http://a b'"),
    Wrong(("--url", "http://u:p@h", "worker", "list"), "not an address"),
    Wrong(("--url", "", "worker", "list"), "Invalid value for '--url': is empty"),
    Wrong(("--url", "http://" + LONG, "worker", "list"), "not an address"),
    Wrong(("worker", "join", "127.0.0.1:1", TOKEN), "Invalid value for 'URL': not an address"),
    Wrong(("worker", "join", "http://", TOKEN), "not an address"),
    Wrong(("worker", "join", "http://h/?a=b", TOKEN), "not an address"),
    Wrong(("worker", "join", "http://h\x07", TOKEN), "not an address"),
    Wrong(("init", "--listen", "8080"), 'not an address such as "127.0.0.1:8080"'),
    Wrong(("init", "--listen", "127.0.0.1:99999"), "Invalid value for '--listen'"),
    Wrong(("init", "--base-url", "ci.example.org"), "Invalid value for '--base-url'"),
]
TOKENS = [
    Wrong(("--token", "a b", "worker", "list"), "Invalid value for '--token': a token has only letters"),
    Wrong(("--token", "", "worker", "list"), "Invalid value for '--token': is empty"),
    Wrong(("--token", "é", "worker", "list"), "a token has only letters"),
    Wrong(("worker", "join", "http://127.0.0.1:1", TOKEN[:-1]), "not a whole token"),
    Wrong(("worker", "join", "http://127.0.0.1:1", TOKEN.replace("a", "b", 1)), "not a whole token"),
    Wrong(("worker", "join", "http://127.0.0.1:1", "orc_w_…"), "not a whole token"),
    Wrong(("worker", "join", "http://127.0.0.1:1", ""), "not a whole token"),
    Wrong(join("--fingerprint", "ab:cd"), "--fingerprint is not supported by this version"),
]
TIMES = [
    Wrong(("worker", "run", "--idle-exit", "soon"), "not a duration such as 90s, 30m"),
    Wrong(("worker", "run", "--idle-exit", "-5m"), "'-5m'"),
    Wrong(("worker", "run", "--idle-exit", "3"), "not a duration"),
    Wrong(("token", "create", "--expires", "-1d"), "Invalid value for '--expires'"),
    Wrong(("token", "create", "--expires", "999999999w"), "longer than ten years; or never"),
    Wrong(("token", "create", "--expires", ""), "is empty"),
    Wrong(("run", "list", "--since", "yesterday"), "such as 2026-01-31T09:15:00Z: 'yesterday'"),
    Wrong(("run", "list", "--until", "2026-13-01T00:00:00Z"), "Invalid value for '--until'"),
]
PAIRS = [
    Wrong(("trigger", "p/j", "-p", "a"), "write key=value, not 'a'"),
    Wrong(("trigger", "p/j", "-p", "=b"), "write key=value, not '=b'"),
    Wrong(("trigger", "p/j", "-p", ""), "write key=value, not ''"),
    Wrong(("trigger", "p/j", "-p", "a=1", "-p", "a=2"), "'a' is given twice"),
    Wrong(("trigger", "p/j", "-p", LONG), "write key=value"),
    Wrong(join("--property", "pool"), "Invalid value for '--property'"),
    Wrong(join("--environment", "A=1", "--environment", "A=2"), "'A' is given twice"),
    Wrong(("user", "add", "a", "--role", "website"), "Invalid value for '--role'"),
    Wrong(("user", "add", "a", "--role", "website=boss"), "use viewer, operator or editor"),
]
NAMES = [
    Wrong(("trigger", "p"), "'p' is not PROJECT/JOB"),
    Wrong(("trigger", "p/"), "cannot name a job"),
    Wrong(("trigger", "p/j/k"), "cannot name a job"),
    Wrong(("trigger", "p/j#7"), "cannot name a job"),
    Wrong(("trigger", "p/\x1b[31mj"), "'\\x1b[31mj' cannot name a job"),
    Wrong(("trigger", "p/j", "--key", ""), "Invalid value for '--key': is empty"),
    Wrong(("trigger", "p/j", "--key", "é"), "printable ASCII"),
    Wrong(("trigger", "p/j", "--key", "two words"), "no spaces"),
    Wrong(("backup", ""), "is empty"),
    Wrong(("restore", ""), "is empty"),
    Wrong(("trigger", "p/j", "--key", LONG), "1 to 200"),
    Wrong(("run", "show", "x"), "'x' is not a run; write project/job#7"),
    Wrong(("run", "show", "p/j"), "'p/j' is not a run"),
    Wrong(("run", "show", "p/j#"), "is not a run"),
    Wrong(("run", "show", "p/j#newest"), "is not a run"),
    Wrong(("run", "log", "p/j#-1"), "is not a run"),
    Wrong(("run", "list", "--status", "fail"), "is not one of 'pending'"),
    Wrong(("worker", "show", ""), "Invalid value for 'NAME'"),
    Wrong(("worker", "remove", "../x"), "cannot name a worker"),
    Wrong(("worker", "token", "two words"), "cannot name a worker"),
    Wrong(("worker", "token", "x" * 65), "cannot name a worker: use 1 to 64"),
    Wrong(join("--name", "../x"), "Invalid value for '--name'"),
    Wrong(("user", "add", "login"), "the word is reserved"),
    Wrong(("token", "revoke", "3"), "'3' is not an id; 'list' shows them"),
]
FILES = [
    Wrong(("init", "{file}"), "is a file"),
    Wrong(("--data", "{file}", "serve"), "is a file"),
    Wrong(("--data", "", "serve"), "Invalid value for '--data': is empty"),
    Wrong(("serve", "--config", "{here}"), "is a directory"),
    Wrong(("worker", "run", "--config", "{here}"), "is a directory"),
    Wrong(("worker", "run", "--config", ""), "is empty"),
    Wrong(join("--data", "{file}"), "is a file"),
    Wrong(("config", "check", "{here}/nothing"), "does not exist"),
    Wrong(("config", "check", ""), "is empty"),
    Wrong(("config", "diff", "{here}/nothing"), "does not exist"),
]
TOGETHER = [
    Wrong(("trigger", "p/j", "--raw"), "--raw goes with --follow"),
    Wrong(("trigger", "p/j", "--follow", "--raw", "--json"), "not with --json"),
    Wrong(("run", "log", "p/j#1", "--raw", "--json"), "contradict each other"),
    Wrong(("init", "--password-stdin"), "--password-stdin goes with --admin"),
    Wrong(("token", "create", "--password-stdin"), "go with --user"),
    Wrong(("token", "create", "--insecure-http"), "go with --user"),
    Wrong(("user", "add", "a", "--no-password", "--password-stdin"), "contradict each other"),
]

WRONG = [
    *FLAGS,
    *COMMANDS,
    *ARGUMENTS,
    *NUMBERS,
    *ADDRESSES,
    *TOKENS,
    *TIMES,
    *PAIRS,
    *NAMES,
    *FILES,
    *TOGETHER,
]
