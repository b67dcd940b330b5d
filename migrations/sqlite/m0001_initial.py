"""The first schema: lineage, projects, runs, workers, accounts.

Instants are milliseconds since 1970, UTC. Text columns that hold JSON are never taken apart by the database. Names tell
no two things apart by case (S-21). The two triggers on ``run`` are the last line of defence behind
``appliance.model.run_state``: their messages begin with ``run:`` and never have to be seen (I10).
"""

from sqlite_utils import Database

LEGAL = """
    ('pending', 'assigned'), ('pending', 'cancelled'),
    ('assigned', 'pending'), ('assigned', 'running'), ('assigned', 'lost'),
    ('assigned', 'succeeded'), ('assigned', 'failed'), ('assigned', 'errored'), ('assigned', 'aborted'),
    ('running', 'lost'),
    ('running', 'succeeded'), ('running', 'failed'), ('running', 'errored'), ('running', 'aborted'),
    ('lost', 'running'),
    ('lost', 'succeeded'), ('lost', 'failed'), ('lost', 'errored'), ('lost', 'aborted')
"""

STATEMENTS = (
    # -- lineage
    """
    CREATE TABLE identity (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        cluster TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE lineage (
        epoch INTEGER PRIMARY KEY,
        incarnation TEXT NOT NULL,
        boot_id TEXT NOT NULL,
        started_at INTEGER NOT NULL
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
    # -- runs. Numbers go on when a job is removed and comes back, so the counter does not hang on the job.
    """
    CREATE TABLE counter (
        project TEXT NOT NULL,
        job TEXT NOT NULL,
        last INTEGER NOT NULL CHECK (last > 0),
        PRIMARY KEY (project, job)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX counter_by_job ON counter (job, project)",
    """
    CREATE TABLE run (
        id TEXT NOT NULL PRIMARY KEY,
        project TEXT NOT NULL,
        job TEXT NOT NULL,
        number INTEGER NOT NULL CHECK (number > 0),
        status TEXT NOT NULL CHECK (status IN (
            'pending', 'assigned', 'running', 'lost', 'succeeded', 'failed', 'errored', 'aborted', 'cancelled'
        )),
        parameters TEXT NOT NULL CHECK (json_valid(parameters)),
        source TEXT NOT NULL CHECK (json_valid(source)),
        source_type TEXT NOT NULL,
        definition_version TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        reason TEXT,
        sentence TEXT NOT NULL,
        assigned_at INTEGER,
        accepted_at INTEGER,
        started_at INTEGER,
        finished_at INTEGER,
        expires_at INTEGER,
        worker_id TEXT,
        worker TEXT,
        slot INTEGER,
        exit TEXT CHECK (json_valid(exit)),
        log TEXT NOT NULL CHECK (json_valid(log)),
        should_abort INTEGER NOT NULL CHECK (should_abort IN (0, 1)),
        should_cancel INTEGER NOT NULL CHECK (should_cancel IN (0, 1)),
        requested_by TEXT,
        notes TEXT NOT NULL CHECK (json_valid(notes)),
        retry_of TEXT,
        parent TEXT,
        batch TEXT,
        priority INTEGER NOT NULL,
        version INTEGER NOT NULL CHECK (version > 0),
        FOREIGN KEY (project, job) REFERENCES counter,
        CONSTRAINT only_an_end_has_a_time_of_end CHECK (
            (finished_at IS NULL) = (status IN ('pending', 'assigned', 'running', 'lost'))
        ),
        CONSTRAINT every_end_but_success_has_a_reason CHECK (
            (reason IS NULL) = (status IN ('pending', 'assigned', 'running', 'succeeded'))
        ),
        CONSTRAINT pending_or_cancelled_was_never_started CHECK (
            (status NOT IN ('pending', 'cancelled')) = (assigned_at IS NOT NULL)
            AND (started_at IS NULL OR status NOT IN ('pending', 'cancelled'))
        )
    ) STRICT
    """,
    "CREATE UNIQUE INDEX run_by_number ON run (project, job, number)",
    "CREATE INDEX run_by_outcome ON run (project, job, status, number)",
    "CREATE INDEX run_by_time ON run (created_at, id)",
    "CREATE INDEX run_by_job ON run (project, job, created_at, id)",
    "CREATE INDEX run_by_project ON run (project, created_at, id)",
    "CREATE INDEX run_by_project_status ON run (project, status, created_at, id)",
    "CREATE INDEX run_by_status ON run (status, created_at, id)",
    "CREATE INDEX run_by_worker ON run (worker, created_at, id) WHERE worker IS NOT NULL",
    "CREATE INDEX run_by_source ON run (source_type, created_at, id)",
    # Partial: they stay small however many runs have ended.
    "CREATE INDEX run_pending ON run (created_at, id) WHERE status = 'pending'",
    "CREATE INDEX run_expires ON run (expires_at, id) WHERE status = 'pending' AND expires_at IS NOT NULL",
    "CREATE INDEX run_leased ON run (worker_id, created_at, id) WHERE status IN ('assigned', 'running', 'lost')",
    """
    CREATE TRIGGER run_begins_pending BEFORE INSERT ON run WHEN NEW.status <> 'pending'
    BEGIN SELECT RAISE(ABORT, 'run: a new run is pending'); END
    """,
    f"""
    CREATE TRIGGER run_moves_legally BEFORE UPDATE OF status ON run
    WHEN OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (VALUES {LEGAL})
    BEGIN SELECT RAISE(ABORT, 'run: this change of status is illegal'); END
    """,
    """
    CREATE TRIGGER run_end_is_final BEFORE UPDATE ON run
    WHEN OLD.finished_at IS NOT NULL AND (
        OLD.status, OLD.reason, OLD.sentence, OLD.assigned_at, OLD.accepted_at, OLD.started_at, OLD.finished_at,
        OLD.worker_id, OLD.worker, OLD.exit
    ) IS NOT (
        NEW.status, NEW.reason, NEW.sentence, NEW.assigned_at, NEW.accepted_at, NEW.started_at, NEW.finished_at,
        NEW.worker_id, NEW.worker, NEW.exit
    )
    BEGIN SELECT RAISE(ABORT, 'run: the facts of a run that has ended never change'); END
    """,
    """
    CREATE TRIGGER run_identity_is_fixed BEFORE UPDATE OF
        id, project, job, number, parameters, source, source_type, definition_version, created_at, expires_at,
        retry_of, parent, batch
    ON run
    BEGIN SELECT RAISE(ABORT, 'run: what its trigger settled never changes'); END
    """,
    # Nothing deletes runs yet. Retention will come with a rule of its own in place of this one.
    """
    CREATE TRIGGER run_is_kept BEFORE DELETE ON run
    BEGIN SELECT RAISE(ABORT, 'run: runs are not deleted'); END
    """,
    """
    CREATE TABLE idempotency_key (
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        digest TEXT NOT NULL,
        run_id TEXT NOT NULL REFERENCES run,
        PRIMARY KEY (owner, key)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX idempotency_key_by_run ON idempotency_key (run_id)",
    """
    CREATE TABLE lease (
        run_id TEXT PRIMARY KEY REFERENCES run,
        worker_id TEXT NOT NULL,
        journal_id TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        slot INTEGER NOT NULL,
        cap TEXT NOT NULL,
        request TEXT NOT NULL,
        granted_at INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE stream (
        run_id TEXT NOT NULL REFERENCES run,
        stream INTEGER NOT NULL,
        size INTEGER NOT NULL CHECK (size >= 0),
        crc32 INTEGER NOT NULL,
        boot_id TEXT NOT NULL,
        sha256 TEXT,
        PRIMARY KEY (run_id, stream)
    ) STRICT, WITHOUT ROWID
    """,
    # text is the worker's, with its sequence number; laid_over holds the values set through the API.
    """
    CREATE TABLE result (
        run_id TEXT PRIMARY KEY REFERENCES run,
        seq INTEGER NOT NULL,
        text TEXT NOT NULL CHECK (json_valid(text)),
        laid_over TEXT NOT NULL CHECK (json_valid(laid_over))
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
        slots INTEGER NOT NULL,
        is_enabled INTEGER NOT NULL CHECK (is_enabled IN (0, 1)),
        is_draining INTEGER NOT NULL CHECK (is_draining IN (0, 1)),
        journal_id TEXT,
        last_contact_at INTEGER,
        clock_offset REAL NOT NULL,
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
