"""Which database this is, the lives of its master, and what a restored one has yet to hear (F24).

Instants are milliseconds since 1970, UTC.
"""

from sqlite_utils import Database

STATEMENTS = (
    "CREATE TABLE identity (one INTEGER PRIMARY KEY CHECK (one = 1), cluster TEXT NOT NULL) STRICT",
    """
    CREATE TABLE lineage (
        epoch INTEGER PRIMARY KEY, incarnation TEXT NOT NULL UNIQUE, boot_id TEXT NOT NULL, started_at INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TRIGGER lineage_is_append_only BEFORE UPDATE ON lineage
    BEGIN SELECT RAISE(ABORT, 'lineage: rows never change'); END
    """,
    """
    CREATE TRIGGER lineage_is_kept BEFORE DELETE ON lineage
    BEGIN SELECT RAISE(ABORT, 'lineage: rows are never deleted'); END
    """,
    # The latest time that is certain, whatever the clock of the machine says (F22).
    "CREATE TABLE clock (one INTEGER PRIMARY KEY CHECK (one = 1), mark INTEGER NOT NULL) STRICT",
    # -- recoveries: what a restored database has yet to hear from its workers (F24)
    #    lost_life: lives of the master that came after the backup, of which a worker told.
    "CREATE TABLE lost_life (incarnation TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    """
    CREATE TABLE recovery (
        number INTEGER PRIMARY KEY, began_at INTEGER NOT NULL, backup_at INTEGER,
        released_at INTEGER, released_by TEXT, ended_at INTEGER
    ) STRICT
    """,
    """
    CREATE TABLE recovery_worker (
        recovery INTEGER NOT NULL REFERENCES recovery,
        worker_id TEXT NOT NULL, journal_id TEXT, merged_at INTEGER, note TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (recovery, worker_id)
    ) STRICT, WITHOUT ROWID
    """,
    # was_live: when the recovery began. is_recovered: NULL as long as nobody has said.
    """
    CREATE TABLE recovery_run (
        recovery INTEGER NOT NULL REFERENCES recovery,
        id ANY NOT NULL,
        was_live INTEGER NOT NULL CHECK (was_live IN (0, 1)),
        is_recovered INTEGER CHECK (is_recovered IN (0, 1)),
        PRIMARY KEY (recovery, id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX recovery_run_failed ON recovery_run (id) WHERE is_recovered = 0",
    # Assignments that came back: a worker that shows one proves nothing that this database does not know.
    """
    CREATE TABLE returned (
        place INTEGER NOT NULL REFERENCES run, cap ANY NOT NULL,
        PRIMARY KEY (place, cap)
    ) STRICT, WITHOUT ROWID
    """,
)


def apply(db: Database) -> None:
    """Make everything."""
    for statement in STATEMENTS:
        db.execute(statement)
