"""The first schema: projects, runs, workers, accounts.

Instants are milliseconds since 1970, UTC. Text columns that hold JSON are never taken apart by the database. Names tell
no two things apart by case (S-21). The triggers on ``run`` are the last line of defence behind
``appliance.model.run_state``: their messages begin with ``run:`` and never have to be seen (I10).
"""

from sqlite_utils import Database

LEGAL = (
    "pending>assigned pending>cancelled assigned>pending assigned>running assigned>lost "
    "assigned>succeeded assigned>failed assigned>errored assigned>aborted running>lost "
    "running>succeeded running>failed running>errored running>aborted lost>running "
    "lost>succeeded lost>failed lost>errored lost>aborted"
)
BAD_END = "status IN ('aborted', 'cancelled', 'errored', 'failed')"

STATEMENTS = (
    # -- projects. What is gone from the files is hidden by removed_at; is_enabled_set is what was set at run time, and
    #    wins over the file's is_enabled; place is the order of the files.
    """
    CREATE TABLE project (
        identifier TEXT PRIMARY KEY,
        display_name TEXT NOT NULL,
        document TEXT NOT NULL CHECK (json_valid(document)),
        is_enabled INTEGER NOT NULL CHECK (is_enabled IN (0, 1)),
        position INTEGER NOT NULL,
        place INTEGER NOT NULL,
        is_enabled_set INTEGER CHECK (is_enabled_set IN (0, 1)),
        removed_at INTEGER
    ) STRICT
    """,
    """
    CREATE TABLE job (
        project TEXT NOT NULL REFERENCES project,
        identifier TEXT NOT NULL,
        display_name TEXT NOT NULL,
        description TEXT NOT NULL,
        document TEXT NOT NULL CHECK (json_valid(document)),
        definition_version TEXT NOT NULL REFERENCES definition,
        is_enabled INTEGER NOT NULL CHECK (is_enabled IN (0, 1)),
        findings TEXT NOT NULL CHECK (json_valid(findings)),
        blocking TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(blocking)),
        position INTEGER NOT NULL,
        place INTEGER NOT NULL,
        is_enabled_set INTEGER CHECK (is_enabled_set IN (0, 1)),
        removed_at INTEGER,
        PRIMARY KEY (project, identifier)
    ) STRICT
    """,
    """
    CREATE TABLE schedule (
        project TEXT NOT NULL REFERENCES project,
        identifier TEXT NOT NULL,
        display_name TEXT NOT NULL,
        document TEXT NOT NULL CHECK (json_valid(document)),
        is_enabled INTEGER NOT NULL CHECK (is_enabled IN (0, 1)),
        findings TEXT NOT NULL CHECK (json_valid(findings)),
        position INTEGER NOT NULL,
        place INTEGER NOT NULL,
        is_enabled_set INTEGER CHECK (is_enabled_set IN (0, 1)),
        removed_at INTEGER,
        PRIMARY KEY (project, identifier)
    ) STRICT
    """,
    """
    CREATE TABLE definition (
        version TEXT PRIMARY KEY,
        document TEXT NOT NULL CHECK (json_valid(document)),
        first_seen_at INTEGER NOT NULL
    ) STRICT
    """,
    # -- runs. Texts that many runs share are stored once, in word, and never change or go; ids that are UUIDs are
    #    stored as their 16 bytes, hexadecimal digests as bytes. Numbers go on when a job is removed and comes back, so
    #    the counter does not hang on the job.
    """
    CREATE TABLE word (
        word INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE
    ) STRICT
    """,
    """
    CREATE TRIGGER word_is_fixed BEFORE UPDATE ON word
    BEGIN SELECT RAISE(ABORT, 'word: words never change'); END
    """,
    """
    CREATE TRIGGER word_is_kept BEFORE DELETE ON word
    BEGIN SELECT RAISE(ABORT, 'word: words are never deleted'); END
    """,
    """
    CREATE TABLE counter (
        project INTEGER NOT NULL REFERENCES word,
        job INTEGER NOT NULL REFERENCES word,
        last INTEGER NOT NULL CHECK (last > 0),
        last_succeeded INTEGER,
        PRIMARY KEY (project, job)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX counter_by_job ON counter (job, project)",
    # place is created_at (milliseconds) * 2^21 + the first 21 bits of the id: rows lie in the order of all lists, and
    # every index ends with it. …_after are milliseconds after created_at. NULL stands for what is empty: parameters {},
    # sentence '', notes []. log_state: 1 complete + 2 verified. The lease_… columns are the lease, kept after the end;
    # streams are those of a run that has ended. What must hold in a row is said in triggers, not in CHECKs: those would
    # be looked at for every row at every start.
    """
    CREATE TABLE run (
        place INTEGER PRIMARY KEY,
        id ANY NOT NULL,
        project INTEGER NOT NULL,
        job INTEGER NOT NULL,
        number INTEGER NOT NULL,
        status TEXT NOT NULL,
        parameters TEXT,
        source INTEGER NOT NULL REFERENCES word,
        source_type TEXT NOT NULL,
        definition_version INTEGER NOT NULL REFERENCES word,
        reason TEXT,
        sentence TEXT,
        assigned_after INTEGER,
        accepted_after INTEGER,
        started_after INTEGER,
        finished_after INTEGER,
        expires_at INTEGER,
        worker_id INTEGER REFERENCES word,
        worker INTEGER REFERENCES word,
        slot INTEGER,
        exit INTEGER REFERENCES word,
        log_size INTEGER NOT NULL DEFAULT 0,
        log_sha256 ANY,
        log_state INTEGER NOT NULL DEFAULT 0,
        should_abort INTEGER NOT NULL DEFAULT 0,
        should_cancel INTEGER NOT NULL DEFAULT 0,
        requested_by TEXT,
        notes TEXT,
        retry_of ANY,
        parent ANY,
        batch ANY,
        priority INTEGER NOT NULL,
        version INTEGER NOT NULL,
        lease_worker INTEGER REFERENCES word,
        lease_journal INTEGER REFERENCES word,
        lease_epoch INTEGER,
        lease_slot INTEGER,
        lease_cap ANY,
        lease_after INTEGER,
        streams BLOB,
        recovered INTEGER NOT NULL DEFAULT 0,
        FOREIGN KEY (project, job) REFERENCES counter
    ) STRICT
    """,
    # For people at a shell; the appliance never reads it.
    """
    CREATE VIEW run_in_words AS SELECT
        iif(typeof(run.id) = 'blob', lower(hex(run.id)), run.id) AS id,
        (SELECT text FROM word WHERE word = run.project) AS project,
        (SELECT text FROM word WHERE word = run.job) AS job,
        number, status, reason, sentence, parameters,
        (SELECT text FROM word WHERE word = run.source) AS source,
        (SELECT text FROM word WHERE word = run.worker) AS worker,
        datetime((place >> 21) / 1000, 'unixepoch') AS created_at,
        datetime(((place >> 21) + started_after) / 1000, 'unixepoch') AS started_at,
        datetime(((place >> 21) + finished_after) / 1000, 'unixepoch') AS finished_at,
        (SELECT text FROM word WHERE word = run.exit) AS exit,
        notes
    FROM run
    """,
    "CREATE UNIQUE INDEX run_by_id ON run (id)",
    "CREATE UNIQUE INDEX run_by_number ON run (project, job, number)",
    "CREATE INDEX run_by_job ON run (project, job)",
    "CREATE INDEX run_by_project ON run (project)",
    "CREATE INDEX run_by_worker ON run (worker) WHERE worker IS NOT NULL",
    "CREATE INDEX run_by_source ON run (source_type)",
    # Partial: most runs succeed, and lists of those are found without; live runs are few.
    "CREATE INDEX run_by_status ON run (status) WHERE status <> 'succeeded'",
    f"CREATE INDEX run_by_project_status ON run (project, status) WHERE {BAD_END}",
    f"CREATE INDEX run_by_outcome ON run (project, job, status, number) WHERE {BAD_END}",
    "CREATE INDEX run_expires ON run (expires_at) WHERE status = 'pending' AND expires_at IS NOT NULL",
    "CREATE INDEX run_leased ON run (worker_id) WHERE status IN ('assigned', 'running', 'lost')",
    """
    CREATE TRIGGER run_begins_pending BEFORE INSERT ON run
    WHEN NEW.status <> 'pending' OR NEW.number < 1 OR NEW.version < 1
        OR NEW.assigned_after IS NOT NULL OR NEW.started_after IS NOT NULL OR NEW.finished_after IS NOT NULL
        OR NEW.reason IS NOT NULL OR NOT json_valid(ifnull(NEW.parameters, '{}'))
    BEGIN SELECT RAISE(ABORT, 'run: a new run is pending'); END
    """,
    f"""
    CREATE TRIGGER run_moves_legally BEFORE UPDATE OF status ON run
    WHEN OLD.status <> NEW.status AND instr(' {LEGAL} ', ' ' || OLD.status || '>' || NEW.status || ' ') = 0
    BEGIN SELECT RAISE(ABORT, 'run: this change of status is illegal'); END
    """,
    # An end, and nothing else, has a time of end; every end but success has a reason, as has lost; what is pending or
    # cancelled was never started.
    """
    CREATE TRIGGER run_is_consistent BEFORE UPDATE ON run
    WHEN (NEW.finished_after IS NULL) <> (NEW.status IN ('pending', 'assigned', 'running', 'lost'))
        OR (NEW.reason IS NULL) <> (NEW.status IN ('pending', 'assigned', 'running', 'succeeded'))
        OR (NEW.status IN ('pending', 'cancelled')) <> (NEW.assigned_after IS NULL)
        OR (NEW.started_after IS NOT NULL AND NEW.status IN ('pending', 'cancelled'))
        OR NOT json_valid(ifnull(NEW.notes, '[]'))
        OR NEW.should_abort NOT IN (0, 1) OR NEW.should_cancel NOT IN (0, 1) OR NEW.version < 1
    BEGIN SELECT RAISE(ABORT, 'run: the row contradicts itself'); END
    """,
    """
    CREATE TRIGGER run_end_is_final BEFORE UPDATE ON run
    WHEN OLD.finished_after IS NOT NULL AND (
        OLD.status, OLD.reason, OLD.sentence, OLD.assigned_after, OLD.accepted_after, OLD.started_after,
        OLD.finished_after, OLD.worker_id, OLD.worker, OLD.exit
    ) IS NOT (
        NEW.status, NEW.reason, NEW.sentence, NEW.assigned_after, NEW.accepted_after, NEW.started_after,
        NEW.finished_after, NEW.worker_id, NEW.worker, NEW.exit
    )
    BEGIN SELECT RAISE(ABORT, 'run: the facts of a run that has ended never change'); END
    """,
    """
    CREATE TRIGGER run_identity_is_fixed BEFORE UPDATE OF
        place, id, project, job, number, parameters, source, source_type, definition_version, expires_at,
        retry_of, parent, batch
    ON run
    BEGIN SELECT RAISE(ABORT, 'run: what its trigger settled never changes'); END
    """,
    # Nothing deletes runs yet. Retention will come with a rule of its own in place of this one.
    """
    CREATE TRIGGER run_is_kept BEFORE DELETE ON run
    BEGIN SELECT RAISE(ABORT, 'run: runs are not deleted'); END
    """,
    # What a worker was asked, word for word; only while the run is live.
    """
    CREATE TABLE request (
        place INTEGER PRIMARY KEY REFERENCES run,
        text TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TRIGGER run_has_ended AFTER UPDATE OF status ON run
    WHEN OLD.finished_after IS NULL AND NEW.finished_after IS NOT NULL
    BEGIN DELETE FROM request WHERE place = NEW.place; END
    """,
    """
    CREATE TRIGGER run_has_succeeded AFTER UPDATE OF status ON run
    WHEN NEW.status = 'succeeded' AND OLD.status <> 'succeeded'
    BEGIN
        UPDATE counter SET last_succeeded = max(ifnull(last_succeeded, 0), NEW.number)
        WHERE project = NEW.project AND job = NEW.job;
    END
    """,
    """
    CREATE TABLE idempotency_key (
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        digest ANY NOT NULL,
        created_at INTEGER NOT NULL,
        place INTEGER NOT NULL REFERENCES run,
        PRIMARY KEY (owner, key)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX idempotency_key_by_age ON idempotency_key (created_at)",
    # Streams of live runs, and what became known of others after their end.
    """
    CREATE TABLE stream (
        place INTEGER NOT NULL REFERENCES run,
        stream INTEGER NOT NULL,
        size INTEGER NOT NULL CHECK (size >= 0),
        crc32 INTEGER NOT NULL,
        boot_id INTEGER NOT NULL REFERENCES word,
        sha256 ANY,
        PRIMARY KEY (place, stream)
    ) STRICT, WITHOUT ROWID
    """,
    # text is the worker's, with its sequence number; laid_over holds the values set through the API, if any.
    """
    CREATE TABLE result (
        place INTEGER PRIMARY KEY REFERENCES run,
        seq INTEGER NOT NULL,
        text TEXT NOT NULL CHECK (json_valid(text)),
        laid_over TEXT CHECK (json_valid(laid_over))
    ) STRICT
    """,
    # What a worker reported of a run that had been ended without it.
    """
    CREATE TABLE late (
        place INTEGER PRIMARY KEY REFERENCES run,
        report TEXT NOT NULL CHECK (json_valid(report))
    ) STRICT
    """,
    # -- workers
    """
    CREATE TABLE worker (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        owner TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        properties TEXT NOT NULL CHECK (json_valid(properties)),
        reported TEXT NOT NULL CHECK (json_valid(reported)),
        version_text TEXT NOT NULL,
        version_before TEXT NOT NULL,
        version_since INTEGER,
        slots INTEGER NOT NULL,
        is_enabled INTEGER NOT NULL CHECK (is_enabled IN (0, 1)),
        is_draining INTEGER NOT NULL CHECK (is_draining IN (0, 1)),
        is_disconnected INTEGER NOT NULL CHECK (is_disconnected IN (0, 1) AND is_enabled + is_disconnected < 2),
        switched_at INTEGER,
        switched_by TEXT,
        journal_id TEXT,
        retired_journals TEXT NOT NULL,
        last_contact_at INTEGER,
        clock_offset REAL NOT NULL,
        revoked_at INTEGER,
        revoked_by TEXT,
        version INTEGER NOT NULL CHECK (version > 0)
    ) STRICT
    """,
    # -- accounts
    """
    CREATE TABLE user (
        name TEXT PRIMARY KEY COLLATE NOCASE,
        created_at INTEGER NOT NULL,
        password_hash TEXT,
        is_enabled INTEGER NOT NULL CHECK (is_enabled IN (0, 1)),
        site_roles TEXT NOT NULL CHECK (json_valid(site_roles)),
        project_roles TEXT NOT NULL CHECK (json_valid(project_roles)),
        version INTEGER NOT NULL CHECK (version > 0)
    ) STRICT
    """,
    """
    CREATE TABLE token (
        id TEXT PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('user', 'worker', 'setup')),
        hash TEXT NOT NULL UNIQUE,
        created_at INTEGER NOT NULL,
        user TEXT REFERENCES user ON DELETE CASCADE,
        worker_id TEXT REFERENCES worker ON DELETE CASCADE,
        label TEXT NOT NULL,
        expires_at INTEGER,
        last_used_at INTEGER,
        first_used_at INTEGER,
        CHECK ((kind = 'user') = (user IS NOT NULL) AND (kind = 'worker') = (worker_id IS NOT NULL))
    ) STRICT
    """,
    "CREATE INDEX token_by_user ON token (user, created_at, id) WHERE user IS NOT NULL",
    "CREATE INDEX token_by_worker ON token (worker_id) WHERE worker_id IS NOT NULL",
    "CREATE INDEX token_expires ON token (expires_at) WHERE expires_at IS NOT NULL",
    """
    CREATE TABLE session (
        id TEXT PRIMARY KEY,
        user TEXT NOT NULL REFERENCES user ON DELETE CASCADE,
        created_at INTEGER NOT NULL,
        refreshed_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        csrf TEXT NOT NULL,
        address TEXT NOT NULL,
        agent TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX session_by_user ON session (user, created_at, id)",
    "CREATE INDEX session_expires ON session (expires_at)",
)


def apply(db: Database) -> None:
    """Make everything."""
    for statement in STATEMENTS:
        db.execute(statement)
