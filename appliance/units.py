"""systemd units for this machine: those of the package, fitted to where the program, its data and its account are.

What is written can be written again: it is the same each time, and an operator's drop-ins are left alone. The rules
that the units are hardened by are S-66 and S-70; each line of a unit says why it is there.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import appliance
from appliance.model.errors import Conflict, Forbidden

UNITS = Path("/etc/systemd/system")
SERVER_UNIT = "orchestra.service"
WORKER_UNIT = "orchestra-worker@.service"
SERVER_ACCOUNT, WORKER_ACCOUNT = "orchestra", "orchestra-worker"

_PACKAGE = "appliance.systemd"
_PROGRAM = "/opt/orchestra/bin/orchestra"  # what stands in the package's units, as in the next two
_SERVER_DATA, _WORKER_DATA = "/var/lib/orchestra", "/var/lib/orchestra-worker/%i"
_STATE = Path("/var/lib")
_BOOTED = Path("/run/systemd/system")  # is there if systemd has booted the machine (sd_booted(3))
_HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user")))  # by ProtectHome
_NAMEABLE = re.compile(r"[A-Za-z0-9/._+@=,:-]+(?!\n)")
_NOTIFY_RELOAD = 253  # the version of systemd that knows Type=notify-reload
_NOTIFY = "Type=notify\n"
_TRY = "import sys; import appliance.__main__; [open(one).close() for one in sys.argv[1:]]"


class UnitFile(NamedTuple):
    """A file below ``UNITS``."""

    name: str
    text: str


class Plan(NamedTuple):
    """What one installation writes. ``unit`` is what systemctl calls it; ``account`` runs it and owns ``directory``."""

    unit: str
    files: tuple[UnitFile, ...]
    account: str
    directory: Path
    settings: Path
    home: Path | None = None  # of jobs


def worker_place(name: str) -> Path:
    """Where the data of a worker lies that a unit runs, unless told otherwise."""
    return Path(_WORKER_DATA.replace("%i", name))


def server_plan(settings: Path, directory: Path, *, allow: Sequence[str] = (), version: int = 0) -> Plan:
    """Units of the server with this settings file and data directory, both absolute.

    ``allow``: the only addresses it talks with besides this machine's; none: all. ``version``: of systemd.
    Raises Conflict for a place that a hardened unit cannot see or name.
    """
    account = _account(directory, settings, SERVER_ACCOUNT)
    text = _fitted(SERVER_UNIT, account, SERVER_ACCOUNT)
    text = _at(text, directory, _SERVER_DATA, "orchestra")
    text = text.replace(f"--config {directory}/orchestra.toml", f"--config {_nameable(settings)}")
    if version >= _NOTIFY_RELOAD:
        text = re.sub(r"\nExecReload=.*", "", text).replace(_NOTIFY, "Type=notify-reload\n")
    files = [UnitFile(SERVER_UNIT, text)]
    if allow:
        addresses = " ".join(["localhost", *allow])
        files.append(UnitFile(f"{SERVER_UNIT}.d/addresses.conf", f"{_ADDRESSES}IPAddressAllow={addresses}\n"))
    return Plan(SERVER_UNIT, tuple(files), account, directory, settings)


def worker_plan(name: str, settings: Path, directory: Path, *, strict: bool = False) -> Plan:
    """Units of a worker: the template, and drop-ins for what this one has of its own. Raises Conflict."""
    account = _account(directory, settings, WORKER_ACCOUNT)
    unit = WORKER_UNIT.replace("@", f"@{name}")
    template = _fitted(WORKER_UNIT, WORKER_ACCOUNT, WORKER_ACCOUNT)
    files = [UnitFile(WORKER_UNIT, template)]
    own = []
    if account != WORKER_ACCOUNT:
        own += [f"User={account}", f"Group={_group(account)}"]
    if directory != worker_place(name) or settings != directory / "worker.toml":
        _nameable(directory)
        program = re.search(r"^ExecStart=(.*) --config ", template, re.MULTILINE)
        assert program is not None
        own += [
            "ExecStart=",
            f"ExecStart={program[1]} --config {_nameable(settings)}",
            "StateDirectory=",
            f"ReadWritePaths={directory}",
            f"Environment=HOME={directory}/home",
        ]
    if own:
        text = "\n".join(["# Written by: orchestra systemd install --worker", "[Service]", *own, ""])
        files.append(UnitFile(f"{unit}.d/place.conf", text))
    if strict:
        files.append(UnitFile(f"{unit}.d/strict.conf", _of_package("strict.conf")))
    return Plan(unit, tuple(files), account, directory, settings, directory / "home")


@contextlib.contextmanager
def acting_as_owner(path: Path) -> Iterator[None]:
    """Root touches what is an account's with the rights of that account, so that no link in there leads it astray.

    Nothing changes for others than root, and for what does not exist. For the whole process: no threads meanwhile.
    """
    seen = (path.lstat(), path.stat()) if os.geteuid() == 0 and path.exists() else ()
    owner = next((one for one in seen if one.st_uid != 0), None)  # of a link first: who made it chose what it leads to
    if owner is None:
        yield
        return
    group = os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


def check_machine() -> int:
    """The version of the systemd that runs this machine. Raises Forbidden unless we are root, Conflict without it."""
    if os.geteuid() != 0:
        raise Forbidden("units are written as root: run this with sudo")
    if not _BOOTED.is_dir():
        raise Conflict("this machine was not started by systemd: run orchestra in another way, or see --dry-run")
    found = re.match(r"systemd (\d+)", _run("systemctl", "--version"))
    return int(found[1]) if found else 0


def install(plan: Plan, *, into: Path = UNITS) -> list[str]:
    """Make the account, give it its directory, write the units, and enable them at boot. Answers what was changed,
    one sentence each; nothing, if all was so already. Raises Conflict, OSError."""
    done = []
    if _make_account(plan.account):
        done.append(f"made the account {plan.account}")
    account = pwd.getpwnam(plan.account)
    if plan.directory.parent == Path(_WORKER_DATA).parent:
        plan.directory.parent.chmod(0o755)  # whoever joined as root may have made it with a narrow umask
    if _give(plan.directory, account.pw_uid, account.pw_gid):
        done.append(f"{plan.directory} belongs to {plan.account} now")
    if plan.home is not None:
        with acting_as_owner(plan.directory):
            plan.home.mkdir(mode=0o700, exist_ok=True)
    _try_as(account, plan.settings)
    done += [f"wrote {path}" for path in _write(plan.files, into)]
    _run("systemctl", "daemon-reload")
    if _run("systemctl", "is-enabled", plan.unit, ends=(0, 1)).strip() != "enabled":
        _run("systemctl", "enable", "--quiet", plan.unit)
        done.append(f"{plan.unit} starts with the machine")
    return done


def restart(plan: Plan) -> None:
    """Start the unit, again if it runs; returns when it is ready. Raises Conflict, with where to look."""
    _run("systemctl", "restart", plan.unit, advice=f"; journalctl -u {plan.unit} says why")


# ---- inside

_ADDRESSES = """\
# Written by: orchestra systemd install --allow
[Service]
# The kernel drops packets from and to everybody else: also of notices, and of programs that the server asks.
IPAddressDeny=any
"""


def _of_package(name: str) -> str:
    return resources.files(_PACKAGE).joinpath(name).read_text("utf-8")


def _fitted(name: str, account: str, standard: str) -> str:
    """A unit of the package, with this program and this account."""
    text = _of_package(name).replace(_PROGRAM, _program())
    return text.replace(f"User={standard}\nGroup={standard}", f"User={account}\nGroup={_group(account)}")


def _at(text: str, directory: Path, standard: str, name: str) -> str:
    """With another data directory. Below /var/lib systemd looks after it; elsewhere it must be there."""
    if directory == Path(standard):
        return text
    _nameable(directory)
    kept = f"StateDirectory={directory.name}\nStateDirectoryMode=0700\n" if directory.parent == _STATE else ""
    text = text.replace(f"StateDirectory={name}\nStateDirectoryMode=0700\n", kept)
    return re.sub(rf"{re.escape(standard)}(?![\w-])", str(directory), text)


def _program() -> str:
    """How the unit starts what is running now."""
    beside = Path(sys.executable).with_name("orchestra")
    for place in (Path(sys.executable), Path(appliance.__file__)):
        _check_seen(place, "this program is installed", "install it in /opt/orchestra")
    _check_seen(Path(sys.executable).resolve(), "the Python of this program is", "install it with /usr/bin/python3")
    return _nameable(beside) if beside.exists() else f"{_nameable(Path(sys.executable))} -P -m appliance"


def _check_seen(place: Path, what: str, advice: str) -> None:
    for hidden in _HIDDEN:
        if place.is_relative_to(hidden):
            raise Conflict(f"{what} below {hidden}, which the units cannot see: {advice}")


def _nameable(path: Path) -> str:
    if not _NAMEABLE.fullmatch(str(path)):
        raise Conflict(f"a unit cannot name {path}: use letters, digits and /._+@=,:- only")
    return str(path)


def _account(directory: Path, settings: Path, standard: str) -> str:
    """Who runs the unit: whoever owns the directory already, but never root.

    What root's directory is given to an account only if root says so: the settings are root's, too.
    """
    _check_seen(directory, "the data directory is", "move it to /var/lib")
    try:
        owner = directory.stat().st_uid
    except FileNotFoundError:
        return standard
    said_by = settings.lstat().st_uid  # a link is as good as who made it
    if owner == 0 and said_by in (0, os.geteuid()):
        return standard
    if owner == 0:
        raise Conflict(f"{directory} is root's, and {settings} is not: run chown root {settings}, if it may say so")
    if said_by not in (0, os.geteuid(), owner):  # jobs have their worker's account: they could name one of others
        raise Conflict(f"{directory} and {settings} belong to two accounts: run chown root {settings} if it may say so")
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        raise Conflict(f"{directory} belongs to no account of this machine: run chown -R root {directory}") from None


def _group(account: str) -> str:
    try:
        return str(pwd.getpwnam(account).pw_gid) if account not in (SERVER_ACCOUNT, WORKER_ACCOUNT) else account
    except KeyError:
        return account


def _make_account(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        home = _SERVER_DATA if name == SERVER_ACCOUNT else str(Path(_WORKER_DATA).parent)
        _run("systemd-sysusers", "--inline", f'u {name} - "Orchestra Appliance" {home}')
        return True
    return False


def _give(directory: Path, uid: int, gid: int) -> bool:
    """What root has made there becomes the account's. Links are not followed."""
    owner = directory.stat().st_uid
    if owner == uid:
        return False
    if owner != 0:
        raise Conflict(f"{directory} belongs to another account than the unit is for: run this again")
    for place, directories, files in os.walk(directory, topdown=False):
        for name in (*directories, *files):
            os.chown(f"{place}/{name}", uid, gid, follow_symlinks=False)
    os.chown(directory, uid, gid)  # last, so that an interrupted run is done again
    return True


def _try_as(account: pwd.struct_passwd, settings: Path) -> None:
    """Raise Conflict unless the account can start the program and read its settings."""
    tried = subprocess.run(
        [sys.executable, "-P", "-c", _TRY, str(settings)],
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if tried.returncode != 0:
        why = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Conflict(f"the account {account.pw_name} cannot run this program with {settings}: {why}")


def _write(files: Sequence[UnitFile], into: Path) -> list[Path]:
    written = []
    for name, text in files:
        path = into / name
        if path.exists() and path.read_text("utf-8") == text:
            continue
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_text(text, "utf-8")
        part.chmod(0o644)
        part.replace(path)
        written.append(path)
    return written


def _run(*words: str, ends: tuple[int, ...] = (0,), advice: str = "") -> str:
    try:
        ran = subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)
    except FileNotFoundError:
        raise Conflict(f"{words[0]} is not installed: it comes with systemd") from None
    except subprocess.TimeoutExpired:
        raise Conflict(f"{' '.join(words)} takes longer than three minutes{advice}") from None
    if ran.returncode not in ends:
        why = (ran.stderr.strip().splitlines() or ["no reason given"])[0]
        raise Conflict(f"{' '.join(words[:3])} failed: {why}{advice}")
    return ran.stdout
