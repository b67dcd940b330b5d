"""How runs end, with real executors and real children."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.worker import environment
from tests.worker.executions import Commands, Workshop, workshop

CHILDREN: list[tuple[str, Commands, tuple[str, str | None, int | None, str | None], str]] = [
    ("exit 0", [["true"]], ("succeeded", None, 0, None), ""),
    ("exit 3", ["exit 3"], ("failed", "exit_code", 3, None), "command 1 ended with exit code 3"),
    ("exit 255", ["exit 255"], ("failed", "exit_code", 255, None), "command 1 ended with exit code 255"),
    ("127 of a shell", ["nonsuch"], ("failed", "exit_code", 127, None), "command 1 ended with exit code 127"),
    ("SIGKILL", ["kill -KILL $$"], ("failed", "signal", None, "SIGKILL"), "command 1 was killed by SIGKILL"),
    ("SIGSEGV", ["kill -SEGV $$"], ("failed", "signal", None, "SIGSEGV"), "command 1 was killed by SIGSEGV"),
    ("SIGTERM of its own", ["kill $$"], ("failed", "signal", None, "SIGTERM"), "command 1 was killed by SIGTERM"),
    (
        "real-time signal",
        ["kill -40 $$"],
        ("failed", "signal", None, "signal 40"),
        "command 1 was killed by signal 40",
    ),
    (
        "no such program",
        [["nonsuch", "x"]],
        ("errored", "start_failed", None, None),
        "command 1 could not start: no program 'nonsuch' on the PATH",
    ),
    (
        "no such file",
        [["./nonsuch"]],
        ("errored", "start_failed", None, None),
        "command 1 could not start: no such file './nonsuch'",
    ),
    (
        "not executable",
        ["echo x > plain", ["./plain"]],
        ("errored", "start_failed", None, None),
        "command 2 could not start: './plain' may not be executed (Permission denied)",
    ),
    (
        "missing interpreter",
        ["printf '#!/nonsuch/sh\\n' > script; chmod +x script", ["./script"]],
        ("errored", "start_failed", None, None),
        "command 2 could not start: the interpreter that './script' names in its first line does not exist",
    ),
    (
        "no program at all",
        ["echo x > plain; chmod +x plain", ["./plain"]],
        ("errored", "start_failed", None, None),
        "command 2 could not start: './plain' is no program, and names no interpreter in its first line",
    ),
    (
        "workspace removed",
        ["rm -rf ../workspace", ["true"]],
        ("errored", "start_failed", None, None),
        "command 2 could not start: its workspace cannot be entered: No such file or directory",
    ),
]


def once(path: Path, commands: Commands, **other: Any) -> tuple[Any, bytes, list[dict[str, Any]]]:
    """Run one run to its end: record, log, notes."""

    async def scenario() -> tuple[Any, bytes, list[dict[str, Any]]]:
        async with workshop(path) as shop:
            run_id = shop.launch(commands, **other)
            record = await shop.end(run_id)
            return record, shop.log(run_id), shop.notes(run_id)

    return asyncio.run(scenario())


@pytest.mark.parametrize(("commands", "end", "sentence"), [c[1:] for c in CHILDREN], ids=[c[0] for c in CHILDREN])
def test_fault_F06_the_end_of_a_child_is_told_apart(
    tmp_path: Path, commands: Commands, end: tuple[Any, ...], sentence: str
) -> None:
    record, _, _ = once(tmp_path, commands)
    assert (record.status, record.reason, record.code, record.signal) == end
    assert record.sentence == sentence


def test_fault_F06_two_megabytes_of_arguments_cannot_start_and_harm_nobody(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        parameters = {f"p{n}": "x" * 60_000 for n in range(3)}
        arguments = ["true"] + [f"{{parameters[p{n % 3}]}}" for n in range(33)]
        long, other = shop.launch([arguments], parameters=parameters), shop.launch([["echo", "fine"]])
        record = await shop.end(long)
        assert (record.status, record.reason) == ("errored", "start_failed")
        assert "longer than the system allows" in record.sentence
        assert (await shop.end(other)).status == "succeeded"

    asyncio.run(in_shop(tmp_path, scenario))


async def in_shop(path: Path, scenario: Any) -> None:
    """Run the scenario in a worker."""
    async with workshop(path) as shop:
        await scenario(shop)


def test_exit_codes_are_right_when_sigchld_is_ignored_around_the_worker(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        record, _, _ = once(tmp_path, ["sh -c 'exit 4'; exit $(($? + 1))"])
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert record.code == 5


def test_a_command_has_default_signals_and_no_descriptors_but_three(tmp_path: Path) -> None:
    program = "import os,signal; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
    ignored = "grep -E '^Sig(Blk|Ign)' /proc/self/status"
    _, log, _ = once(tmp_path, [[sys.executable, "-S", "-c", program], ignored])
    assert log.splitlines()[0] == b"[0, 1, 2]"
    assert log.split()[-3::2] == [b"0000000000000000", b"0000000000000000"]


def test_req_X1_phases_run_in_order_and_a_failed_command_skips_the_rest_but_not_the_teardown(tmp_path: Path) -> None:
    record, log, notes = once(
        tmp_path, ["echo one", "exit 3", "echo never"], setup=["echo setup"], teardown=["echo down", "echo again"]
    )
    assert (record.status, record.code, record.command) == ("failed", 3, "commands[1]")
    assert log == b"setup\none\ndown\nagain\n"
    assert [(note["note"], note["phase"], note["index"]) for note in notes] == [
        ("began", "setup_commands", 0),
        ("ended", "setup_commands", 0),
        ("began", "commands", 0),
        ("ended", "commands", 0),
        ("began", "commands", 1),
        ("ended", "commands", 1),
        ("skipped", "commands", 2),
        ("began", "teardown_commands", 0),
        ("ended", "teardown_commands", 0),
        ("began", "teardown_commands", 1),
        ("ended", "teardown_commands", 1),
    ]
    assert [note["command"] for note in notes if note["note"] == "skipped"] == ["echo never"]


def test_what_was_skipped_is_noted_as_it_is_written_since_it_was_never_filled_in(tmp_path: Path) -> None:
    _, _, notes = once(tmp_path, ["exit 3", ["echo", "{parameters[x]}"], {"run": ["{x}"], "name": "last"}])
    skipped = [(note["name"], note["command"]) for note in notes if note["note"] == "skipped"]
    assert skipped == [(None, "echo {parameters[x]}"), ("last", "{x}")]


def test_a_failed_setup_skips_the_commands_but_not_the_teardown(tmp_path: Path) -> None:
    record, log, _ = once(tmp_path, ["echo never"], setup=["exit 2"], teardown=["echo down"])
    assert (record.status, record.reason, log) == ("errored", "setup_failed", b"down\n")
    assert record.sentence == "setup 1 ended with exit code 2"


def test_a_setup_that_cannot_start_keeps_the_reason_start_failed(tmp_path: Path) -> None:
    record, _, _ = once(tmp_path, [["true"]], setup=[["nonsuch"]])
    assert (record.status, record.reason) == ("errored", "start_failed")


def test_a_failed_teardown_turns_success_into_an_error_and_is_a_note_otherwise(tmp_path: Path) -> None:
    record, _, _ = once(tmp_path / "good", [["true"]], teardown=["exit 9"])
    assert (record.status, record.reason) == ("errored", "teardown_failed")
    record, _, _ = once(tmp_path / "bad", [["false"]], teardown=["exit 9"])
    assert (record.status, record.reason, record.code) == ("failed", "exit_code", 1)
    assert record.notes == ("teardown 1 ended with exit code 9",)


def test_req_X2_arguments_are_expanded_and_see_results_of_earlier_commands_but_shell_text_is_not(
    tmp_path: Path,
) -> None:
    record, log, _ = once(
        tmp_path,
        [
            ["sh", "-c", 'printf \'{{"tests": [{{"name": "a b"}}]}}\' > "$1"', "x", "{result_file_path}"],
            ["echo", "{results.tests.0.name}", "{parameters[branch]}", "{environment[origin]}", "{environment.CI}"],
            "echo {parameters.branch} $PARAM_BRANCH $CI",
        ],
        parameters={"branch": "main"},
        environment={"CI": "1"},
    )
    assert record.status == "succeeded", record
    assert log == b"a b main /srv/git 1\n{parameters.branch} main 1\n"
    assert record.value == b'{"tests":[{"name":"a b"}]}'


def test_a_template_error_names_the_name_and_runs_the_teardown(tmp_path: Path) -> None:
    record, log, _ = once(tmp_path, [["echo", "{undefined}"]], teardown=["echo down"])
    assert (record.status, record.reason) == ("errored", "format_error")
    assert record.sentence.startswith("command 1: unknown name 'undefined'")
    assert log == b"down\n"


def test_req_X7_a_run_over_its_time_is_failed_and_torn_down(tmp_path: Path) -> None:
    record, log, notes = once(tmp_path, ["echo on; exec cat /dev/zero >/dev/null"], timeout=0.3, teardown=["echo down"])
    assert (record.status, record.reason, record.signal) == ("failed", "timeout", "SIGTERM")
    assert record.sentence == "command 1 was ended: longer than 0.3 s, the limit of the run"
    assert log == b"on\ndown\n"
    assert [note["ended_by"] for note in notes if "ended_by" in note] == ["timeout"]


def test_req_X7_a_command_over_its_own_time_is_named(tmp_path: Path) -> None:
    endless = {"run": ["sh", "-c", "trap 'exit 0' TERM; while :; do :; done"], "name": "spin", "timeout": 0.3}
    record, _, _ = once(tmp_path, [endless])
    assert (record.status, record.reason, record.code) == ("failed", "timeout", 0)
    assert record.sentence == "command 1 (spin) was ended: longer than 0.3 s, its limit"


def test_a_teardown_over_its_limit_is_ended(tmp_path: Path) -> None:
    record, _, _ = once(tmp_path, [["true"]], teardown=["cat /dev/zero >/dev/null"], teardown_timeout=0.3)
    assert (record.status, record.reason) == ("errored", "teardown_failed")


def test_req_S_51_secrets_are_environment_only_and_gone_from_the_disk_once_the_first_command_began(
    tmp_path: Path,
) -> None:
    async def scenario(shop: Workshop) -> None:
        commands = ['echo "token=$ORCHESTRA_TOKEN key=$KEY leak=$LEAK"; cat fifo']
        run_id = shop.launch(commands, setup=["mkfifo fifo"], secrets={"ORCHESTRA_TOKEN": "t0k", "KEY": "hunter2"})
        await shop.said(run_id, b"key=hunter2")
        assert shop.log(run_id) == b"token=t0k key=hunter2 leak=\n"
        home = Path(shop.directory(run_id).path)
        for file in [*home.iterdir(), *(tmp_path / "runtime").iterdir()]:
            if file.is_file() and file.name != "log":
                assert b"hunter2" not in file.read_bytes(), file
        (home / "workspace" / "fifo").write_text("")
        assert (await shop.end(run_id)).status == "succeeded"

    asyncio.run(in_shop(tmp_path, scenario))


def test_defect_J31_two_runs_of_a_job_never_share_a_directory(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        logs = []
        for run_id in [shop.launch(["pwd; echo $TMPDIR; echo x > mine; ls"]) for _ in range(2)]:
            await shop.end(run_id)
            logs.append(shop.log(run_id).split())
        assert set(logs[0][:2]) & set(logs[1][:2]) == set()
        assert [log[2:] for log in logs] == [[b"mine"], [b"mine"]]

    asyncio.run(in_shop(tmp_path, scenario))


def test_the_variable_of_a_parameter_is_upper_case_and_its_text_that_of_templates() -> None:
    request = {
        "run": "r", "project": "p", "job": "j", "number": 1, "url": "u", "environment": {"PARAM_A": "no", "X": "job"},
        "parameters": {"a": True, "dry-run": 1.5, "none": None},
    }  # fmt: skip
    found = environment.compose(request, "/d", base={"PATH": "/bin"}, environment={"X": "worker"}, secrets={})
    assert {key: value for key, value in found.items() if key.startswith("PARAM_") or key in "XCI"} == {
        "PARAM_A": "True",
        "PARAM_DRY_RUN": "1.5",
        "PARAM_NONE": "",
        "X": "job",
        "CI": "true",
    }
    assert found["ORCHESTRA_RUN"] == "r"
