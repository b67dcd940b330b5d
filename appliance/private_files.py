"""Files that other accounts of the machine must not read (S-55) or write (S-89)."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from pathlib import Path

from appliance.model.errors import Invalid

_PRIVATE_LIMIT = 64 * 1024


def make_private_directory(directory: Path) -> None:
    """Make the directory, 0700, with its parents. One that exists keeps its mode if nobody else may write to it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_not_writable(directory)


def write_private(path: Path, text: str) -> None:
    """Put ``text`` in a file of mode 0600, durable, in place of the old one at once or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def read_private(path: Path, *, guarded_by_system: bool = False) -> str:
    """The text of a file that only its owner may read. Raises Invalid, with what to do, if others may, and OSError.

    ``guarded_by_system``: a credential of systemd, whose group bits are the mask of an access list and no right.
    """
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if not guarded_by_system and stat.S_IMODE(found.st_mode) & 0o077:
            raise Invalid(f"{path} may be read by others: run chmod 600 {path}")
        if not guarded_by_system and found.st_uid not in (0, os.geteuid()):
            raise _foreign(path, found.st_uid)
        raw = file.read(_PRIVATE_LIMIT + 1)
    if len(raw) > _PRIVATE_LIMIT:
        raise Invalid(f"{path} is too large to be a key or a token")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not text") from None


def check_not_writable(path: Path) -> None:
    """Raise Invalid unless the file or directory is root's or ours and nobody else may write to it.

    What stands in such a file is executed by the server or with its rights.
    """
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()):
        raise _foreign(path, found.st_uid)
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise Invalid(f"{path} may be changed by others: run chmod go-w {path}")


def _foreign(path: Path, owner: int) -> Invalid:
    if os.geteuid() != 0:
        return Invalid(f"{path} belongs to another account: run chown {os.geteuid()} {path}")
    name = _name(owner)
    return Invalid(f"{path} belongs to the account {name}: run this as that account, with sudo -u {name}")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"  # as sudo writes it


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
