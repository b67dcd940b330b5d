"""A backup holds everything, is made while the server runs, and comes back whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import threading
import zlib
from pathlib import Path

import msgspec
import pytest

from appliance.backup import archive, back_up, restore, verify
from appliance.clock import FakeClock
from appliance.config import read_master_key
from appliance.exit_records import LATE
from appliance.foundation import DATABASE_FILE
from appliance.model.errors import Conflict, Full, Invalid, NotFound
from appliance.model.run_state import Reason, Status
from tests.backup.place import Site, database_of, log_file, quiet

OUTPUT = bytes(range(256)) * 100


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def _moved(site: Site, to: Path) -> bytes:
    """A new empty directory for a restore; answers the key that it needs."""
    to.mkdir(mode=0o700)
    return read_master_key(site.directory)


@pytest.mark.parametrize("name", ["b.tar", "b.tar.gz", "b.tgz", "b"])
def test_everything_comes_back_on_another_machine(site: Site, tmp_path: Path, name: str) -> None:
    with site.running() as life:
        ended, going = life.ended(OUTPUT), life.started(b"half")
        pending = life.trigger()
        made = back_up(life.of, tmp_path / name, quiet)
    assert (made.manifest.runs, made.manifest.logs, made.findings) == (3, 2, ())
    assert made.file.stat().st_mode & 0o777 == 0o600
    there = tmp_path / "there"
    restored = restore(made.file, there, FakeClock(), quiet, _moved(site, there))
    assert restored.findings == () and restored.aside is None
    assert log_file(there, ended).read_bytes() == OUTPUT
    assert log_file(there, going).read_bytes() == b"half"
    for shared in ("orchestra.toml", "projects/p.yaml", "master.key"):
        assert (there / shared).read_bytes() == (site.directory / shared).read_bytes()
    with database_of(there) as repository, database_of(site.directory) as original:
        for run in (ended, going, pending):
            assert repository.runs.get(run.id) == original.runs.get(run.id)
        assert repository.check() == []
        assert repository.lineage.recovery() is not None


def test_req_S_55_what_is_restored_is_for_its_owner_alone_whatever_the_umask(site: Site, tmp_path: Path) -> None:
    with site.running() as life:
        life.ended(OUTPUT)
        made = back_up(life.of, tmp_path / "b.tar", quiet)
    umask = os.umask(0o022)
    try:
        restore(made.file, site.directory, FakeClock(), quiet)
    finally:
        os.umask(umask)
    restored = [path for path in site.directory.rglob("*") if path.is_dir()]
    assert len(restored) >= 4
    assert {oct(path.stat().st_mode & 0o777) for path in restored} == {"0o700"}


def test_a_backup_into_a_directory_that_is_not_there_says_so(site: Site, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no directory .*/missing: make it, or name another file"):
        back_up(site.closed, tmp_path / "missing" / "b.tar", quiet)


def test_what_comes_after_the_snapshot_is_left_out_and_hurts_nothing(site: Site, tmp_path: Path) -> None:
    """The server goes on to print and to end runs while the logs are copied."""
    with site.running() as life:
        runs = [life.started(OUTPUT) for _ in range(4)]
        grown = threading.Event()

        def go_on(logs: int, _size: int) -> None:
            if not grown.is_set():
                grown.set()
                for run in runs:
                    life.of.leases.append_log(life.holder(), run.id, 0, len(OUTPUT), b"more")
                life.ended(b"new")

        made = back_up(life.of, tmp_path / "b.tar", go_on)
    assert grown.is_set() and made.manifest.runs == 4
    there = tmp_path / "there"
    restored = restore(made.file, there, FakeClock(), quiet, _moved(site, there))
    assert restored.findings == ()
    for run in runs:
        assert log_file(there, run).read_bytes() == OUTPUT


def test_a_live_log_that_shrinks_while_it_is_copied_comes_back_as_far_as_it_was(site: Site, tmp_path: Path) -> None:
    """A stream that is sent again from 0 (F39), in the worst moment."""
    with site.running() as life:
        first, second = life.started(OUTPUT), life.started(OUTPUT)

        def shrink(_logs: int, _size: int) -> None:
            for run in (first, second):
                life.of.logs.restart(run.id, 0)

        made = back_up(life.of, tmp_path / "b.tar", shrink)
    assert len(made.manifest.cut) == 1 and made.findings == ()
    there = tmp_path / "there"
    restore(made.file, there, FakeClock(), quiet, _moved(site, there))
    assert sorted(log_file(there, run).stat().st_size for run in (first, second)) == [0, len(OUTPUT)]


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_log_is_named_and_the_rest_is_backed_up(site: Site, tmp_path: Path, damage: str) -> None:
    with site.running() as life:
        spoilt, well = life.ended(OUTPUT), life.ended(b"well")
    file = log_file(site.directory, spoilt)
    match damage:
        case "cut":
            file.write_bytes(OUTPUT[:-1])
        case "changed":
            file.write_bytes(OUTPUT[:-1] + b"!")
        case "gone":
            file.unlink()
    made = back_up(site.closed, tmp_path / "b.tar", quiet)
    assert len(made.findings) == 1 and f"p/work#{spoilt.number}" in made.findings[0]
    there = tmp_path / "there"
    restored = restore(made.file, there, FakeClock(), quiet, _moved(site, there))
    assert len(restored.findings) == 1 and f"p/work#{spoilt.number}" in restored.findings[0]
    assert log_file(there, well).read_bytes() == b"well"


def test_a_backup_never_replaces_a_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("precious")
    with pytest.raises(Conflict, match="exists already"):
        back_up(site.closed, tmp_path / "b.tar", quiet)
    assert (tmp_path / "b.tar").read_text() == "precious"


def test_there_is_nothing_to_back_up_without_a_database(site: Site, tmp_path: Path) -> None:
    (site.directory / DATABASE_FILE).unlink()
    with pytest.raises(NotFound, match="no database"):
        back_up(site.closed, tmp_path / "b.tar", quiet)
    assert not (site.directory / DATABASE_FILE).exists()


def test_a_backup_that_fails_leaves_nothing(site: Site, tmp_path: Path) -> None:
    with site.running() as life:
        life.ended(OUTPUT)

    def fail(_logs: int, _size: int) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(site.directory.iterdir())
    with pytest.raises(Full, match="no space is left"):
        back_up(site.closed, tmp_path / "b.tar", fail)
    assert [one.name for one in tmp_path.iterdir()] == ["site"]
    assert sorted(site.directory.iterdir()) == before


def _unpacked(backup: bytes) -> bytes | None:
    """The tar file in it; None: it cannot be unpacked."""
    try:
        return gzip.decompress(backup) if backup[:2] == b"\x1f\x8b" else backup
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return None


@pytest.mark.parametrize("name", ["b.tar", "b.tar.gz"])
def test_a_backup_cut_off_anywhere_or_with_a_changed_byte_is_refused_and_changes_nothing(
    site: Site, tmp_path: Path, name: str
) -> None:
    with site.running() as life:
        life.ended(OUTPUT)
    made = back_up(site.closed, tmp_path / name, quiet)
    whole = made.file.read_bytes()
    bad = tmp_path / f"bad-{name}"
    content = {path: path.read_bytes() for path in site.directory.rglob("*") if path.is_file()}
    pieces = [whole[: len(whole) * part // 40] for part in range(36 if name.endswith("gz") else 30)]
    database = whole.index(b"SQLite format 3") if not name.endswith("gz") else len(whole) // 2
    places = (database + 30, database + 5000, database + 100)
    changed = [whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :] for place in places]
    pieces += [piece for piece in changed if _unpacked(piece) != _unpacked(whole)]  # zeros are zeros from anywhere
    assert len(pieces) > 30
    for piece in pieces:
        bad.write_bytes(piece)
        with pytest.raises((Invalid, Conflict)):
            restore(bad, site.directory, FakeClock(), quiet)
        with pytest.raises((Invalid, Conflict)):
            verify(bad, site.directory, quiet)
    assert {path: path.read_bytes() for path in site.directory.rglob("*") if path.is_file()} == {
        **content,
        **{one: one.read_bytes() for one in site.directory.glob("*.lock")},
    }


@pytest.mark.parametrize(
    "name",
    [
        "../../evil",
        "/etc/evil",
        "logs/../evil",
        "projects/../../evil",
        "projects/..",
        "logs/11111111-1111-1111-1111-111111111111/0.log/x",
        "orchestra.db-wal",
        "master.key",
    ],
)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_backup_made_by_an_enemy_writes_nowhere_else(site: Site, tmp_path: Path, name: str, kind: bytes) -> None:
    made = back_up(site.closed, tmp_path / "b.tar", quiet)
    evil = tmp_path / "evil.tar"
    shutil.copy(made.file, evil)
    with tarfile.open(made.file) as old, tarfile.open(evil, "w") as new:
        for member in old:
            if member.name == archive.MANIFEST:
                bad = tarfile.TarInfo(name)
                bad.type, bad.linkname = kind, "/etc/passwd"
                bad.size = 4 if kind == tarfile.REGTYPE else 0
                new.addfile(bad, io.BytesIO(b"evil"))
            new.addfile(member, old.extractfile(member))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Invalid, match="nothing was restored"):
        restore(evil, site.directory, FakeClock(), quiet)
    lock = site.directory / "orchestra.db.lock"
    assert sorted({*tmp_path.rglob("*")} - {lock}) == [one for one in before if one != lock]


@pytest.mark.parametrize(
    "cut",
    [
        {"logs/../orchestra.db": 0},
        {"logs/../x": 0},
        {"orchestra.db": 0},
        {"logs/11111111-1111-1111-1111-111111111111/0.log": 0},
        {"THE LOG": -1},
        {"THE LOG": 1 << 40},
    ],
)
def test_a_manifest_made_by_an_enemy_cuts_no_file_but_logs_of_the_backup(
    site: Site, tmp_path: Path, cut: dict[str, int]
) -> None:
    with site.running() as life:
        run = life.ended(OUTPUT)
    made = back_up(site.closed, tmp_path / "b.tar", quiet)
    evil = tmp_path / "evil.tar"
    with tarfile.open(made.file) as old, tarfile.open(evil, "w") as new:
        for member in old:
            content = old.extractfile(member)
            assert content is not None
            if member.name == archive.MANIFEST:
                names = {name.replace("THE LOG", archive.log_name(run.id, 0)): size for name, size in cut.items()}
                raw = msgspec.json.encode(msgspec.structs.replace(made.manifest, cut=names))
                member.size, content = len(raw), io.BytesIO(raw)
            new.addfile(member, content)
    before = (site.directory / DATABASE_FILE).read_bytes()
    with pytest.raises(Invalid, match="not what its manifest says"):
        verify(evil, site.directory, quiet)
    assert (site.directory / DATABASE_FILE).read_bytes() == before


def test_a_project_file_that_no_backup_can_hold_is_named_and_the_rest_is_whole(site: Site, tmp_path: Path) -> None:
    """Else the backup would be made, and refused when it is needed."""
    (site.directory / "projects" / "odd\nname.yaml").write_text("projects: []\n")
    made = back_up(site.closed, tmp_path / "b.tar", quiet)
    assert len(made.findings) == 1 and "is not in the backup" in made.findings[0]
    assert verify(made.file, site.directory, quiet) == (made.manifest, ())


def test_the_old_state_is_moved_aside_and_kept(site: Site, tmp_path: Path) -> None:
    with site.running() as life:
        old = life.ended(b"old")
    made = back_up(site.closed, tmp_path / "b.tar", quiet)
    with site.running() as life:
        new = life.ended(b"new")
    restored = restore(made.file, site.directory, FakeClock(), quiet)
    assert restored.aside is not None
    assert log_file(restored.aside, new).read_bytes() == b"new"
    assert log_file(site.directory, old).read_bytes() == b"old"
    with database_of(restored.aside) as repository:
        assert repository.runs.get(new.id) is not None
    with database_of(site.directory) as repository:
        assert repository.runs.get(new.id) is None
        assert repository.runs.get(old.id) is not None


def test_a_restore_waits_for_no_server_and_takes_no_other_key(site: Site, tmp_path: Path) -> None:
    made = back_up(site.closed, tmp_path / "b.tar", quiet)
    with site.running(), pytest.raises(Conflict, match="stop it first"):
        restore(made.file, site.directory, FakeClock(), quiet)
    there = tmp_path / "there"
    with pytest.raises(Conflict, match="--master-key-stdin"):
        restore(made.file, there, FakeClock(), quiet)
    with pytest.raises(Conflict, match="not the one"):
        restore(made.file, there, FakeClock(), quiet, bytes(32))
    assert [one.name for one in there.iterdir()] == ["orchestra.db.lock"]


class Killed(BaseException):
    """Nothing cleans up after it."""


@pytest.mark.parametrize("moment", range(8))
def test_fault_F40_a_restore_killed_at_any_rename_starts_no_server_and_is_done_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    with site.running() as life:
        old = life.ended(b"old")
    made = back_up(site.closed, tmp_path / "b.tar", quiet)
    with site.running() as life:
        new = life.ended(b"new")
    left = moment
    rename = Path.rename

    def die(self: Path, target: Path) -> Path:
        nonlocal left
        if self.name in (DATABASE_FILE, "logs"):
            left -= 1
            if left < 0:
                raise Killed
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", die)
    is_killed = False
    try:
        restore(made.file, site.directory, FakeClock(), quiet)
    except Killed:
        is_killed = True
    monkeypatch.undo()
    assert is_killed == (moment < 4)  # two files go aside, two come in
    if is_killed:
        with pytest.raises(Conflict, match="run orchestra restore again"), site.running():
            pass
        restore(made.file, site.directory, FakeClock(), quiet)
    with database_of(site.directory) as repository:
        assert repository.runs.get(old.id) is not None and repository.runs.get(new.id) is None
    assert log_file(site.directory, old).read_bytes() == b"old"
    assert list(site.directory.glob("before-restore-*/orchestra.db"))
    assert any(path.read_bytes() == b"new" for path in site.directory.glob(f"before-restore-*/logs/*/{new.id}/0.log"))


def test_a_backup_of_a_newer_format_is_refused(site: Site, tmp_path: Path) -> None:
    made = back_up(site.closed, tmp_path / "b.tar", quiet)
    content = made.file.read_bytes().replace(b'{"format":1,', b'{"format":9,')
    (tmp_path / "new.tar").write_bytes(content)
    with pytest.raises(Invalid, match="format 9"):
        verify(tmp_path / "new.tar", site.directory, quiet)


def test_a_restored_run_goes_on_where_it_was(site: Site, tmp_path: Path) -> None:
    with site.running() as life:
        run = life.started(b"half")
    made = back_up(site.closed, tmp_path / "b.tar", quiet)
    restore(made.file, site.directory, FakeClock(), quiet)
    with site.running() as life:
        assert life.of.logs.size(run.id, 0) == 4
        assert life.of.runs.get(run.id).status is Status.RUNNING
        life.of.leases.append_log(life.holder(), run.id, 0, 4, b" more")
        assert life.of.logs.read(run.id, 0, 0, 100) == b"half more"


def test_fault_F10_a_late_report_comes_back_with_its_log(site: Site, tmp_path: Path) -> None:
    with site.running() as life:
        run = life.started(b"half")
        life.of.leases.end_by_evidence(run, Reason.DECLARED_LOST, "declared lost by alice")
        life.report(run, OUTPUT)
        made = back_up(life.of, tmp_path / "b.tar", quiet)
    there = tmp_path / "there"
    restored = restore(made.file, there, FakeClock(), quiet, _moved(site, there))
    assert (made.findings, restored.findings) == ((), ())
    assert log_file(there, run).read_bytes() == b"half"
    assert log_file(there, run, LATE + 0).read_bytes() == OUTPUT


def test_a_damaged_log_of_a_late_report_is_named(site: Site, tmp_path: Path) -> None:
    with site.running() as life:
        run = life.started(b"half")
        life.of.leases.end_by_evidence(run, Reason.DECLARED_LOST, "declared lost by alice")
        life.report(run, OUTPUT)
    log_file(site.directory, run, LATE + 0).write_bytes(b"x" * len(OUTPUT))
    with site.running() as life:
        made = back_up(life.of, tmp_path / "b.tar", quiet)
    assert len(made.findings) == 1 and f"stream {LATE}" in made.findings[0]
    _, findings = verify(made.file, site.directory, quiet)
    assert len(findings) == 1 and f"stream {LATE}" in findings[0]
