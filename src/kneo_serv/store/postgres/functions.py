"""Functions inside the database: a whole batch of writing in one round trip and one transaction.

The number in a name is raised with every change, in a new migration that adds the new one; the older one stays for the
processes that still run the version before.
"""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

from kneo_serv.store.postgres import locks

HORIZON = f"""
CREATE FUNCTION kneo_horizon_1() RETURNS bigint LANGUAGE plpgsql AS $body$
-- The highest position up to which a feed can be read without ever missing an event: none at or below it is still in
-- an open transaction. Writers hold a lock that is numbered by a position below all of theirs, so the order of these
-- two statements matters: whoever took positions before the first one either holds its lock in the second one, or has
-- committed, and is seen by whatever statement follows.
DECLARE
    newest bigint;
    lowest bigint;
BEGIN
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO newest FROM run_events_position;
    SELECT min(number) - {locks.POSITION} INTO lowest
    FROM (SELECT classid::bigint << 32 | objid::bigint AS number FROM pg_catalog.pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1
        AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) AS held
    WHERE number >= {locks.POSITION} AND number < {locks.POSITION} + (1::bigint << 48);
    RETURN least(newest, lowest);
END
$body$
"""


LANE = """
CREATE FUNCTION kneo_lane_1() RETURNS trigger LANGUAGE plpgsql AS $body$
-- The lane of a tenant's run that a process of the version without lanes makes.
BEGIN
    new.lane := '["default",' || to_json(new.tenant)::text || ']';
    RETURN new;
END
$body$
"""


def _items(*types: str, start: int = 0) -> str:
    """One SQL expression for each type: the items of a JSON array `v` from `start` on, as values of these types."""
    casts = {"text": "", "int": "::bigint", "real": "::double precision", "bool": "::boolean"}
    expanded = [name for item in types for name in _repeated(item)]
    return ", ".join(f"(v->>{place}){casts[name]}" for place, name in enumerate(expanded, start))


def _repeated(item: str) -> list[str]:
    name, _, times = item.partition("*")
    return [name] * int(times or 1)


_RUN_COLUMNS = (
    "id, status, phase, seq, updated_at, takeovers, current_step_id, current_step_index, current_node_id,"
    " continuation_id, error_type, error_message, started_at, completed_at, input_tokens, output_tokens,"
    " cached_tokens, requests, cost_usd, fault, created_at, deadline_at, plan_hash, target, agent_name, workflow_name,"
    " workflow_kind, session_id, parent_run_id, environment, tenant, write_id"
)
_RUN_ITEMS = _items(
    *("text*3", "int", "real", "int", "text", "int", "text*4", "real*2", "int*4", "real", "text", "real*2", "text*9"),
    "int",
)
_OWNER, _LEASE, _SESSIONS, _PRIORITY, _LANE = 32, 33, 34, 35, 36

_VERDICT = """
        CASE
        WHEN batch ? 'again' AND (runs.write_id = (v->>26)::bigint OR EXISTS (SELECT 1 FROM run_events
            WHERE run_id = v->>0 AND run_events.seq = (v->>21)::bigint + 1 AND write_id = (v->>26)::bigint)) THEN 'done'
        WHEN taken ? (v->>0) THEN 'key'
        WHEN runs.id IS NULL THEN 'missing'
        WHEN v->>22 IS NOT NULL AND (fence <> (v->>22)::bigint OR lease_owner IS NULL
            OR lease_owner IS DISTINCT FROM v->>23) THEN 'fence'
        WHEN status = ANY (over) AND NOT (v->>24)::boolean
            AND NOT ((v->>17)::boolean AND status = 'failed') THEN 'ended'
        WHEN (v->>24)::boolean AND status <> ALL (over) THEN 'sequence'
        WHEN runs.seq <> (v->>21)::bigint THEN 'sequence'
        WHEN (v->>25)::boolean AND (
            (SELECT count(*) FROM jsonb_array_elements(batch->'closed') AS c WHERE c->>0 = v->>0) <>
            (SELECT count(DISTINCT human_tasks.continuation_id) FROM jsonb_array_elements(batch->'closed') AS c
                JOIN human_tasks ON human_tasks.continuation_id = c->>1
                WHERE c->>0 = v->>0 AND run_id = v->>0 AND human_tasks.status = 'open')
            OR (SELECT count(*) FROM jsonb_array_elements(batch->'escalated') AS c WHERE c->>0 = v->>0) <>
            (SELECT count(DISTINCT human_tasks.continuation_id) FROM jsonb_array_elements(batch->'escalated') AS c
                JOIN human_tasks ON human_tasks.continuation_id = c->>1
                WHERE c->>0 = v->>0 AND run_id = v->>0 AND human_tasks.status = 'open' AND escalated_at IS NULL)
        ) THEN 'task'
        END"""

