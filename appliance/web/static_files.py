"""The files that pages load: style sheet, scripts, icons. Read once, at start, from a manifest (S-23).

No request ever opens a file: a request names an entry of the manifest or it names nothing. The address carries a digest
of the whole set, so that browsers keep the files for ever, a changed file has a new address, and scripts can import
each other by relative addresses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.model.errors import Invalid, NotFound

PACKAGED = Path(__file__).parent / "static"
FILE_LIMIT = 4 * 1024 * 1024
FILES_LIMIT = 500
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/vnd.microsoft.icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class StaticFile:
    """One file, whole. ``name`` is its path below its directory, with ``/``."""

    name: str
    content: bytes
    content_type: str


class StaticFiles:
    """The manifest: files of the package, replaced or joined by those of the operator's directories; the first wins."""

    def __init__(self, overrides: Sequence[Path] = ()) -> None:
        self._files: dict[str, StaticFile] = {}
        for directory in [PACKAGED, *reversed(overrides)]:
            for file in _walk(directory):
                self._files[file.name] = file
        digest = hashlib.sha256()
        for name, file in sorted(self._files.items()):
            digest.update(f"{name}\0{len(file.content)}\0".encode() + file.content)
        self.version = digest.hexdigest()[:12]

    @property
    def names(self) -> frozenset[str]:
        """All names in the manifest."""
        return frozenset(self._files)

    def address(self, name: str) -> str:
        """Where a page loads this file from. Raises NotFound: a template names a file that is not there."""
        if name not in self._files:
            raise NotFound(f"there is no static file {name!r}")
        return f"/static/{self.version}/{name}"

    def find(self, version: str, name: str) -> StaticFile:
        """What to answer for ``/static/<version>/<name>``. Raises NotFound for anything but today's addresses."""
        file = self._files.get(name)
        if file is None or version != self.version:
            raise NotFound("there is no such file")
        return file


def _walk(directory: Path) -> list[StaticFile]:
    """The regular files below a directory that have a known type. Links are left out: they could lead anywhere."""
    found: list[StaticFile] = []
    if not directory.is_dir():
        raise Invalid(f"the directory of static files {directory} does not exist")
    for path in sorted(directory.rglob("*")):
        content_type = TYPES.get(path.suffix.lower())
        if content_type is None or path.is_symlink() or not path.is_file():
            continue
        if path.stat().st_size > FILE_LIMIT or len(found) >= FILES_LIMIT:
            raise Invalid(f"{path}: static files may have {FILE_LIMIT} bytes each, and there may be {FILES_LIMIT}")
        found.append(StaticFile(path.relative_to(directory).as_posix(), path.read_bytes(), content_type))
    return found
