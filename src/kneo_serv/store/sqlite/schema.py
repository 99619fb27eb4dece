"""The tables, made by numbered migrations that are applied under a lock and logged one line each."""

import logging
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from kneo_serv.errors import StoreSchemaError

log = logging.getLogger("kneo_serv.store")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema. Never changed once it was released."""

    version: int
    name: str
    statements: tuple[str, ...]


MIGRATIONS = (
    Migration(
        1,
        "journal",
        (
            # One narrow row for each run: every append rewrites it, so long texts live beside it.
            """
            CREATE TABLE runs (
                id TEXT NOT NULL PRIMARY KEY,
                status TEXT NOT NULL,
                phase TEXT NOT NULL,
                seq INTEGER NOT NULL,
                updated_at REAL NOT NULL,
                fence INTEGER NOT NULL,
                lease_owner TEXT,
                lease_expires_at REAL,
                takeovers INTEGER NOT NULL,
                current_step_id TEXT,
                current_step_index INTEGER,
                current_node_id TEXT,
                continuation_id TEXT,
                error_type TEXT,
                error_message TEXT,
                started_at REAL,
                completed_at REAL,
                input_tokens INTEGER NOT NULL,
                output_tokens INTEGER NOT NULL,
                fault TEXT,
                created_at REAL NOT NULL,
                deadline_at REAL,
                plan_hash TEXT NOT NULL,
                target TEXT NOT NULL,
                agent_name TEXT,
                workflow_name TEXT,
                workflow_kind TEXT,
                session_id TEXT,
                parent_run_id TEXT,
                environment TEXT
            )
            """,
            "CREATE INDEX runs_by_created_at ON runs (created_at, id)",
            # The only index that every append moves; lists over all statuses merge its stretches.
            "CREATE INDEX runs_by_status ON runs (status, updated_at, id)",
            "CREATE INDEX runs_by_workflow ON runs (workflow_name, created_at)",
            "CREATE INDEX runs_by_agent ON runs (agent_name, created_at) WHERE agent_name IS NOT NULL",
            "CREATE INDEX runs_by_session ON runs (session_id, created_at) WHERE session_id IS NOT NULL",
            "CREATE INDEX runs_runnable ON runs (created_at, id) WHERE phase = 'runnable'",
            "CREATE INDEX runs_leased ON runs (lease_owner) WHERE lease_owner IS NOT NULL",
            """
            CREATE TABLE run_inputs (
                run_id TEXT NOT NULL PRIMARY KEY,
                input_text TEXT NOT NULL,
                public_input_text TEXT,
                tags TEXT NOT NULL,
                metadata TEXT NOT NULL
            )
            """,
            """
            CREATE TABLE run_outputs (
                run_id TEXT NOT NULL PRIMARY KEY,
                output_text TEXT NOT NULL,
                public_output_text TEXT
            )
            """,
            # Counted as rows come and go, so that the size of a long history costs nothing to tell.
            "CREATE TABLE run_counts (status TEXT NOT NULL PRIMARY KEY, runs INTEGER NOT NULL) WITHOUT ROWID",
            """
            CREATE TRIGGER runs_count_new AFTER INSERT ON runs BEGIN
                INSERT INTO run_counts (status, runs) VALUES (new.status, 1)
                    ON CONFLICT (status) DO UPDATE SET runs = runs + 1;
            END
            """,
            """
            CREATE TRIGGER runs_count_moved AFTER UPDATE OF status ON runs WHEN old.status <> new.status BEGIN
                UPDATE run_counts SET runs = runs - 1 WHERE status = old.status;
                INSERT INTO run_counts (status, runs) VALUES (new.status, 1)
                    ON CONFLICT (status) DO UPDATE SET runs = runs + 1;
            END
            """,
            """
            CREATE TRIGGER runs_count_gone AFTER DELETE ON runs BEGIN
                UPDATE run_counts SET runs = runs - 1 WHERE status = old.status;
            END
            """,
            "CREATE TABLE plans (hash TEXT NOT NULL PRIMARY KEY, plan TEXT NOT NULL)",
            # A position is never given twice: prunes leave something at the highest one (AUTOINCREMENT would write one
            # more page with every commit).
            """
            CREATE TABLE run_events (
                position INTEGER PRIMARY KEY,
                run_id TEXT NOT NULL,
                seq INTEGER NOT NULL,
                kind TEXT NOT NULL,
                at REAL NOT NULL,
                payload TEXT NOT NULL,
                public TEXT,
                UNIQUE (run_id, seq)
            )
            """,
            "CREATE TABLE snapshots (run_id TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL, state TEXT NOT NULL)",
            """
            CREATE TABLE human_tasks (
                continuation_id TEXT NOT NULL PRIMARY KEY,
                run_id TEXT NOT NULL,
                key TEXT NOT NULL,
                step_id TEXT NOT NULL,
                step_index INTEGER,
                workflow_name TEXT,
                workflow_kind TEXT,
                request TEXT NOT NULL,
                input_text TEXT NOT NULL,
                public_input_text TEXT,
                created_at REAL NOT NULL,
                status TEXT NOT NULL,
                expires_at REAL,
                escalated_at REAL,
                answered_at REAL,
                closed_at REAL,
                decision TEXT,
                actor TEXT
            )
            """,
            "CREATE INDEX human_tasks_by_status ON human_tasks (status, created_at, continuation_id)",
            "CREATE INDEX human_tasks_by_age ON human_tasks (created_at, continuation_id)",
            "CREATE INDEX human_tasks_by_run ON human_tasks (run_id, status)",
            """
            CREATE TABLE timers (
                run_id TEXT NOT NULL,
                kind TEXT NOT NULL,
                key TEXT NOT NULL,
                due_at REAL NOT NULL,
                PRIMARY KEY (run_id, kind, key)
            ) WITHOUT ROWID
            """,
            "CREATE INDEX timers_by_due_at ON timers (due_at, kind)",
            """
            CREATE TABLE audit_events (
                position INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                event_type TEXT NOT NULL,
                created_at REAL NOT NULL,
                run_id TEXT,
                continuation_id TEXT,
                actor TEXT,
                metadata TEXT NOT NULL
            )
            """,
            "CREATE INDEX audit_events_by_age ON audit_events (created_at, position)",
            "CREATE INDEX audit_events_by_type ON audit_events (event_type, created_at, position)",
            "CREATE INDEX audit_events_by_run ON audit_events (run_id, created_at, position) WHERE run_id IS NOT NULL",
            """
            CREATE TABLE documents (
                kind TEXT NOT NULL,
                name TEXT NOT NULL,
                text TEXT NOT NULL,
                PRIMARY KEY (kind, name)
            ) WITHOUT ROWID
            """,
        ),
    ),
    Migration(
        2,
        "sessions",
        (
            # Answers whether a run has to wait for an earlier one of its session, however long that session is.
            """
            CREATE INDEX runs_at_work_by_session ON runs (session_id, created_at, id)
                WHERE session_id IS NOT NULL AND phase IN ('runnable', 'waiting_timer')
            """,
        ),
    ),
    Migration(
        3,
        "service",
        (
            "ALTER TABLE runs ADD COLUMN tenant TEXT",
            "ALTER TABLE runs ADD COLUMN cached_tokens INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE runs ADD COLUMN requests INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE runs ADD COLUMN cost_usd REAL NOT NULL DEFAULT 0",
            "ALTER TABLE human_tasks ADD COLUMN tenant TEXT",
            "ALTER TABLE audit_events ADD COLUMN tenant TEXT",
            # What earlier runs used stands in their journals; a fork counts from the point where it parted.
            """
            UPDATE runs SET cached_tokens = used.cached, requests = used.requests, cost_usd = used.cost FROM (
                SELECT run_id,
                    coalesce(sum(json_extract(payload, '$.usage.cached_tokens')), 0) AS cached,
                    coalesce(sum(json_extract(payload, '$.usage.requests')), 0) AS requests,
                    coalesce(round(sum(json_extract(payload, '$.usage.cost_usd')), 9), 0) AS cost
                FROM run_events AS used_in
                WHERE kind IN ('model_turn_completed', 'guardrail_applied') AND json_valid(payload) AND seq > coalesce(
                    (SELECT max(seq) FROM run_events WHERE run_id = used_in.run_id AND kind = 'run_forked'), 0)
                GROUP BY run_id
            ) AS used WHERE used.run_id = runs.id
            """,
            # Sorted and filtered lists of one tenant; an installation without tenants pays nothing for them.
            "CREATE INDEX runs_by_tenant ON runs (tenant, created_at, id) WHERE tenant IS NOT NULL",
            "CREATE INDEX runs_by_tenant_status ON runs (tenant, status, updated_at, id) WHERE tenant IS NOT NULL",
            "CREATE INDEX runs_with_error ON runs (updated_at, id) WHERE error_type IS NOT NULL",
            # Sessions are those of a tenant.
            "DROP INDEX runs_at_work_by_session",
            """
            CREATE INDEX runs_at_work_by_session ON runs (session_id, tenant, created_at, id)
                WHERE session_id IS NOT NULL AND phase IN ('runnable', 'waiting_timer')
            """,
            # Only open tasks: what was answered burdens no list. The last two columns are there to be counted.
            """
            CREATE INDEX human_tasks_open ON human_tasks (expires_at, continuation_id, escalated_at, status)
                WHERE status = 'open'
            """,
            """
            CREATE INDEX human_tasks_open_by_tenant ON human_tasks (tenant, created_at, continuation_id)
                WHERE status = 'open' AND tenant IS NOT NULL
            """,
            """
            CREATE INDEX human_tasks_due_by_tenant
                ON human_tasks (tenant, expires_at, continuation_id, escalated_at, status)
                WHERE status = 'open' AND tenant IS NOT NULL
            """,
            """
            CREATE INDEX audit_events_by_tenant ON audit_events (tenant, created_at, position)
                WHERE tenant IS NOT NULL
            """,
            """
            CREATE TABLE tenant_run_counts (
                tenant TEXT NOT NULL,
                status TEXT NOT NULL,
                runs INTEGER NOT NULL,
                PRIMARY KEY (tenant, status)
            ) WITHOUT ROWID
            """,
            *(f"DROP TRIGGER runs_count_{moment}" for moment in ("new", "moved", "gone")),
            """
            CREATE TRIGGER runs_count_new AFTER INSERT ON runs BEGIN
                INSERT INTO run_counts (status, runs) VALUES (new.status, 1)
                    ON CONFLICT (status) DO UPDATE SET runs = runs + 1;
                INSERT INTO tenant_run_counts (tenant, status, runs)
                    SELECT new.tenant, new.status, 1 WHERE new.tenant IS NOT NULL
                    ON CONFLICT (tenant, status) DO UPDATE SET runs = runs + 1;
            END
            """,
            """
            CREATE TRIGGER runs_count_moved AFTER UPDATE OF status ON runs WHEN old.status <> new.status BEGIN
                UPDATE run_counts SET runs = runs - 1 WHERE status = old.status;
                INSERT INTO run_counts (status, runs) VALUES (new.status, 1)
                    ON CONFLICT (status) DO UPDATE SET runs = runs + 1;
                UPDATE tenant_run_counts SET runs = runs - 1 WHERE tenant = old.tenant AND status = old.status;
                INSERT INTO tenant_run_counts (tenant, status, runs)
                    SELECT new.tenant, new.status, 1 WHERE new.tenant IS NOT NULL
                    ON CONFLICT (tenant, status) DO UPDATE SET runs = runs + 1;
            END
            """,
            """
            CREATE TRIGGER runs_count_gone AFTER DELETE ON runs BEGIN
                UPDATE run_counts SET runs = runs - 1 WHERE status = old.status;
                UPDATE tenant_run_counts SET runs = runs - 1 WHERE tenant = old.tenant AND status = old.status;
            END
            """,
            """
            CREATE TABLE idempotency_keys (
                scope TEXT NOT NULL,
                principal TEXT NOT NULL,
                key TEXT NOT NULL,
                body_hash TEXT NOT NULL,
                run_id TEXT NOT NULL,
                continuation_id TEXT,
                from_seq INTEGER NOT NULL,
                asynchronous INTEGER NOT NULL,
                created_at REAL NOT NULL,
                PRIMARY KEY (scope, principal, key)
            ) WITHOUT ROWID
            """,
            "CREATE INDEX idempotency_keys_by_run ON idempotency_keys (run_id)",
            "CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at)",
        ),
    ),
    Migration(
        4,
        "schedules",
        (
            # A schedule without a tenant has an empty one, so that its name is unique too.
            """
            CREATE TABLE schedules (
                tenant TEXT NOT NULL,
                name TEXT NOT NULL,
                revision INTEGER NOT NULL,
                look_at REAL,
                record TEXT NOT NULL,
                PRIMARY KEY (tenant, name)
            ) WITHOUT ROWID
            """,
            "CREATE INDEX schedules_by_look_at ON schedules (look_at) WHERE look_at IS NOT NULL",
            # The timers of one kind are found without passing over those of another that nobody fires.
            "DROP INDEX timers_by_due_at",
            "CREATE INDEX timers_by_kind ON timers (kind, due_at)",
            # Whether a plan is still needed is asked with every run that is removed.
            "CREATE INDEX runs_by_plan ON runs (plan_hash)",
            """
            CREATE TABLE duties (
                name TEXT NOT NULL PRIMARY KEY,
                claimed_at REAL NOT NULL
            ) WITHOUT ROWID
            """,
        ),
    ),
    Migration(
        5,
        "fleet",
        (
            "ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0",
            # Runs that wait under equal conditions: the JSON text of queue, tenant and needs.
            """ALTER TABLE runs ADD COLUMN lane TEXT NOT NULL DEFAULT '["default",""]'""",
            "UPDATE runs SET lane = json_array('default', tenant) WHERE tenant IS NOT NULL",
            # The lines that a claim looks at; a run that is born leased is never in it.
            """
            CREATE INDEX runs_waiting ON runs (lane, priority DESC, created_at, id)
                WHERE phase = 'runnable' AND lease_owner IS NULL
            """,
            # When each tenant was let to work last, so that the next turn is another one's.
            "CREATE TABLE tenant_turns (tenant TEXT NOT NULL PRIMARY KEY, turn REAL NOT NULL) WITHOUT ROWID",
        ),
    ),
)

SCHEMA_VERSION = MIGRATIONS[-1].version
"""What this code reads and writes."""


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Makes sure that the database is empty, or ours and not newer than this code. Only reads.

    Raises:
        StoreSchemaError: it is neither; names the file and what to do.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}
    if "kneo_migrations" in tables:
        version = applied_version(connection)
        if version > SCHEMA_VERSION:
            raise StoreSchemaError(
                f"The database {path} has schema {version}, which a newer kneo-serv made; this one knows schemas up to "
                f"{SCHEMA_VERSION}. It is left untouched: install the newer version, or name another database."
            )
        return
    tables = {name for name in tables if not name.startswith("sqlite_")}
    if "schema_migrations" in tables:
        raise StoreSchemaError(
            f"The database {path} was made by the other implementation of this platform (kneo-serv 1.x: it has a table "
            "schema_migrations). It is left untouched: move the file elsewhere, or name another database."
        )
    if tables:
        raise StoreSchemaError(
            f"The database {path} belongs to another program (it has a table {min(tables)}). It is left untouched: "
            "name another database."
        )


def applied_version(connection: sqlite3.Connection) -> int:
    """Number of the last migration that this database has."""
    (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM kneo_migrations").fetchone()
    return int(version)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Brings the schema up to date. Call it inside BEGIN IMMEDIATE: another process may be at the same thing.

    Raises:
        StoreSchemaError: the database is another program's or of a newer version.
    """
    check_schema(connection, path)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS kneo_migrations"
        " (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at REAL NOT NULL)"
    )
    version = applied_version(connection)
    for migration in MIGRATIONS:
        if migration.version <= version:
            continue
        for statement in migration.statements:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO kneo_migrations (version, name, applied_at) VALUES (?, ?, ?)",
            (migration.version, migration.name, time.time()),
        )
        log.info("Applied migration %d (%s) to %s", migration.version, migration.name, path)
