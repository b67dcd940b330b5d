"""Settings files that are refused: what is said, and where it points."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import config
from appliance.config import ConfigurationError
from appliance.model.errors import Invalid
from appliance.settings_text import with_values


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(0o600)
    return path


# What is wrong, the line it points to, the key it names, and words that must be in the message.
BAD_SERVER_FILES = {
    "unknown section": ("[sever]\n", 1, "sever", "did you mean 'server'"),
    "unknown section far from any": ("\n[xyz]\na = 1\n", 2, "xyz", "known are"),
    "unknown key": ('[server]\n# a comment\nlistn = "127.0.0.1:1"\n', 3, "server.listn", "did you mean 'listen'"),
    "unknown key at the top": ('listen = "127.0.0.1:1"\n', 1, "listen", "unknown key"),
    "the later of two keys": ('[server]\nlisten = "[::1]:1"\nport = 1\n', 3, "server.port", "unknown key"),
    "not a section": ("server = 3\n", 1, "server", "[server]"),
    "array of sections": ("[[server]]\n", 1, "server", "must be a section"),
    "file is no key": ('file = "x"\n', 1, "file", "unknown key"),
    "section of the contract that comes later": (
        '[tls]\ncertificate = "c"\n',
        1,
        "tls",
        "not supported by this version",
    ),
    "mail comes later": ("[server]\n\n[mail]\n", 3, "mail", "not supported by this version"),
    "number for an address": ("[server]\nlisten = 8080\n", 2, "server.listen", "in quotes"),
    "address without a port": ('[server]\nlisten = "localhost"\n', 2, "server.listen", "127.0.0.1:8080"),
    "address without a host": ('[server]\nlisten = ":8080"\n', 2, "server.listen", "not an address"),
    "port beyond the last": ('[server]\nlisten = "127.0.0.1:65536"\n', 2, "server.listen", "not an address"),
    "port with a newline": ('[server]\nlisten = "127.0.0.1:80\\n"\n', 2, "server.listen", "not an address"),
    "port in other digits": ('[server]\nlisten = "127.0.0.1:８０"\n', 2, "server.listen", "not an address"),
    "bare IPv6": ('[server]\nlisten = "::1:80"\n', 2, "server.listen", "not an address"),
    "base_url without scheme": ('[server]\nbase_url = "ci.example.org"\n', 2, "server.base_url", "https://"),
    "base_url of another scheme": ('[server]\nbase_url = "ftp://x"\n', 2, "server.base_url", "not an address"),
    "base_url with a user": ('[server]\nbase_url = "https://u:p@x"\n', 2, "server.base_url", "not an address"),
    "base_url with a query": ('[server]\nbase_url = "https://x/?a"\n', 2, "server.base_url", "not an address"),
    "base_url with a bad port": ('[server]\nbase_url = "https://x:99999"\n', 2, "server.base_url", "not an address"),
    "second port too high": ("[server]\nsecond_port = 70000\n", 2, "server.second_port", "65535"),
    "second port not a number": ('[server]\nsecond_port = "81"\n', 2, "server.second_port", "int"),
    "text for a truth value": ('[server]\ninsecure_http = "yes"\n', 2, "server.insecure_http", "bool"),
    "number for a truth value": ("[server]\ninsecure_http = 1\n", 2, "server.insecure_http", "bool"),
    "every proxy trusted": ('[server]\ntrusted_proxy = "*"\n', 2, "server.trusted_proxy", "matching"),
    "other database": ('[data]\ndatabase = "mongodb://h/db"\n', 2, "data.database", "only"),
    "empty directory": ('[data]\ndirectory = ""\n', 2, "data.directory", "directory"),
    "paths not a list": ('[projects]\npaths = "projects"\n', 2, "projects.paths", "array"),
    "a number among the paths": ('[projects]\npaths = [\n  "a",\n  3,\n]\n', 2, "projects.paths", "in quotes"),
    "factory without a class": (
        '[appliance]\nfactory = "deployment"\n',
        2,
        "appliance.factory",
        "deployment:Deployment",
    ),
    "factory that is an expression": ('[appliance]\nfactory = "os:system()"\n', 2, "appliance.factory", "not a name"),
    "announcement too long": (f'[web]\nannouncement = "{"a" * 4097}"\n', 2, "web.announcement", "4096"),
    "no threads": ("[limits]\nhttp_threads = 0\n", 2, "limits.http_threads", ">= 2"),
    "password hashing too cheap": ("[limits]\npassword_iterations = 10\n", 2, "limits.password_iterations", "1000"),
    "fraction of a count": ("[limits]\ntrigger_burst = 1.5\n", 2, "limits.trigger_burst", "int"),
    "duration without unit": ('[limits]\nlost_after = "60"\n', 2, "limits.lost_after", "90s, 30m"),
    "duration that is a number": ("[limits]\nlost_after = 60\n", 2, "limits.lost_after", "in quotes"),
    "negative duration": ('[limits]\nlost_after = "-1h"\n', 2, "limits.lost_after", "not a duration"),
    "size without unit": ('[limits]\nlog_size = "100"\n', 2, "limits.log_size", "4GiB"),
    "size of a wrong unit": ('[limits]\nlog_size = "4GB"\n', 2, "limits.log_size", "not a size"),
    "retention comes later": ("\n[retention]\n", 2, "retention", "not supported by this version"),
    "unknown level": ('[log]\nlevel = "loud"\n', 2, "log.level", "debug, info"),
    "key of a deeper section": ("[server.listen]\nhost = 1\n", 1, "server.listen", "in quotes"),
    "dotted unknown key": ("server.lisen = 1\n", 1, "server.lisen", "did you mean 'listen'"),
    "broken line": ('[server]\nlisten = \n[data]\ndirectory = "x"\n', 2, "", "not TOML"),
    "no TOML at all": ("server:\n  listen: 1\n", 1, "", "not TOML"),
    "the same key twice": ('[server]\nlisten = "a:1"\nlisten = "b:1"\n', 3, "", "not TOML"),
    "text without an end": ('[web]\nannouncement = "abc\n', 2, "", "not TOML"),
    "not UTF-8": ('[web]\n# \udcff\nannouncement = "a"\n', 2, "", "UTF-8"),
    "nested very deep": ("[web]\nstatic = " + "[" * 5000 + "\n", 2, "", "not TOML"),
}


@pytest.mark.parametrize("case", BAD_SERVER_FILES)
def test_fault_F40_a_bad_settings_file_is_refused_with_file_line_and_key(case: str, tmp_path: Path) -> None:
    text, line, key, words = BAD_SERVER_FILES[case]
    with pytest.raises(ConfigurationError) as caught:
        config.load_server(write(tmp_path / "orchestra.toml", text), {})
    error = caught.value
    assert (error.file, error.line, error.key) == (str(tmp_path / "orchestra.toml"), line, key)
    assert words in error.message
    assert str(error).startswith(f"{error.file}:{line}: ")
    assert "\n" not in str(error)


BAD_WORKER_FILES = {
    "no section": ("", 0, "worker", "missing"),
    "no url": ("[worker]\nslots = 1\n", 1, "worker.url", "missing"),
    "no slots": ('[worker]\nurl = "http://a"\nslots = 0\n', 3, "worker.slots", ">= 1"),
    "a pinned certificate comes later": (
        '[worker]\nurl = "https://a"\nfingerprint = "ab:cd"\n',
        3,
        "worker.fingerprint",
        "not supported by this version",
    ),
    "a part of our own comes later": ('[worker]\nfactory = "a:B"\n', 2, "worker.factory", "not supported"),
    "number in the environment": (
        '[worker]\nurl = "http://a"\nenvironment = {A = 1}\n',
        3,
        "worker.environment",
        "str",
    ),
    "property that is a date": (
        '[worker]\nurl = "http://a"\nproperties = {d = 2026-01-01}\n',
        3,
        "worker.properties",
        "Expected",
    ),
    "key of the server": ('[server]\nlisten = "a:1"\n', 1, "server", "unknown section"),
    "typing mistake": ('[worker]\nurl = "http://a"\nslot = 2\n', 3, "worker.slot", "did you mean 'slots'"),
}


@pytest.mark.parametrize("case", BAD_WORKER_FILES)
def test_fault_F40_a_bad_worker_file_is_refused_with_file_line_and_key(case: str, tmp_path: Path) -> None:
    text, line, key, words = BAD_WORKER_FILES[case]
    with pytest.raises(ConfigurationError) as caught:
        config.load_worker(write(tmp_path / "worker.toml", text), {})
    assert (caught.value.line, caught.value.key) == (line, key)
    assert words in caught.value.message


# ---- keys that are set in a text of the operator's

WITH: dict[str, tuple[str, dict[str, object], str]] = {
    "in its place": ("[w]\n# why\nk = 1\nz = 2\n", {"k": 5}, "[w]\n# why\nk = 5\nz = 2\n"),
    "with its comment": ('[w]\nk = "a # b"  # of # mine\n', {"k": "c"}, '[w]\nk = "c"  # of # mine\n'),
    "of several lines": ("[w]\nk = [\n  1,\n]\nz = 2", {"k": [3]}, "[w]\nk = [3]\nz = 2"),
    "not there yet": ("x = 1\n[v]\nk = 1\n\n[w]\nz = 2\n", {"k": 5}, "x = 1\n[v]\nk = 1\n\n[w]\nk = 5\nz = 2\n"),
    "in a section without a newline": ("[w]", {"k": 5}, "[w]\nk = 5\n"),
    "in no section yet": ("[v]\nk = 1\n", {"k": 5, "l": 6}, "[v]\nk = 1\n\n[w]\nl = 6\nk = 5\n"),
    "in an empty file": ("", {"k": 5}, "[w]\nk = 5\n"),
    "as it is already": ("[w]\nk = 5 # five\n", {"k": 5}, "[w]\nk = 5 # five\n"),
    "true is not 1": ("[w]\nk = 1\n", {"k": True}, "[w]\nk = true\n"),
    "a table as it is already": ("[w]\n[w.k]\na = 1\n", {"k": {"a": 1}}, "[w]\n[w.k]\na = 1\n"),
    "beside a table of its own": ("[w.k]\na = 1\n[w]\nz = 2\n", {"z": 3}, "[w.k]\na = 1\n[w]\nz = 3\n"),
}


@pytest.mark.parametrize("name", WITH)
def test_a_key_is_set_and_all_else_stays(name: str) -> None:
    before, values, after = WITH[name]
    assert with_values(before, "w", values) == after


@pytest.mark.parametrize(
    "text", ["[w.k]\na = 1\n", "[w]\nk.a = 1\n", "w = {k = 1}\n", "w.k = 1\n", "[w]\n[w.k]\n", '["w"]\nk = """\n"""\n']
)
@given(st.dictionaries(st.sampled_from("kz"), st.text(max_size=4) | st.integers(0, 3) | st.just({"a": 2})))
def test_a_key_is_set_right_or_refused_whatever_the_file_looks_like(text: str, values: dict[str, object]) -> None:
    try:
        after = tomllib.loads(with_values(text, "w", values))
    except Invalid as error:
        assert "by hand" in str(error)
    else:
        assert after == {"w": tomllib.loads(text)["w"] | values}
