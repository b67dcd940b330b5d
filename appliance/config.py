"""The only reader of settings files and of the environment (contract.md section 3).

Settings are TOML. A wrong section, key or value raises ConfigurationError with file, line and key (exit code 78 on the
command line); nothing is ignored. Relative paths in a settings file are relative to the file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.model.errors import Invalid
from appliance.private_files import check_not_writable, make_private_directory, read_private, write_private
from appliance.settings import ClientSettings, ProjectsSection, ServerSettings, WorkerSettings
from appliance.settings_text import ConfigurationError, as_url, quoted, read_settings, with_values

__all__ = [
    "ClientSettings",
    "ConfigurationError",
    "ServerSettings",
    "WorkerSettings",
    "boot_id",
    "client_settings",
    "client_token_file",
    "data_directory",
    "environment",
    "load_server",
    "load_worker",
    "notify_socket",
    "read_master_key",
    "read_worker_token",
    "render_server_file",
    "runtime_directory",
    "worker_directory",
    "write_client_token",
    "write_example_projects",
    "write_master_key",
    "write_server_file",
    "write_worker_file",
]

SERVER_FILE = "orchestra.toml"
WORKER_FILE = "worker.toml"
KEY_FILE = "master.key"
TOKEN_FILE = "token"  # noqa: S105  # the name of a file
DEFAULT_URL = "http://127.0.0.1:8080"
PROJECTS_DIRECTORY = "projects"  # where init puts the first projects

_FILE_LIMIT = 64 * 1024
_EXAMPLES = Path(__file__).with_name("examples")


def load_server(
    path: Path | None = None, environ: Mapping[str, str] | None = None, data: Path | None = None
) -> ServerSettings:
    """Read the server's settings. ``path``: ``--config``; ``data``: ``--data``, which wins over ``data.directory``, as
    does ``ORCHESTRA_DATA``. Without a path the file is ``orchestra.toml`` of the data directory.

    Raises ConfigurationError.
    """
    environ = os.environ if environ is None else environ
    given = data or _path_of(environ, "ORCHESTRA_DATA")
    file = (path or (data_directory(data, environ) / SERVER_FILE)).absolute()
    settings = read_settings(ServerSettings, file, _read(file, "run orchestra init, or name its directory with --data"))
    base = file.parent
    web = settings.web
    return msgspec.structs.replace(
        settings,
        file=file,
        data=msgspec.structs.replace(settings.data, directory=(given or base / settings.data.directory).absolute()),
        projects=ProjectsSection(tuple(base / one for one in settings.projects.paths)),
        web=msgspec.structs.replace(
            web,
            templates=tuple(base / one for one in web.templates),
            static=tuple(base / one for one in web.static),
        ),
    )


def load_worker(path: Path | None = None, environ: Mapping[str, str] | None = None) -> WorkerSettings:
    """Read ``worker.toml``, without a path that of :func:`worker_directory`. Raises ConfigurationError."""
    file = (path or (worker_directory(None, environ) / WORKER_FILE)).absolute()
    settings = read_settings(WorkerSettings, file, _read(file, "run orchestra worker join, or name it with --config"))
    worker = settings.worker
    return msgspec.structs.replace(
        settings,
        file=file,
        worker=msgspec.structs.replace(
            worker, token_file=file.parent / worker.token_file, data=file.parent / worker.data
        ),
    )


def client_settings(
    url: str | None = None, token: str | None = None, environ: Mapping[str, str] | None = None
) -> ClientSettings:
    """How to reach the service: what was given, else ``ORCHESTRA_URL`` and ``ORCHESTRA_TOKEN``, else this machine and
    the token file (``ORCHESTRA_TOKEN_FILE``, else ``~/.config/orchestra/token``).

    Raises ConfigurationError when the address is no address, or others can read the token file.
    """
    environ = os.environ if environ is None else environ
    try:
        address = as_url(url or environ.get("ORCHESTRA_URL") or DEFAULT_URL)
    except Invalid as error:
        raise ConfigurationError("--url" if url else "ORCHESTRA_URL", 0, "", str(error)) from None
    text = token or environ.get("ORCHESTRA_TOKEN") or ""
    if not text:
        file = client_token_file(environ)
        try:
            text = read_private(file)
        except FileNotFoundError:
            text = ""
        except (Invalid, OSError) as error:
            raise _unusable(file, error) from None
    return ClientSettings(url=address, token=text.strip())


def client_token_file(environ: Mapping[str, str] | None = None) -> Path:
    """Where the command line looks for a user's token: ``ORCHESTRA_TOKEN_FILE``, else ``~/.config/orchestra/token``."""
    environ = os.environ if environ is None else environ
    base = _path_of(environ, "XDG_CONFIG_HOME") or _home(environ) / ".config"
    return _path_of(environ, "ORCHESTRA_TOKEN_FILE") or base / "orchestra" / TOKEN_FILE


