"""The format of a backup: a tar file, gzipped if its name says so, that any machine can read without this program.

``orchestra.db``, then ``logs/UUID/STREAM.log``, ``orchestra.toml`` and ``projects/…``, and last ``manifest.json``: a
file that was cut off has none. Reading takes nothing but regular files under these names.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

import msgspec

from appliance.model.errors import Invalid

FORMAT = 1
DATABASE = "orchestra.db"
SETTINGS = "orchestra.toml"
MANIFEST = "manifest.json"
PIECE = 1 << 20
GZIP_LEVEL = 1  # logs shrink a lot at once, and little more for ten times the time
MANIFEST_LIMIT = 1 << 20
_GZIPPED = (".gz", ".tgz")
_LOG = re.compile(r"logs/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/([0-9]{1,5})\.log(?!\n)")
_PROJECT = re.compile(r"projects(?:/(?!\.{1,2}/|\.{1,2}$)[^/\x00-\x1f]{1,255}){1,16}(?!\n)")
_UNREADABLE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError)


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself. ``key_check`` recognises the master key it needs, and tells nothing of it.

    ``cut``: streams that became shorter while they were copied, and their true sizes by name.
    """

    format: int
    version: str
    created_at: datetime
    cluster: str
    runs: int
    logs: int
    log_bytes: int
    database_size: int
    database_sha256: str
    key_check: str
    cut: dict[str, int] = {}


class Entry(msgspec.Struct, frozen=True):
    """One file of a backup."""

    name: str
    size: int
    log: tuple[str, int] | None = None  # run id and stream, if it is one


class Content(Protocol):
    """Where the bytes of an entry come from."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes."""
        ...


class Counted:
    """Exactly ``size`` bytes of a file, with their digest. One that has fewer is filled up, and ``missing`` says so."""

    def __init__(self, file: Content, size: int) -> None:
        self._file = file
        self._left = size
        self.missing = 0
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        wanted = self._left if size < 0 else min(size, self._left)
        piece = b"" if self.missing else self._file.read(wanted)
        if len(piece) < wanted and not piece:
            self.missing += wanted
            piece = bytes(wanted)
        else:
            self.sha256.update(piece)
        self._left -= len(piece)
        if 0 < len(piece) < wanted:
            piece += self.read(wanted - len(piece))
        return piece


class Writer:
    """A backup being written."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, content: Content, size: int, at: datetime) -> Counted:
        """Put ``size`` bytes in as ``name``."""
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime, entry.mode = size, int(at.timestamp()), 0o600
        counted = Counted(content, size)
        self._tar.addfile(entry, counted)
        return counted

    def finish(self, manifest: Manifest) -> None:
        """The last entry; without it the file is no backup."""
        raw = msgspec.json.encode(manifest)
        self.add(MANIFEST, io.BytesIO(raw), len(raw), manifest.created_at)


@contextmanager
def writing(file: BinaryIO, name: str) -> Iterator[Writer]:
    """A backup to be written to ``file``; ``name`` decides whether it is gzipped."""
    if name.endswith(_GZIPPED):
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=GZIP_LEVEL, format=tarfile.PAX_FORMAT) as tar:
            yield Writer(tar)
    else:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            yield Writer(tar)


def is_entry(name: str) -> bool:
    """Whether a backup can hold a file of this name."""
    fixed = name in (DATABASE, SETTINGS, MANIFEST)
    return fixed or _LOG.fullmatch(name) is not None or _PROJECT.fullmatch(name) is not None


def log_name(run_id: str, stream: int) -> str:
    """The entry of a stream."""
    return f"logs/{run_id}/{stream:d}.log"


@contextmanager
def reading(path: Path) -> Iterator[Iterator[tuple[Entry, IO[bytes]]]]:
    """The entries in order, each with its content to read before the next. Raises Invalid for what is no backup."""
    with path.open("rb") as file:
        try:
            is_packed = file.peek(2)[:2] == b"\x1f\x8b"
            source = cast(IO[bytes], gzip.GzipFile(fileobj=file) if is_packed else file)
            with tarfile.open(fileobj=source, mode="r|", bufsize=PIECE) as tar:
                yield _entries(tar)
            while source.read(PIECE):  # to the end, where gzip compares its checksum
                pass
        except _UNREADABLE as error:
            raise Invalid(f"{path} is no whole backup ({error}); take another one") from None


def _entries(tar: tarfile.TarFile) -> Iterator[tuple[Entry, IO[bytes]]]:
    for member in tar:
        content = tar.extractfile(member) if member.isreg() else None
        log = _LOG.fullmatch(member.name)
        if content is None or not is_entry(member.name):
            raise Invalid(f"the backup holds {member.name[:200]!r}, which no backup of ours does; nothing was restored")
        yield Entry(member.name, member.size, (log[1], int(log[2])) if log else None), content


def read_manifest(content: IO[bytes]) -> Manifest:
    """Raises Invalid."""
    try:
        manifest = msgspec.json.decode(content.read(MANIFEST_LIMIT), type=Manifest)
    except msgspec.DecodeError as error:
        raise Invalid(f"the backup's manifest cannot be read: {error}") from None
    if manifest.format != FORMAT:
        raise Invalid(f"the backup has format {manifest.format}; this program reads {FORMAT}: use the newer version")
    return manifest