WAITS = """(session_id IS NOT NULL AND started_at IS NULL AND EXISTS (SELECT 1 FROM runs AS earlier
    WHERE earlier.session_id = runs.session_id AND earlier.tenant IS NOT DISTINCT FROM runs.tenant
    AND earlier.phase IN ('runnable', 'waiting_timer')
    AND (earlier.created_at, earlier.id) < (runs.created_at, runs.id)))"""
"""Whether a run has to wait for an earlier one of its session."""


def _rows(part: str, statement: str) -> str:
    """A statement for the rows of one part of the batch, where it has any, but for those of refused requests.

    `{v}` in it stands for their source: JSON arrays, the first item of each being the id of the run written to.
    """
    source = f"jsonb_array_elements(batch->'{part}') AS v"
    return f"""
    IF batch ? '{part}' THEN
        {statement.replace("{v}", source).replace("{kept}", "(v->>0) <> ALL (lost)")};
    END IF;"""


_WRITE = f"""
CREATE FUNCTION {{name}}(batch jsonb) RETURNS jsonb LANGUAGE plpgsql
-- Plans that are made once and go by indexes: a table that was empty when they were made may be large by now.
SET plan_cache_mode TO force_generic_plan SET jit TO off
SET enable_seqscan TO off SET enable_hashjoin TO off SET enable_mergejoin TO off
AS $body$
-- Writes a batch of creations, appends and claims, of each run and each idempotency key at most one. Answers with
-- [[run, verdict or null, seq, status], ...], [[run, fence, takeover, takeovers], ...] and, by run, what a taken
-- idempotency key stands for. Every session of the database takes locks in one order: names, runs by id, the rest.
DECLARE
    over constant text[] := ARRAY['cancelled', 'completed', 'expired', 'failed', 'timed_out'];
    moment double precision;
    lost text[] := '{{}}';
    waiting text[] := '{{}}';
    refused text[];
    taken jsonb;
    verdicts jsonb := '[]';
    answers jsonb;
    moves jsonb;
    claims jsonb;
BEGIN
    IF batch ? 'locks' THEN
        PERFORM pg_advisory_xact_lock(name::bigint) FROM jsonb_array_elements_text(batch->'locks') AS name;
    END IF;
    IF batch ? 'runs' THEN
        PERFORM 1 FROM runs WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text(batch->'runs')))
            ORDER BY id FOR UPDATE;
    END IF;
    moment := extract(epoch from clock_timestamp());
    IF batch ? 'keys' THEN
        SELECT jsonb_object_agg(v->>0, jsonb_build_array(scope, principal, key, body_hash, run_id, continuation_id,
            from_seq, asynchronous, created_at)) INTO taken
        FROM jsonb_array_elements(batch->'keys') AS v
        JOIN idempotency_keys ON scope = v->>1 AND principal = v->>2 AND key = v->>3;
    END IF;

    IF batch ? 'creations' THEN
        PERFORM pg_advisory_xact_lock_shared({locks.PLANS});
        SELECT coalesce(jsonb_agg(jsonb_build_array(id, verdict, born)), '[]'),
            coalesce(array_agg(id) FILTER (WHERE verdict <> 'waits'), '{{}}'),
            coalesce(array_agg(id) FILTER (WHERE verdict = 'waits'), '{{}}')
        INTO verdicts, lost, waiting
        FROM (SELECT v->>0 AS id,
            CASE WHEN batch ? 'again' THEN
                (SELECT fence > 0 AND v->>{_OWNER} IS NOT NULL FROM runs WHERE runs.id = v->>0) END AS born,
            CASE
            WHEN batch ? 'again' AND (
                EXISTS (SELECT 1 FROM runs WHERE runs.id = v->>0 AND write_id = (v->>31)::bigint)
                OR EXISTS (SELECT 1 FROM run_events
                    WHERE run_id = v->>0 AND seq = 1 AND write_id = (v->>31)::bigint)) THEN 'done'
            WHEN taken ? (v->>0) THEN 'key'
            WHEN EXISTS (SELECT 1 FROM runs WHERE runs.id = v->>0) THEN 'id'
            WHEN v->>{_SESSIONS} <> 'interleave' AND EXISTS (SELECT 1 FROM runs WHERE session_id = v->>27
                AND tenant IS NOT DISTINCT FROM v->>30 AND phase IN ('runnable', 'waiting_timer'))
            THEN CASE v->>{_SESSIONS} WHEN 'reject' THEN 'busy' ELSE 'waits' END
            END AS verdict
            FROM jsonb_array_elements(batch->'creations') AS v) AS decided;
        INSERT INTO plans (hash, plan) SELECT DISTINCT ON (v->>1) v->>1, v->>2
            FROM jsonb_array_elements(batch->'plans') AS v WHERE (v->>0) <> ALL (lost) ORDER BY v->>1
            ON CONFLICT (hash) DO NOTHING;
        INSERT INTO runs ({{columns}}, fence, lease_owner, lease_expires_at)
            SELECT {{items}}, leased::int, CASE WHEN leased THEN v->>{_OWNER} END,
                CASE WHEN leased THEN moment + (v->>{_LEASE})::double precision END
            FROM (SELECT v, v->>{_OWNER} IS NOT NULL AND (v->>0) <> ALL (waiting) AS leased
                FROM jsonb_array_elements(batch->'creations') AS v WHERE (v->>0) <> ALL (lost)) AS made
            ORDER BY v->>0;
        INSERT INTO run_inputs (run_id, plan_hash, input_text, public_input_text, tags, metadata)
            SELECT {_items("text*6")} FROM jsonb_array_elements(batch->'inputs') AS v WHERE (v->>0) <> ALL (lost);
        INSERT INTO run_counts (tenant, status, runs)
            SELECT whose.tenant, v->>1, count(*) FROM jsonb_array_elements(batch->'creations') AS v
            CROSS JOIN LATERAL (SELECT NULL AS tenant UNION ALL SELECT v->>30 WHERE v->>30 IS NOT NULL) AS whose
            WHERE (v->>0) <> ALL (lost) GROUP BY whose.tenant, v->>1;
    END IF;

    IF batch ? 'appends' THEN
        SELECT jsonb_agg(jsonb_build_array(run, verdict, seq, status)),
            coalesce(array_agg(run) FILTER (WHERE verdict IS NOT NULL), '{{}}'),
            jsonb_agg(jsonb_build_array(tenant, status, wanted)) FILTER (WHERE verdict IS NULL AND status <> wanted)
        INTO answers, refused, moves
        FROM (SELECT v->>0 AS run, v->>2 AS wanted, runs.seq, status, tenant, {_VERDICT} AS verdict
            FROM jsonb_array_elements(batch->'appends') AS v LEFT JOIN runs ON runs.id = v->>0) AS decided;
        verdicts := verdicts || answers;
        lost := lost || refused;
        UPDATE runs SET
            seq = (v->>1)::bigint,
            status = v->>2,
            phase = v->>3,
            updated_at = (v->>4)::double precision,
            current_step_id = v->>5,
            current_step_index = (v->>6)::bigint,
            current_node_id = v->>7,
            continuation_id = v->>8,
            error_type = v->>9,
            error_message = v->>10,
            started_at = (v->>11)::double precision,
            completed_at = (v->>12)::double precision,
            input_tokens = (v->>13)::bigint,
            output_tokens = (v->>14)::bigint,
            lease_owner = CASE WHEN (v->>15)::boolean THEN NULL ELSE lease_owner END,
            lease_expires_at = CASE WHEN (v->>15)::boolean THEN NULL ELSE lease_expires_at END,
            takeovers = CASE WHEN (v->>16)::boolean THEN 0 ELSE takeovers END,
            fault = CASE WHEN (v->>17)::boolean THEN NULL ELSE fault END,
            cached_tokens = (v->>18)::bigint,
            requests = (v->>19)::bigint,
            cost_usd = (v->>20)::double precision,
            write_id = (v->>26)::bigint
            FROM jsonb_array_elements(batch->'appends') AS v WHERE runs.id = v->>0 AND (v->>0) <> ALL (lost);
        IF moves IS NOT NULL THEN
            INSERT INTO run_counts (tenant, status, runs)
                SELECT whose.tenant, change.status, sum(change.runs) FROM jsonb_array_elements(moves) AS v
                CROSS JOIN LATERAL (VALUES (v->>1, -1), (v->>2, 1)) AS change (status, runs)
                CROSS JOIN LATERAL (SELECT NULL AS tenant UNION ALL SELECT v->>0 WHERE v->>0 IS NOT NULL) AS whose
                GROUP BY whose.tenant, change.status HAVING sum(change.runs) <> 0;
        END IF;
    END IF;
{
    _rows(
        "outputs",
        f'''INSERT INTO run_outputs (run_id, output_text, public_output_text)
            SELECT {_items("text*3")} FROM {{v}} WHERE {{kept}}
            ON CONFLICT (run_id) DO UPDATE SET output_text = excluded.output_text,
            public_output_text = excluded.public_output_text''',
    )
}
    IF batch ? 'events' THEN
        PERFORM pg_advisory_xact_lock_shared({locks.POSITION}
            + (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM run_events_position));
        INSERT INTO run_events (run_id, seq, kind, at, payload, public, write_id)
            SELECT {_items("text", "int", "text", "real", "text*2", "int")}
            FROM jsonb_array_elements(batch->'events') AS v WHERE (v->>0) <> ALL (lost);
    END IF;
{
    _rows(
        "opened",
        f'''INSERT INTO human_tasks (continuation_id, run_id, key, step_id, step_index, workflow_name, workflow_kind,
                request, input_text, public_input_text, created_at, status, expires_at, escalated_at, answered_at,
                closed_at, decision, actor, tenant)
            SELECT {_items("text*4", "int", "text*5", "real", "text", "real*4", "text*2", start=1)},
                (SELECT tenant FROM runs WHERE runs.id = v->>2) FROM {{v}} WHERE {{kept}}''',
    )
}
{
    _rows(
        "closed",
        '''UPDATE human_tasks SET status = v->>2, closed_at = (v->>3)::double precision,
                answered_at = CASE WHEN v->>2 = 'answered' THEN (v->>3)::double precision END,
                decision = v->>4, actor = v->>5
            FROM {v} WHERE human_tasks.continuation_id = v->>1 AND {kept}''',
    )
}
{
    _rows(
        "escalated",
        '''UPDATE human_tasks SET escalated_at = (v->>2)::double precision
            FROM {v} WHERE human_tasks.continuation_id = v->>1 AND {kept}''',
    )
}
{
    _rows(
        "cleared",
        '''DELETE FROM timers USING {v}
            WHERE timers.run_id = v->>0 AND timers.kind = v->>1 AND timers.key = v->>2 AND {kept}''',
    )
}
{
    _rows(
        "timers",
        f'''INSERT INTO timers (run_id, kind, key, due_at)
            SELECT {_items("text*3", "real", start=1)} FROM {{v}} WHERE {{kept}}
            ON CONFLICT (run_id, kind, key) DO UPDATE SET due_at = excluded.due_at''',
    )
}
{
    _rows(
        "ended",
        '''UPDATE human_tasks SET status = 'cancelled', closed_at = (v->>1)::double precision
            FROM {v} WHERE human_tasks.run_id = v->>0 AND human_tasks.status = 'open' AND {kept};
        DELETE FROM timers USING {v} WHERE timers.run_id = v->>0 AND {kept}''',
    )
}
{
    _rows(
        "snapshots",
        f'''INSERT INTO snapshots (run_id, seq, state) SELECT {_items("text", "int", "text")} FROM {{v}} WHERE {{kept}}
            ON CONFLICT (run_id) DO UPDATE SET seq = excluded.seq, state = excluded.state''',
    )
}
{
    _rows(
        "audit",
        f'''INSERT INTO audit_events (id, event_type, created_at, run_id, continuation_id, actor, metadata, tenant)
            SELECT {_items("text*2", "real", "text*4", start=1)},
                CASE WHEN runs.id IS NULL THEN v->>8 ELSE runs.tenant END
            FROM {{v}} LEFT JOIN runs ON runs.id = v->>4 WHERE {{kept}}''',
    )
}
{
    _rows(
        "keys",
        f'''INSERT INTO idempotency_keys (scope, principal, key, body_hash, run_id, continuation_id, from_seq,
                asynchronous, created_at)
            SELECT {_items("text*3", "text", start=1)}, v->>0, v->>5, (v->>6)::bigint, (v->>7)::boolean, moment
            FROM {{v}} WHERE {{kept}}''',
    )
}
    IF batch ? 'claims' THEN
        WITH asked AS (
            SELECT v, runs.id, lease_owner AS held FROM jsonb_array_elements(batch->'claims') AS v
            JOIN runs ON runs.id = v->>0
            WHERE phase = 'runnable' AND (lease_owner IS NULL OR lease_expires_at <= moment)
            AND lease_owner IS DISTINCT FROM v->>1 AND NOT ((v->>3)::boolean AND {WAITS})
        ), given AS (
            UPDATE runs SET fence = fence + 1, takeovers = takeovers + (held IS NOT NULL)::int, lease_owner = v->>1,
                lease_expires_at = moment + (v->>2)::double precision, write_id = (v->>4)::bigint
            FROM asked WHERE runs.id = asked.id RETURNING runs.id, fence, held IS NOT NULL AS takeover, takeovers
        ), kept AS (
            SELECT runs.id, fence, takeovers > 0 AS takeover, takeovers
            FROM jsonb_array_elements(batch->'claims') AS v JOIN runs ON runs.id = v->>0
            WHERE batch ? 'again' AND lease_owner = v->>1 AND write_id = (v->>4)::bigint
        )
        SELECT jsonb_agg(jsonb_build_array(id, fence, takeover, takeovers)) INTO claims
        FROM (SELECT * FROM given UNION ALL SELECT * FROM kept) AS leases;
    END IF;
    RETURN jsonb_build_array(verdicts, coalesce(claims, '[]'), coalesce(taken, '{{}}'));
END
$body$
"""


def _write(name: str, columns: str, items: str) -> str:
    """The function that writes; a new run has these columns, filled with these items of the batch."""
    return _WRITE.replace("{name}", name).replace("{columns}", columns).replace("{items}", items)


WRITE_1 = _write("kneo_write_1", _RUN_COLUMNS, _RUN_ITEMS)
WRITE_2 = _write(
    "kneo_write_2", f"{_RUN_COLUMNS}, priority, lane", f"{_RUN_ITEMS}, (v->>{_PRIORITY})::bigint, v->>{_LANE}"
)