def write_client_token(token: str, environ: Mapping[str, str] | None = None) -> Path:
    """Store a user's token, 0600, in place of an earlier one, and answer where. Raises ConfigurationError."""
    file = client_token_file(environ).absolute()
    try:
        make_private_directory(file.parent)
        write_private(file, token + "\n")
    except (Invalid, OSError) as error:
        raise _unusable(file, error) from None
    return file


def data_directory(given: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """The server's data directory: ``--data``, else ``ORCHESTRA_DATA``, else ``/var/lib/orchestra`` for root and
    ``~/.local/share/orchestra`` for others."""
    environ = os.environ if environ is None else environ
    return (given or _path_of(environ, "ORCHESTRA_DATA") or _state_directory(environ) / "orchestra").absolute()


def worker_directory(given: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """A worker's data directory: ``--data``, else ``/var/lib/orchestra-worker`` or its place in the home directory."""
    environ = os.environ if environ is None else environ
    return (given or _state_directory(environ) / "orchestra-worker").absolute()


def read_master_key(directory: Path, environ: Mapping[str, str] | None = None) -> bytes:
    """The 32 bytes of the master key: a systemd credential ``master.key``, else that file of the data directory.

    Raises ConfigurationError when it is missing, is no key, or others can read it (S-55).
    """
    environ = os.environ if environ is None else environ
    credentials = _path_of(environ, "CREDENTIALS_DIRECTORY")
    is_credential = credentials is not None and (credentials / KEY_FILE).exists()
    file = (credentials if credentials is not None and is_credential else directory) / KEY_FILE
    try:
        text = read_private(file, guarded_by_system=is_credential)
    except FileNotFoundError:
        raise ConfigurationError(file, 0, "", "the master key is missing: put back the copy kept from init") from None
    except (Invalid, OSError) as error:
        raise _unusable(file, error) from None
    digits = text.strip()
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise ConfigurationError(file, 0, "", "not a master key: it has 64 hexadecimal digits")
    return bytes.fromhex(digits)


def write_master_key(directory: Path, key: bytes) -> str:
    """Store a new key of 32 random bytes, 0600, and answer it as text, to be shown once.

    Raises ConfigurationError if there is one.
    """
    file = directory / KEY_FILE
    if len(key) != 32:
        raise ValueError("a master key has 32 bytes")
    if file.exists():
        raise ConfigurationError(file, 0, "", "there is a master key already; it is never overwritten")
    make_private_directory(directory)
    write_private(file, key.hex() + "\n")
    return key.hex()


def read_worker_token(settings: WorkerSettings) -> str:
    """The worker's token. Raises ConfigurationError when it is missing or others can read it (S-85)."""
    file = settings.worker.token_file
    try:
        text = read_private(file).strip()
    except FileNotFoundError:
        raise ConfigurationError(file, 0, "", "the token is missing: run orchestra worker join again") from None
    except (Invalid, OSError) as error:
        raise _unusable(file, error) from None
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigurationError(file, 0, "", "not a token: run orchestra worker join again")
    return text


def write_worker_file(
    directory: Path,
    *,
    url: str,
    token: str,
    name: str = "",
    slots: int | None = None,
    properties: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Write ``token`` (0600) and ``worker.toml`` into a worker's data directory, and answer the path of the latter.

    Where there is a ``worker.toml`` already, only what is given is changed in it, and of properties and environment
    only the keys that are given; the token goes where it says. The journal stays. Raises ConfigurationError, and
    writes nothing, when that cannot be, or what it would write could not be read again.
    """
    file = directory.absolute() / WORKER_FILE
    if file.exists():
        given = {"url": url, "name": name, "slots": slots, "properties": properties, "environment": environment}
        text = _worker_text_again(file, {key: value for key, value in given.items() if value})
    else:
        text = _worker_text(url, name, slots or 1, properties or {}, environment or {})
    settings = read_settings(WorkerSettings, file, text.encode())
    try:
        make_private_directory(directory)
        write_private(file.parent / settings.worker.token_file, token.strip() + "\n")
        write_private(file, text)
    except (Invalid, OSError) as error:
        raise _unusable(directory, error) from None
    return file


def _worker_text(url: str, name: str, slots: int, properties: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """The text of a first ``worker.toml``."""
    lines = [
        "# Written by: orchestra worker join. Relative paths are relative to this file.",
        "[worker]",
        f"url = {quoted(url)}",
        *([f"name = {quoted(name)}"] if name else []),
        f"slots = {slots}  # how many runs at once",
        f"token_file = {quoted(TOKEN_FILE)}  # only for this account to read",
        f"properties = {quoted(properties)}  # what jobs are matched on",
        f"environment = {quoted(environment)}  # given to every command; {{environment[key]}} in argument lists",
    ]
    return "\n".join(lines) + "\n"


def _worker_text_again(file: Path, given: dict[str, Any]) -> str:
    """The text of the ``worker.toml`` that is there, with what is given."""
    raw = _read(file, "")
    before = read_settings(WorkerSettings, file, raw).worker
    for key in ("properties", "environment"):
        if key in given:
            given[key] = {**getattr(before, key), **given[key]}
    try:
        return with_values(raw.decode(), "worker", given)
    except Invalid as error:
        raise ConfigurationError(file, 0, "", str(error)) from None


def write_server_file(directory: Path, *, listen: str | None = None, base_url: str | None = None) -> Path:
    """Write ``orchestra.toml`` into a data directory, and answer its path.

    Raises ConfigurationError if there is one, or for a bad address.
    """
    file = directory.absolute() / SERVER_FILE
    text = render_server_file(listen=listen, base_url=base_url)
    read_settings(ServerSettings, file, text.encode())
    if file.exists():
        raise ConfigurationError(file, 0, "", "this directory is initialised already")
    try:
        make_private_directory(directory)
        write_private(file, text)
    except (Invalid, OSError) as error:
        raise _unusable(directory, error) from None
    return file


def write_example_projects(directory: Path) -> list[Path]:
    """Write the example project into a directory, which is made if need be; answers the paths of its files.

    Raises ConfigurationError when one is there already.
    """
    sources = [_EXAMPLES / "example.yaml"]
    files = [directory / source.name for source in sources]
    for file in files:
        if file.exists():
            raise ConfigurationError(file, 0, "", "this file is there already; it is never overwritten")
    try:
        make_private_directory(directory)
        for source, file in zip(sources, files, strict=True):
            write_private(file, source.read_text(encoding="utf-8"))
    except (Invalid, OSError) as error:
        raise _unusable(directory, error) from None
    return files


def render_server_file(*, listen: str | None = None, base_url: str | None = None) -> str:
    """The text of a first ``orchestra.toml``: every key with its default and what it means."""
    text = (_EXAMPLES / SERVER_FILE).read_text(encoding="utf-8")
    if listen is not None:
        text = text.replace('listen = "127.0.0.1:8080"', f"listen = {quoted(listen)}", 1)
    if base_url is not None:
        text = text.replace('# base_url = "https://ci.example.org"', f"base_url = {quoted(base_url)}", 1)
    return text


def _read(file: Path, advice: str) -> bytes:
    try:
        check_not_writable(file)
        with file.open("rb") as opened:
            raw = opened.read(_FILE_LIMIT + 1)
    except FileNotFoundError:
        raise ConfigurationError(file, 0, "", f"there is no such file: {advice}") from None
    except (Invalid, OSError) as error:
        raise _unusable(file, error) from None
    if len(raw) > _FILE_LIMIT:
        raise ConfigurationError(file, 0, "", "too large for a settings file")
    return raw


def _unusable(file: Path, error: Invalid | OSError) -> ConfigurationError:
    if isinstance(error, OSError):
        advice = ": be an account that may, such as root, or name another place" if error.errno == errno.EACCES else ""
        return ConfigurationError(file, 0, "", f"cannot be used: {error.strerror}{advice}")
    return ConfigurationError(file, 0, "", str(error).removeprefix(f"{file} "))


def _path_of(environ: Mapping[str, str], name: str) -> Path | None:
    text = environ.get(name, "")
    return Path(text) if text else None


def _home(environ: Mapping[str, str]) -> Path:
    return _path_of(environ, "HOME") or Path("/")


def _state_directory(environ: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib")
    return _path_of(environ, "XDG_DATA_HOME") or _home(environ) / ".local" / "share"


def environment() -> Mapping[str, str]:
    """The environment of this process, for what is started from it."""
    return dict(os.environ)


def boot_id() -> str:
    """Which boot of this machine it is, to tell a crash of the process from a loss of power (reliability.md 5.5).

    ``ORCHESTRA_BOOT_ID`` first: a hardened unit does not see the kernel's file and is told instead.
    """
    given = os.environ.get("ORCHESTRA_BOOT_ID") or Path("/proc/sys/kernel/random/boot_id").read_text()
    return given.strip().replace("-", "")  # systemd writes it without dashes, the kernel with them


def notify_socket(environ: Mapping[str, str] | None = None) -> tuple[str, float | None]:
    """Where the unit of this process listens, "" if there is none, and after how many seconds of silence its watchdog
    ends the process; None: never (sd_notify(3), sd_watchdog_enabled(3))."""
    environ = os.environ if environ is None else environ
    address = environ.get("NOTIFY_SOCKET", "")
    micros, watched = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    is_watched = micros.isascii() and micros.isdigit() and int(micros) > 0 and watched in ("", str(os.getpid()))
    return address, int(micros) / 1e6 if is_watched else None


def runtime_directory(environ: Mapping[str, str] | None = None) -> Path | None:
    """Where secrets of runs may lie for a moment, in memory, not on a disk (S-51); None: there is no such place."""
    environ = os.environ if environ is None else environ
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):  # of the unit, of the login
        given = _path_of(environ, name)
        if given is not None and given.is_dir():
            return given / "orchestra-worker"
    return None
