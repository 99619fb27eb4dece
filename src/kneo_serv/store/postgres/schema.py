"""The tables, made by numbered migrations that are applied under a lock and logged one line each."""

import logging
from dataclasses import dataclass
from typing import Any

import psycopg

from kneo_serv.errors import StoreError, StoreSchemaError
from kneo_serv.store.postgres import functions, locks

log = logging.getLogger("kneo_serv.store")

type Connection = psycopg.AsyncConnection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema. Never changed once it was released."""

    version: int
    name: str
    statements: tuple[str, ...]


# Names are compared byte by byte (COLLATE "C"), so that every database sorts and pages alike. Times are seconds since
# the epoch in eight bytes, as they travel everywhere else.
_TEXT = 'text COLLATE "C"'

MIGRATIONS = (
    Migration(
        1,
        "journal",
        (
            # One narrow row for each run: every append rewrites it, so long texts live beside it. Room is left on each
            # page for the new version of a row whose lease is renewed.
            f"""
            CREATE TABLE runs (
                id {_TEXT} NOT NULL PRIMARY KEY,
                status {_TEXT} NOT NULL,
                phase {_TEXT} NOT NULL,
                seq bigint NOT NULL,
                updated_at double precision NOT NULL,
                fence bigint NOT NULL,
                lease_owner {_TEXT},
                lease_expires_at double precision,
                takeovers bigint NOT NULL,
                current_step_id {_TEXT},
                current_step_index bigint,
                current_node_id {_TEXT},
                continuation_id {_TEXT},
                error_type {_TEXT},
                error_message text,
                started_at double precision,
                completed_at double precision,
                input_tokens bigint NOT NULL,
                output_tokens bigint NOT NULL,
                cached_tokens bigint NOT NULL,
                requests bigint NOT NULL,
                cost_usd double precision NOT NULL,
                fault text,
                created_at double precision NOT NULL,
                deadline_at double precision,
                plan_hash {_TEXT} NOT NULL,
                target {_TEXT} NOT NULL,
                agent_name {_TEXT},
                workflow_name {_TEXT},
                workflow_kind {_TEXT},
                session_id {_TEXT},
                parent_run_id {_TEXT},
                environment {_TEXT},
                tenant {_TEXT},
                write_id bigint NOT NULL
            ) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)
            """,
            "CREATE INDEX runs_by_created_at ON runs (created_at, id)",
            # The only index that every append moves; lists over all statuses merge its stretches.
            "CREATE INDEX runs_by_status ON runs (status, updated_at, id)",
            "CREATE INDEX runs_by_workflow ON runs (workflow_name, created_at) WHERE workflow_name IS NOT NULL",
            "CREATE INDEX runs_by_agent ON runs (agent_name, created_at) WHERE agent_name IS NOT NULL",
            "CREATE INDEX runs_by_session ON runs (session_id, created_at) WHERE session_id IS NOT NULL",
            "CREATE INDEX runs_by_tenant ON runs (tenant, created_at, id) WHERE tenant IS NOT NULL",
            "CREATE INDEX runs_by_tenant_status ON runs (tenant, status, updated_at, id) WHERE tenant IS NOT NULL",
            "CREATE INDEX runs_with_error ON runs (updated_at, id) WHERE error_type IS NOT NULL",
            "CREATE INDEX runs_runnable ON runs (created_at, id) WHERE phase = 'runnable'",
            "CREATE INDEX runs_leased ON runs (id) WHERE lease_owner IS NOT NULL",
            # Answers whether a run has to wait for an earlier one of its session, however long that session is.
            """
            CREATE INDEX runs_at_work_by_session ON runs (session_id, tenant, created_at, id)
                WHERE session_id IS NOT NULL AND phase IN ('runnable', 'waiting_timer')
            """,
            # What retention looks for, the oldest first.
            """
            CREATE INDEX runs_over ON runs ((coalesce(completed_at, updated_at)), id)
                WHERE status IN ('cancelled', 'completed', 'expired', 'failed', 'timed_out')
            """,
            # The plan stands here too, since this row never changes and so costs its index only once.
            f"""
            CREATE TABLE run_inputs (
                run_id {_TEXT} NOT NULL PRIMARY KEY,
                plan_hash {_TEXT} NOT NULL,
                input_text text NOT NULL,
                public_input_text text,
                tags text NOT NULL,
                metadata text NOT NULL
            )
            """,
            "CREATE INDEX run_inputs_by_plan ON run_inputs (plan_hash)",
            f"""
            CREATE TABLE run_outputs (
                run_id {_TEXT} NOT NULL PRIMARY KEY,
                output_text text NOT NULL,
                public_output_text text
            )
            """,
            # How many runs there are by status: the sum of these rows. Changes are added as rows of their own, so that
            # no transaction waits for another one's count, and added up now and then. Without a tenant a row counts
            # the runs of all.
            f"""
            CREATE TABLE run_counts (tenant {_TEXT}, status {_TEXT} NOT NULL, runs bigint NOT NULL)
                WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)
            """,
            "CREATE INDEX run_counts_of_all ON run_counts (status) WHERE tenant IS NULL",
            "CREATE INDEX run_counts_by_tenant ON run_counts (tenant, status) WHERE tenant IS NOT NULL",
            f"CREATE TABLE plans (hash {_TEXT} NOT NULL PRIMARY KEY, plan text NOT NULL)",
            "CREATE SEQUENCE run_events_position AS bigint",
            # write_id tells the rows of one attempt to write from those of any other.
            f"""
            CREATE TABLE run_events (
                run_id {_TEXT} NOT NULL,
                seq bigint NOT NULL,
                position bigint NOT NULL DEFAULT nextval('run_events_position'),
                kind {_TEXT} NOT NULL,
                at double precision NOT NULL,
                payload text NOT NULL,
                public text,
                write_id bigint NOT NULL,
                PRIMARY KEY (run_id, seq)
            )
            """,
            "ALTER SEQUENCE run_events_position OWNED BY run_events.position",
            "CREATE UNIQUE INDEX run_events_by_position ON run_events (position)",
            f"""
            CREATE TABLE snapshots (run_id {_TEXT} NOT NULL PRIMARY KEY, seq bigint NOT NULL, state text NOT NULL)
            """,
            f"""
            CREATE TABLE human_tasks (
                continuation_id {_TEXT} NOT NULL PRIMARY KEY,
                run_id {_TEXT} NOT NULL,
                key {_TEXT} NOT NULL,
                step_id {_TEXT} NOT NULL,
                step_index bigint,
                workflow_name {_TEXT},
                workflow_kind {_TEXT},
                request text NOT NULL,
                input_text text NOT NULL,
                public_input_text text,
                created_at double precision NOT NULL,
                status {_TEXT} NOT NULL,
                expires_at double precision,
                escalated_at double precision,
                answered_at double precision,
                closed_at double precision,
                decision {_TEXT},
                actor {_TEXT},
                tenant {_TEXT}
            )
            """,
            "CREATE INDEX human_tasks_by_status ON human_tasks (status, created_at, continuation_id)",
            "CREATE INDEX human_tasks_by_age ON human_tasks (created_at, continuation_id)",
            "CREATE INDEX human_tasks_by_run ON human_tasks (run_id, status)",
            # Only open tasks: what was answered burdens no list.
            """
            CREATE INDEX human_tasks_open ON human_tasks (expires_at, continuation_id) INCLUDE (escalated_at)
                WHERE status = 'open'
            """,
            """
            CREATE INDEX human_tasks_open_by_tenant ON human_tasks (tenant, created_at, continuation_id)
                WHERE status = 'open' AND tenant IS NOT NULL
            """,
            """
            CREATE INDEX human_tasks_due_by_tenant ON human_tasks (tenant, expires_at, continuation_id)
                WHERE status = 'open' AND tenant IS NOT NULL
            """,
            """
            CREATE INDEX human_tasks_closed ON human_tasks ((coalesce(closed_at, created_at)), continuation_id)
                WHERE status <> 'open'
            """,
            f"""
            CREATE TABLE timers (
                run_id {_TEXT} NOT NULL,
                kind {_TEXT} NOT NULL,
                key {_TEXT} NOT NULL,
                due_at double precision NOT NULL,
                PRIMARY KEY (run_id, kind, key)
            )
            """,
            "CREATE INDEX timers_by_due_at ON timers (due_at, kind)",
            f"""
            CREATE TABLE audit_events (
                position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                id {_TEXT} NOT NULL UNIQUE,
                event_type {_TEXT} NOT NULL,
                created_at double precision NOT NULL,
                run_id {_TEXT},
                continuation_id {_TEXT},
                actor {_TEXT},
                metadata text NOT NULL,
                tenant {_TEXT}
            )
            """,
            "CREATE INDEX audit_events_by_age ON audit_events (created_at, position)",
            "CREATE INDEX audit_events_by_type ON audit_events (event_type, created_at, position)",
            "CREATE INDEX audit_events_by_run ON audit_events (run_id, created_at, position) WHERE run_id IS NOT NULL",
            """
            CREATE INDEX audit_events_by_tenant ON audit_events (tenant, created_at, position)
                WHERE tenant IS NOT NULL
            """,
            f"""
            CREATE TABLE documents (
                kind {_TEXT} NOT NULL,
                name {_TEXT} NOT NULL,
                text text NOT NULL,
                PRIMARY KEY (kind, name)
            )
            """,
            f"""
            CREATE TABLE idempotency_keys (
                scope {_TEXT} NOT NULL,
                principal {_TEXT} NOT NULL,
                key {_TEXT} NOT NULL,
                body_hash {_TEXT} NOT NULL,
                run_id {_TEXT} NOT NULL,
                continuation_id {_TEXT},
                from_seq bigint NOT NULL,
                asynchronous boolean NOT NULL,
                created_at double precision NOT NULL,
                PRIMARY KEY (scope, principal, key)
            )
            """,
            "CREATE INDEX idempotency_keys_by_run ON idempotency_keys (run_id)",
            "CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at)",
            functions.HORIZON,
            functions.WRITE_1,
        ),
    ),
    Migration(
        2,
        "schedules",
        (
            # A schedule without a tenant has an empty one, so that its name is unique too.
            f"""
            CREATE TABLE schedules (
                tenant {_TEXT} NOT NULL,
                name {_TEXT} NOT NULL,
                revision bigint NOT NULL,
                look_at double precision,
                record text NOT NULL,
                write_id bigint NOT NULL,
                PRIMARY KEY (tenant, name)
            )
            """,
            "CREATE INDEX schedules_by_look_at ON schedules (look_at, tenant, name) WHERE look_at IS NOT NULL",
            f"""
            CREATE TABLE duties (
                name {_TEXT} NOT NULL PRIMARY KEY,
                claimed_at double precision NOT NULL,
                write_id bigint NOT NULL
            )
            """,
            # The timers of one kind are found without passing over those of another that nobody fires.
            "DROP INDEX timers_by_due_at",
            "CREATE INDEX timers_by_kind ON timers (kind, due_at, run_id, key)",
            # Retention goes by the last change, which the index by status has already.
            "DROP INDEX runs_over",
        ),
    ),
    Migration(
        3,
        "fleet",
        (
            # A process of the version before does not know these columns.
            "ALTER TABLE runs ADD COLUMN priority bigint NOT NULL DEFAULT 0",
            # Runs that wait under equal conditions: the JSON text of queue, tenant and needs.
            f"""ALTER TABLE runs ADD COLUMN lane {_TEXT} NOT NULL DEFAULT '["default",""]'""",
            """UPDATE runs SET lane = '["default",' || to_json(tenant)::text || ']' WHERE tenant IS NOT NULL""",
            functions.LANE,
            """
            CREATE TRIGGER runs_lane BEFORE INSERT ON runs
                FOR EACH ROW WHEN (new.tenant IS NOT NULL AND new.lane = '["default",""]')
                EXECUTE FUNCTION kneo_lane_1()
            """,
            # The lines that a claim looks at; a run that is born leased is never in it.
            """
            CREATE INDEX runs_waiting ON runs (lane, priority DESC, created_at, id)
                WHERE phase = 'runnable' AND lease_owner IS NULL
            """,
            # Those at work, in the words of who counts them: else they would be looked for among all that wait.
            "DROP INDEX runs_leased",
            "CREATE INDEX runs_leased ON runs (lane) WHERE phase = 'runnable' AND lease_owner IS NOT NULL",
            # When each tenant was let to work last, so that the next turn is another one's.
            f"CREATE TABLE tenant_turns (tenant {_TEXT} NOT NULL PRIMARY KEY, turn double precision NOT NULL)",
            functions.WRITE_2,
        ),
    ),
)

SCHEMA_VERSION = MIGRATIONS[-1].version
"""What this code reads and writes."""

_OURS = frozenset(
    {
        *("runs", "run_inputs", "run_outputs", "run_counts", "plans", "run_events", "snapshots", "human_tasks"),
        *("timers", "audit_events", "documents", "idempotency_keys", "schedules", "duties", "tenant_turns"),
    }
)
_TABLES = "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema()"


async def migrate(connection: Connection, place: str) -> None:
    """Brings the schema up to date, whatever other processes are at the same thing. `place` names the database.

    Raises:
        StoreSchemaError: the database is another program's or of a newer version; nothing of it was changed.
        StoreError: the database has a setting with which no promise could be kept.
    """
    await _check_settings(connection, place)
    if await _version(connection, place) == SCHEMA_VERSION:
        return
    done: list[Migration] = []
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (locks.MIGRATIONS,))
        version = await _version(connection, place)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS kneo_migrations"
            " (version bigint PRIMARY KEY, name text NOT NULL, applied_at double precision NOT NULL)"
        )
        if version:
            # Before the rest, as whoever writes to a run does: else the two could wait for each other.
            await connection.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        for migration in MIGRATIONS:
            if migration.version <= version:
                continue
            for statement in migration.statements:
                await connection.execute(statement.encode())
            await connection.execute(
                "INSERT INTO kneo_migrations (version, name, applied_at)"
                " VALUES (%s, %s, extract(epoch from clock_timestamp()))",
                (migration.version, migration.name),
            )
            done.append(migration)
    for migration in done:
        log.info("Applied migration %d (%s) to %s", migration.version, migration.name, place)


async def _version(connection: Connection, place: str) -> int:
    """Number of the last migration that the database has; 0 where it has nothing of ours. Only reads."""
    rows = await (await connection.execute(_TABLES)).fetchall()
    tables = {name for (name,) in rows}
    if "kneo_migrations" in tables:
        found = await (await connection.execute("SELECT coalesce(max(version), 0) FROM kneo_migrations")).fetchone()
        version = int(found[0]) if found else 0
        if version > SCHEMA_VERSION:
            raise StoreSchemaError(
                f"The database {place} has schema {version}, which a newer kneo-serv made; this one knows schemas up "
                f"to {SCHEMA_VERSION}. It is left untouched: install the newer version, or name another database."
            )
        return version
    if "schema_migrations" in tables:
        raise StoreSchemaError(
            f"The database {place} was made by the other implementation of this platform (kneo-serv 1.x) or by another "
            "program: it has a table schema_migrations. It is left untouched: name another database, or another schema "
            "in it (?options=-csearch_path%3Dkneo)."
        )
    if foreign := sorted(tables & _OURS):
        raise StoreSchemaError(
            f"The database {place} has a table {foreign[0]} that another program made. It is left untouched: name "
            "another database, or another schema in it (?options=-csearch_path%3Dkneo)."
        )
    return 0


async def _check_settings(connection: Connection, place: str) -> None:
    row = await (
        await connection.execute(
            "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),"
            " current_setting('default_transaction_isolation'), current_setting('fsync'),"
            " current_setting('synchronous_commit'), current_setting('server_version'), current_schema()"
        )
    ).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    number, encoding, isolation, fsync, synchronous, version, schema = row
    if number < 140000:
        raise StoreError(f"The database {place} is PostgreSQL {version}; version 14 or later is needed.")
    if encoding != "UTF8":
        raise StoreError(
            f"The database {place} has the encoding {encoding}, which cannot keep every text. Make one with "
            "ENCODING 'UTF8'."
        )
    if isolation != "read committed":
        raise StoreError(
            f"Transactions on {place} are {isolation!r} by default, under which appends would not see each other. Set "
            "default_transaction_isolation to 'read committed' for this role (ALTER ROLE ... SET ...)."
        )
    if schema is None:
        raise StoreError(
            f"The search_path of {place} names no schema that exists. Create it (CREATE SCHEMA ...) or correct the URL."
        )
    if fsync != "on" or synchronous == "off":
        log.warning(
            "%s runs with fsync=%s and synchronous_commit=%s: what was acknowledged may be lost in a crash",
            *(place, fsync, synchronous),
        )
