"""Settings, keys and tokens: what is read from files and environment, and what is written (see test_settings_text)."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import tomllib
from pathlib import Path

import pytest

from appliance import config
from appliance.config import ConfigurationError, ServerSettings
from appliance.settings import ServerSection


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def server(tmp_path: Path, text: str) -> ServerSettings:
    return config.load_server(write(tmp_path / "orchestra.toml", text), {})


def test_an_empty_file_means_the_defaults_with_paths_beside_it(tmp_path: Path) -> None:
    settings = server(tmp_path, "")
    assert settings.server == ServerSection()
    assert settings.data.directory == tmp_path
    assert settings.projects.paths == (tmp_path / "projects",)
    assert settings.url == "http://127.0.0.1:8080"
    assert settings.file == tmp_path / "orchestra.toml"


def test_values_are_read_as_what_they_mean(tmp_path: Path) -> None:
    settings = server(
        tmp_path,
        '[server]\nlisten = "[::1]:0"\nbase_url = "https://ci.example.org:444/ci/"\n'
        '[data]\ndirectory = "/srv/orchestra"\n[projects]\npaths = ["a", "/etc/b.yaml"]\n'
        '[limits]\nlost_after = "2h"\nbody_size = "64KiB"\n[web]\ntemplates = ["own"]\n',
    )
    assert (settings.server.listen.host, settings.server.listen.port) == ("::1", 0)
    assert settings.url == "https://ci.example.org:444/ci"
    assert settings.data.directory == Path("/srv/orchestra")
    assert settings.projects.paths == (tmp_path / "a", Path("/etc/b.yaml"))
    assert settings.limits.lost_after == 7200.0
    assert settings.limits.body_size == 65_536
    assert settings.web.templates == (tmp_path / "own",)


def test_the_data_directory_that_is_asked_for_wins_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "orchestra.toml", '[data]\ndirectory = "/srv/one"\n')
    assert config.load_server(file, {}, data=Path("/srv/two")).data.directory == Path("/srv/two")
    assert config.load_server(file, {"ORCHESTRA_DATA": "/srv/three"}).data.directory == Path("/srv/three")


def test_without_a_path_the_file_of_the_data_directory_is_read(tmp_path: Path) -> None:
    write(tmp_path / "orchestra.toml", '[server]\nlisten = "127.0.0.1:4"\n')
    settings = config.load_server(None, {"ORCHESTRA_DATA": str(tmp_path)})
    assert settings.server.listen.port == 4
    assert config.load_server(None, {}, data=tmp_path) == settings


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="run orchestra init"):
        config.load_server(tmp_path / "orchestra.toml", {})
    with pytest.raises(ConfigurationError, match="run orchestra worker join"):
        config.load_worker(tmp_path / "worker.toml", {})


def test_a_directory_or_a_huge_file_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        config.load_server(tmp_path, {})
    with pytest.raises(ConfigurationError, match="too large"):
        server(tmp_path, "#" * 100_000)


def test_a_mistake_past_the_line_limit_is_refused_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown section"):
        server(tmp_path, "\n" * 3000 + "[sever]\n")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_req_S_89_settings_that_others_may_change_are_refused(mode: int, tmp_path: Path) -> None:
    file = write(tmp_path / "orchestra.toml", "", mode)
    with pytest.raises(ConfigurationError, match="chmod go-w"):
        config.load_server(file, {})


def test_a_first_settings_file_shows_every_key_with_its_default(tmp_path: Path) -> None:
    text = config.render_server_file()
    told = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", text)
    assert tomllib.loads(told) != tomllib.loads(text)
    told = told.replace('base_url = "https://ci.example.org"\n', "").replace("second_port = 8081\n", "")
    told = told.replace('factory = "deployment:Deployment"\n', "")
    settings = server(tmp_path, told)
    assert settings == server(tmp_path, "")
    for section in config.ServerSettings.__struct_fields__:
        if section != "file":
            for key in getattr(settings, section).__struct_fields__:
                assert re.search(rf"(?m)^(# )?{key} = ", text), f"[{section}] {key}"


def test_each_group_of_lines_of_a_first_settings_file_is_explained() -> None:
    explanation = ""
    for line in config.render_server_file().splitlines():
        if re.match(r"(# )?[a-z_]+ = ", line):
            assert explanation.endswith("."), line
        else:
            explanation = line


def test_init_writes_settings_that_load(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    file = config.write_server_file(directory, listen="0.0.0.0:80", base_url="https://ci.example.org/")
    settings = config.load_server(file, {})
    assert settings.server.listen == "0.0.0.0:80"
    assert settings.url == "https://ci.example.org"
    assert settings.data.directory == directory
    with pytest.raises(ConfigurationError, match="initialised already"):
        config.write_server_file(directory)


def test_init_writes_nothing_for_an_address_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not an address"):
        config.write_server_file(tmp_path / "new", listen="everywhere")
    assert not (tmp_path / "new").exists()


def test_the_example_projects_are_written_once(tmp_path: Path) -> None:
    files = config.write_example_projects(tmp_path / "projects")
    assert [file.name for file in files] == ["example.yaml"]
    with pytest.raises(ConfigurationError, match="never overwritten"):
        config.write_example_projects(tmp_path / "projects")


def test_joining_writes_settings_that_load_and_a_token(tmp_path: Path) -> None:
    properties = {"os": "linux", "cores": 8, "gpu": True, "tags": ["a", "b"], "odd key": 'say "hi"\\'}
    environment = {"PATH_TO": "/opt/é √", "TWO": "lines\n\x7f\t"}
    file = config.write_worker_file(
        tmp_path / "w",
        url="https://ci.example.org",
        token="orc_w_1\n",
        name="builder",
        slots=3,
        properties=properties,
        environment=environment,
    )
    settings = config.load_worker(file, {})
    assert settings.worker.url == "https://ci.example.org"
    assert (settings.worker.name, settings.worker.slots) == ("builder", 3)
    assert settings.worker.properties == {**properties, "tags": ("a", "b")}
    assert settings.worker.environment == environment
    assert settings.worker.data == tmp_path / "w"
    assert config.read_worker_token(settings) == "orc_w_1"


def test_req_S_55_what_joining_and_init_write_is_for_the_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        config.write_worker_file(tmp_path / "w", url="http://a", token="t")
        config.write_server_file(tmp_path / "s")
        config.write_master_key(tmp_path / "s", bytes(32))
        config.write_example_projects(tmp_path / "s" / "projects")
    finally:
        os.umask(before)
    for path in [tmp_path / "w", tmp_path / "s", *tmp_path.glob("*/**/*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_joining_again_replaces_the_pair_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    config.write_worker_file(tmp_path, url="http://a", token="one")
    file = config.write_worker_file(tmp_path, url="http://b", token="two")
    settings = config.load_worker(file, {})
    assert (settings.worker.url, config.read_worker_token(settings)) == ("http://b", "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["token", "worker.toml"]


def test_joining_again_puts_the_token_where_the_settings_say(tmp_path: Path) -> None:
    file = config.write_worker_file(tmp_path, url="http://a", token="one")
    file.write_text(file.read_text().replace('token_file = "token"', 'token_file = "mine"'))
    settings = config.load_worker(config.write_worker_file(tmp_path, url="http://a", token="two"), {})
    assert config.read_worker_token(settings) == "two"


@pytest.mark.parametrize(
    "more",
    [
        '[worker.properties]\npool = "red"\n',
        'properties.pool = "red"\nproperties.size = 1\n',
        '[log]\nlevel = "loud"\n',
        "[worker\n",
    ],
)
def test_joining_again_over_settings_that_it_cannot_change_says_so_and_changes_nothing(
    tmp_path: Path, more: str
) -> None:
    file = write(tmp_path / "worker.toml", f'[worker]\nurl = "http://a"\n{more}')
    before = file.read_text()
    with pytest.raises(ConfigurationError, match=r"by hand|not one of|not TOML"):
        config.write_worker_file(tmp_path, url="http://a", token="two", properties={"pool": "blue"})
    assert file.read_text() == before and not (tmp_path / "token").exists()
    if "properties" in more:  # what need not be changed does no harm
        config.write_worker_file(tmp_path, url="http://b", token="two", properties={"pool": "red"})
        assert config.load_worker(file, {}).worker.url == "http://b"


def test_joining_with_values_that_cannot_be_read_again_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not an address"):
        config.write_worker_file(tmp_path / "w", url="nowhere", token="t")
    assert not (tmp_path / "w").exists()


def test_a_certificate_that_would_not_be_checked_is_not_pinned(tmp_path: Path) -> None:
    file = config.write_worker_file(tmp_path, url="https://a", token="t")
    file.write_text(f'{file.read_text()}fingerprint = "{"ab" * 32}"\n')
    with pytest.raises(ConfigurationError, match=r"worker\.fingerprint: .*not supported"):
        config.load_worker(file, {})


def test_a_missing_token_says_what_to_do(tmp_path: Path) -> None:
    settings = config.load_worker(config.write_worker_file(tmp_path, url="http://a", token="t"), {})
    (tmp_path / "token").unlink()
    with pytest.raises(ConfigurationError, match="worker join again"):
        config.read_worker_token(settings)


@pytest.mark.parametrize("text", ["", "two words\n", "é\n", "\0"])
def test_a_token_file_without_a_token_is_refused(text: str, tmp_path: Path) -> None:
    settings = config.load_worker(config.write_worker_file(tmp_path, url="http://a", token="t"), {})
    write(tmp_path / "token", text)
    with pytest.raises(ConfigurationError, match="not a token"):
        config.read_worker_token(settings)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_req_S_55_a_key_or_token_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    settings = config.load_worker(config.write_worker_file(tmp_path, url="http://a", token="t"), {})
    config.write_master_key(tmp_path, bytes(range(32)))
    (tmp_path / "token").chmod(mode)
    (tmp_path / "master.key").chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        config.read_worker_token(settings)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        config.read_master_key(tmp_path, {})


def test_a_master_key_comes_back_and_is_never_overwritten(tmp_path: Path) -> None:
    key = bytes(range(32))
    assert config.write_master_key(tmp_path, key) == key.hex()
    assert config.read_master_key(tmp_path, {}) == key
    with pytest.raises(ConfigurationError, match="never overwritten"):
        config.write_master_key(tmp_path, bytes(32))
    assert config.read_master_key(tmp_path, {}) == key


def test_a_systemd_credential_goes_before_the_file_whatever_its_group_bits(tmp_path: Path) -> None:
    config.write_master_key(tmp_path, bytes(32))
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    write(credentials / "master.key", "ab" * 32, 0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert config.read_master_key(tmp_path, environ) == b"\xab" * 32
    (credentials / "master.key").unlink()
    assert config.read_master_key(tmp_path, environ) == bytes(32)


@pytest.mark.parametrize("text", ["", "ab" * 31, "ab" * 33, "AB" * 32, "zz" * 32, "ab" * 31 + "é"])
def test_a_file_that_is_no_master_key_is_refused(text: str, tmp_path: Path) -> None:
    write(tmp_path / "master.key", text)
    with pytest.raises(ConfigurationError, match="64 hexadecimal digits"):
        config.read_master_key(tmp_path, {})


def test_a_missing_master_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="master key is missing"):
        config.read_master_key(tmp_path, {})


def test_a_command_finds_the_service_by_option_then_environment_then_default(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    environ = {**home, "ORCHESTRA_URL": "https://env/", "ORCHESTRA_TOKEN": "env"}
    assert config.client_settings("https://given", "given", environ) == config.ClientSettings("https://given", "given")
    assert config.client_settings(None, None, environ) == config.ClientSettings("https://env", "env")
    assert config.client_settings(None, None, home) == config.ClientSettings("http://127.0.0.1:8080", "")


def test_a_command_reads_the_token_file_of_its_user(tmp_path: Path) -> None:
    (tmp_path / ".config" / "orchestra").mkdir(parents=True)
    file = write(tmp_path / ".config" / "orchestra" / "token", "orc_u_1\n")
    home = {"HOME": str(tmp_path)}
    assert config.client_settings(environ=home).token == "orc_u_1"
    other = write(tmp_path / "other", "orc_u_2\n")
    assert config.client_settings(environ={**home, "ORCHESTRA_TOKEN_FILE": str(other)}).token == "orc_u_2"
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        config.client_settings(environ=home)


def test_an_address_that_is_none_names_where_it_came_from() -> None:
    with pytest.raises(ConfigurationError, match=r"^--url: not an address"):
        config.client_settings("somewhere", "t", {})
    with pytest.raises(ConfigurationError, match=r"^ORCHESTRA_URL: not an address"):
        config.client_settings(None, "t", {"ORCHESTRA_URL": "somewhere"})


def test_req_S_35_nothing_from_outside_is_expanded(tmp_path: Path) -> None:
    settings = server(tmp_path, '[data]\ndirectory = "$HOME/~"\n[web]\nannouncement = "@/etc/passwd"\n')
    assert settings.data.directory == tmp_path / "$HOME" / "~"
    assert settings.web.announcement == "@/etc/passwd"


def test_the_data_directory_is_the_one_asked_for_else_that_of_the_environment(tmp_path: Path) -> None:
    environ = {"ORCHESTRA_DATA": str(tmp_path), "HOME": "/home/someone"}
    assert config.data_directory(Path("/srv/x"), environ) == Path("/srv/x")
    assert config.data_directory(None, environ) == tmp_path
    assert config.data_directory(None, {"HOME": "/home/someone"}).name == "orchestra"
    assert config.worker_directory(None, {"HOME": "/home/someone"}).name == "orchestra-worker"


def test_a_place_that_this_account_may_not_write_to_is_told_with_what_to_do() -> None:
    before = os.geteuid()
    with tempfile.TemporaryDirectory(dir="/tmp") as closed:  # others may not look into tmp_path
        os.chmod(closed, 0o555)
        if before == 0:
            os.seteuid(65534)  # to root nothing is closed
        try:
            with pytest.raises(ConfigurationError, match="Permission denied: be an account that may, such as root, or"):
                config.write_server_file(Path(closed) / "orchestra")
        finally:
            os.seteuid(before)
