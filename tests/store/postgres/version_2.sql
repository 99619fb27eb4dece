SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;

CREATE FUNCTION public.kneo_horizon_1() RETURNS bigint
    LANGUAGE plpgsql
    AS $$
-- The highest position up to which a feed can be read without ever missing an event: none at or below it is still in
-- an open transaction. Writers hold a lock that is numbered by a position below all of theirs, so the order of these
-- two statements matters: whoever took positions before the first one either holds its lock in the second one, or has
-- committed, and is seen by whatever statement follows.
DECLARE
    newest bigint;
    lowest bigint;
BEGIN
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO newest FROM run_events_position;
    SELECT min(number) - 5404601027821305856 INTO lowest
    FROM (SELECT classid::bigint << 32 | objid::bigint AS number FROM pg_catalog.pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1
        AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) AS held
    WHERE number >= 5404601027821305856 AND number < 5404601027821305856 + (1::bigint << 48);
    RETURN least(newest, lowest);
END
$$;

CREATE FUNCTION public.kneo_write_1(batch jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
-- Writes a batch of creations, appends and claims, of each run and each idempotency key at most one. Answers with
-- [[run, verdict or null, seq, status], ...], [[run, fence, takeover, takeovers], ...] and, by run, what a taken
-- idempotency key stands for. Every session of the database takes locks in one order: names, runs by id, the rest.
DECLARE
    over constant text[] := ARRAY['cancelled', 'completed', 'expired', 'failed', 'timed_out'];
    moment double precision;
    lost text[] := '{}';
    waiting text[] := '{}';
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
        PERFORM pg_advisory_xact_lock_shared(5405163977774727168);
        SELECT coalesce(jsonb_agg(jsonb_build_array(id, verdict, born)), '[]'),
            coalesce(array_agg(id) FILTER (WHERE verdict <> 'waits'), '{}'),
            coalesce(array_agg(id) FILTER (WHERE verdict = 'waits'), '{}')
        INTO verdicts, lost, waiting
        FROM (SELECT v->>0 AS id,
            CASE WHEN batch ? 'again' THEN
                (SELECT fence > 0 AND v->>32 IS NOT NULL FROM runs WHERE runs.id = v->>0) END AS born,
            CASE
            WHEN batch ? 'again' AND (
                EXISTS (SELECT 1 FROM runs WHERE runs.id = v->>0 AND write_id = (v->>31)::bigint)
                OR EXISTS (SELECT 1 FROM run_events
                    WHERE run_id = v->>0 AND seq = 1 AND write_id = (v->>31)::bigint)) THEN 'done'
            WHEN taken ? (v->>0) THEN 'key'
            WHEN EXISTS (SELECT 1 FROM runs WHERE runs.id = v->>0) THEN 'id'
            WHEN v->>34 <> 'interleave' AND EXISTS (SELECT 1 FROM runs WHERE session_id = v->>27
                AND tenant IS NOT DISTINCT FROM v->>30 AND phase IN ('runnable', 'waiting_timer'))
            THEN CASE v->>34 WHEN 'reject' THEN 'busy' ELSE 'waits' END
            END AS verdict
            FROM jsonb_array_elements(batch->'creations') AS v) AS decided;
        INSERT INTO plans (hash, plan) SELECT DISTINCT ON (v->>1) v->>1, v->>2
            FROM jsonb_array_elements(batch->'plans') AS v WHERE (v->>0) <> ALL (lost) ORDER BY v->>1
            ON CONFLICT (hash) DO NOTHING;
        INSERT INTO runs (id, status, phase, seq, updated_at, takeovers, current_step_id, current_step_index, current_node_id, continuation_id, error_type, error_message, started_at, completed_at, input_tokens, output_tokens, cached_tokens, requests, cost_usd, fault, created_at, deadline_at, plan_hash, target, agent_name, workflow_name, workflow_kind, session_id, parent_run_id, environment, tenant, write_id, fence, lease_owner, lease_expires_at)
            SELECT (v->>0), (v->>1), (v->>2), (v->>3)::bigint, (v->>4)::double precision, (v->>5)::bigint, (v->>6), (v->>7)::bigint, (v->>8), (v->>9), (v->>10), (v->>11), (v->>12)::double precision, (v->>13)::double precision, (v->>14)::bigint, (v->>15)::bigint, (v->>16)::bigint, (v->>17)::bigint, (v->>18)::double precision, (v->>19), (v->>20)::double precision, (v->>21)::double precision, (v->>22), (v->>23), (v->>24), (v->>25), (v->>26), (v->>27), (v->>28), (v->>29), (v->>30), (v->>31)::bigint, leased::int, CASE WHEN leased THEN v->>32 END,
                CASE WHEN leased THEN moment + (v->>33)::double precision END
            FROM (SELECT v, v->>32 IS NOT NULL AND (v->>0) <> ALL (waiting) AS leased
                FROM jsonb_array_elements(batch->'creations') AS v WHERE (v->>0) <> ALL (lost)) AS made
            ORDER BY v->>0;
        INSERT INTO run_inputs (run_id, plan_hash, input_text, public_input_text, tags, metadata)
            SELECT (v->>0), (v->>1), (v->>2), (v->>3), (v->>4), (v->>5) FROM jsonb_array_elements(batch->'inputs') AS v WHERE (v->>0) <> ALL (lost);
        INSERT INTO run_counts (tenant, status, runs)
            SELECT whose.tenant, v->>1, count(*) FROM jsonb_array_elements(batch->'creations') AS v
            CROSS JOIN LATERAL (SELECT NULL AS tenant UNION ALL SELECT v->>30 WHERE v->>30 IS NOT NULL) AS whose
            WHERE (v->>0) <> ALL (lost) GROUP BY whose.tenant, v->>1;
    END IF;

    IF batch ? 'appends' THEN
        SELECT jsonb_agg(jsonb_build_array(run, verdict, seq, status)),
            coalesce(array_agg(run) FILTER (WHERE verdict IS NOT NULL), '{}'),
            jsonb_agg(jsonb_build_array(tenant, status, wanted)) FILTER (WHERE verdict IS NULL AND status <> wanted)
        INTO answers, refused, moves
        FROM (SELECT v->>0 AS run, v->>2 AS wanted, runs.seq, status, tenant, 
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
        END AS verdict
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

    IF batch ? 'outputs' THEN
        INSERT INTO run_outputs (run_id, output_text, public_output_text)
            SELECT (v->>0), (v->>1), (v->>2) FROM jsonb_array_elements(batch->'outputs') AS v WHERE (v->>0) <> ALL (lost)
            ON CONFLICT (run_id) DO UPDATE SET output_text = excluded.output_text,
            public_output_text = excluded.public_output_text;
    END IF;
    IF batch ? 'events' THEN
        PERFORM pg_advisory_xact_lock_shared(5404601027821305856
            + (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM run_events_position));
        INSERT INTO run_events (run_id, seq, kind, at, payload, public, write_id)
            SELECT (v->>0), (v->>1)::bigint, (v->>2), (v->>3)::double precision, (v->>4), (v->>5), (v->>6)::bigint
            FROM jsonb_array_elements(batch->'events') AS v WHERE (v->>0) <> ALL (lost);
    END IF;

    IF batch ? 'opened' THEN
        INSERT INTO human_tasks (continuation_id, run_id, key, step_id, step_index, workflow_name, workflow_kind,
                request, input_text, public_input_text, created_at, status, expires_at, escalated_at, answered_at,
                closed_at, decision, actor, tenant)
            SELECT (v->>1), (v->>2), (v->>3), (v->>4), (v->>5)::bigint, (v->>6), (v->>7), (v->>8), (v->>9), (v->>10), (v->>11)::double precision, (v->>12), (v->>13)::double precision, (v->>14)::double precision, (v->>15)::double precision, (v->>16)::double precision, (v->>17), (v->>18),
                (SELECT tenant FROM runs WHERE runs.id = v->>2) FROM jsonb_array_elements(batch->'opened') AS v WHERE (v->>0) <> ALL (lost);
    END IF;

    IF batch ? 'closed' THEN
        UPDATE human_tasks SET status = v->>2, closed_at = (v->>3)::double precision,
                answered_at = CASE WHEN v->>2 = 'answered' THEN (v->>3)::double precision END,
                decision = v->>4, actor = v->>5
            FROM jsonb_array_elements(batch->'closed') AS v WHERE human_tasks.continuation_id = v->>1 AND (v->>0) <> ALL (lost);
    END IF;

    IF batch ? 'escalated' THEN
        UPDATE human_tasks SET escalated_at = (v->>2)::double precision
            FROM jsonb_array_elements(batch->'escalated') AS v WHERE human_tasks.continuation_id = v->>1 AND (v->>0) <> ALL (lost);
    END IF;

    IF batch ? 'cleared' THEN
        DELETE FROM timers USING jsonb_array_elements(batch->'cleared') AS v
            WHERE timers.run_id = v->>0 AND timers.kind = v->>1 AND timers.key = v->>2 AND (v->>0) <> ALL (lost);
    END IF;

    IF batch ? 'timers' THEN
        INSERT INTO timers (run_id, kind, key, due_at)
            SELECT (v->>1), (v->>2), (v->>3), (v->>4)::double precision FROM jsonb_array_elements(batch->'timers') AS v WHERE (v->>0) <> ALL (lost)
            ON CONFLICT (run_id, kind, key) DO UPDATE SET due_at = excluded.due_at;
    END IF;

    IF batch ? 'ended' THEN
        UPDATE human_tasks SET status = 'cancelled', closed_at = (v->>1)::double precision
            FROM jsonb_array_elements(batch->'ended') AS v WHERE human_tasks.run_id = v->>0 AND human_tasks.status = 'open' AND (v->>0) <> ALL (lost);
        DELETE FROM timers USING jsonb_array_elements(batch->'ended') AS v WHERE timers.run_id = v->>0 AND (v->>0) <> ALL (lost);
    END IF;

    IF batch ? 'snapshots' THEN
        INSERT INTO snapshots (run_id, seq, state) SELECT (v->>0), (v->>1)::bigint, (v->>2) FROM jsonb_array_elements(batch->'snapshots') AS v WHERE (v->>0) <> ALL (lost)
            ON CONFLICT (run_id) DO UPDATE SET seq = excluded.seq, state = excluded.state;
    END IF;

    IF batch ? 'audit' THEN
        INSERT INTO audit_events (id, event_type, created_at, run_id, continuation_id, actor, metadata, tenant)
            SELECT (v->>1), (v->>2), (v->>3)::double precision, (v->>4), (v->>5), (v->>6), (v->>7),
                CASE WHEN runs.id IS NULL THEN v->>8 ELSE runs.tenant END
            FROM jsonb_array_elements(batch->'audit') AS v LEFT JOIN runs ON runs.id = v->>4 WHERE (v->>0) <> ALL (lost);
    END IF;

    IF batch ? 'keys' THEN
        INSERT INTO idempotency_keys (scope, principal, key, body_hash, run_id, continuation_id, from_seq,
                asynchronous, created_at)
            SELECT (v->>1), (v->>2), (v->>3), (v->>4), v->>0, v->>5, (v->>6)::bigint, (v->>7)::boolean, moment
            FROM jsonb_array_elements(batch->'keys') AS v WHERE (v->>0) <> ALL (lost);
    END IF;
    IF batch ? 'claims' THEN
        WITH asked AS (
            SELECT v, runs.id, lease_owner AS held FROM jsonb_array_elements(batch->'claims') AS v
            JOIN runs ON runs.id = v->>0
            WHERE phase = 'runnable' AND (lease_owner IS NULL OR lease_expires_at <= moment)
            AND lease_owner IS DISTINCT FROM v->>1 AND NOT ((v->>3)::boolean AND (session_id IS NOT NULL AND started_at IS NULL AND EXISTS (SELECT 1 FROM runs AS earlier
    WHERE earlier.session_id = runs.session_id AND earlier.tenant IS NOT DISTINCT FROM runs.tenant
    AND earlier.phase IN ('runnable', 'waiting_timer')
    AND (earlier.created_at, earlier.id) < (runs.created_at, runs.id))))
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
    RETURN jsonb_build_array(verdicts, coalesce(claims, '[]'), coalesce(taken, '{}'));
END
$$;

CREATE TABLE public.audit_events (
    "position" bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    event_type text NOT NULL COLLATE pg_catalog."C",
    created_at double precision NOT NULL,
    run_id text COLLATE pg_catalog."C",
    continuation_id text COLLATE pg_catalog."C",
    actor text COLLATE pg_catalog."C",
    metadata text NOT NULL,
    tenant text COLLATE pg_catalog."C"
);

ALTER TABLE public.audit_events ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_events_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.documents (
    kind text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    text text NOT NULL
);

CREATE TABLE public.duties (
    name text NOT NULL COLLATE pg_catalog."C",
    claimed_at double precision NOT NULL,
    write_id bigint NOT NULL
);

CREATE TABLE public.human_tasks (
    continuation_id text NOT NULL COLLATE pg_catalog."C",
    run_id text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    step_id text NOT NULL COLLATE pg_catalog."C",
    step_index bigint,
    workflow_name text COLLATE pg_catalog."C",
    workflow_kind text COLLATE pg_catalog."C",
    request text NOT NULL,
    input_text text NOT NULL,
    public_input_text text,
    created_at double precision NOT NULL,
    status text NOT NULL COLLATE pg_catalog."C",
    expires_at double precision,
    escalated_at double precision,
    answered_at double precision,
    closed_at double precision,
    decision text COLLATE pg_catalog."C",
    actor text COLLATE pg_catalog."C",
    tenant text COLLATE pg_catalog."C"
);

CREATE TABLE public.idempotency_keys (
    scope text NOT NULL COLLATE pg_catalog."C",
    principal text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    body_hash text NOT NULL COLLATE pg_catalog."C",
    run_id text NOT NULL COLLATE pg_catalog."C",
    continuation_id text COLLATE pg_catalog."C",
    from_seq bigint NOT NULL,
    asynchronous boolean NOT NULL,
    created_at double precision NOT NULL
);

CREATE TABLE public.kneo_migrations (
    version bigint NOT NULL,
    name text NOT NULL,
    applied_at double precision NOT NULL
);

CREATE TABLE public.plans (
    hash text NOT NULL COLLATE pg_catalog."C",
    plan text NOT NULL
);

CREATE TABLE public.run_counts (
    tenant text COLLATE pg_catalog."C",
    status text NOT NULL COLLATE pg_catalog."C",
    runs bigint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000');

CREATE TABLE public.run_events (
    run_id text NOT NULL COLLATE pg_catalog."C",
    seq bigint NOT NULL,
    "position" bigint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    at double precision NOT NULL,
    payload text NOT NULL,
    public text,
    write_id bigint NOT NULL
);

CREATE SEQUENCE public.run_events_position
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.run_events_position OWNED BY public.run_events."position";

CREATE TABLE public.run_inputs (
    run_id text NOT NULL COLLATE pg_catalog."C",
    plan_hash text NOT NULL COLLATE pg_catalog."C",
    input_text text NOT NULL,
    public_input_text text,
    tags text NOT NULL,
    metadata text NOT NULL
);

CREATE TABLE public.run_outputs (
    run_id text NOT NULL COLLATE pg_catalog."C",
    output_text text NOT NULL,
    public_output_text text
);

CREATE TABLE public.runs (
    id text NOT NULL COLLATE pg_catalog."C",
    status text NOT NULL COLLATE pg_catalog."C",
    phase text NOT NULL COLLATE pg_catalog."C",
    seq bigint NOT NULL,
    updated_at double precision NOT NULL,
    fence bigint NOT NULL,
    lease_owner text COLLATE pg_catalog."C",
    lease_expires_at double precision,
    takeovers bigint NOT NULL,
    current_step_id text COLLATE pg_catalog."C",
    current_step_index bigint,
    current_node_id text COLLATE pg_catalog."C",
    continuation_id text COLLATE pg_catalog."C",
    error_type text COLLATE pg_catalog."C",
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
    plan_hash text NOT NULL COLLATE pg_catalog."C",
    target text NOT NULL COLLATE pg_catalog."C",
    agent_name text COLLATE pg_catalog."C",
    workflow_name text COLLATE pg_catalog."C",
    workflow_kind text COLLATE pg_catalog."C",
    session_id text COLLATE pg_catalog."C",
    parent_run_id text COLLATE pg_catalog."C",
    environment text COLLATE pg_catalog."C",
    tenant text COLLATE pg_catalog."C",
    write_id bigint NOT NULL
)
WITH (fillfactor='85', autovacuum_vacuum_scale_factor='0.05', autovacuum_analyze_scale_factor='0.05');

CREATE TABLE public.schedules (
    tenant text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    revision bigint NOT NULL,
    look_at double precision,
    record text NOT NULL,
    write_id bigint NOT NULL
);

CREATE TABLE public.snapshots (
    run_id text NOT NULL COLLATE pg_catalog."C",
    seq bigint NOT NULL,
    state text NOT NULL
);

CREATE TABLE public.timers (
    run_id text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    due_at double precision NOT NULL
);

ALTER TABLE ONLY public.run_events ALTER COLUMN "position" SET DEFAULT nextval('public.run_events_position'::regclass);

INSERT INTO public.duties VALUES ('retention', 1795602697.017445, 8980610525418279174);

INSERT INTO public.kneo_migrations VALUES (1, 'journal', 1795602696.99192);
INSERT INTO public.kneo_migrations VALUES (2, 'schedules', 1795602697.002123);

INSERT INTO public.plans VALUES ('plan', '{"flows":{}}');

INSERT INTO public.run_counts VALUES ('north', 'created', 1);
INSERT INTO public.run_counts VALUES (NULL, 'created', 1);
INSERT INTO public.run_counts VALUES ('south', 'created', 1);
INSERT INTO public.run_counts VALUES (NULL, 'created', 1);
INSERT INTO public.run_counts VALUES ('south', 'created', 1);
INSERT INTO public.run_counts VALUES (NULL, 'created', 1);
INSERT INTO public.run_counts VALUES ('south', 'created', -1);
INSERT INTO public.run_counts VALUES (NULL, 'created', -1);
INSERT INTO public.run_counts VALUES ('south', 'completed', 1);
INSERT INTO public.run_counts VALUES (NULL, 'completed', 1);

INSERT INTO public.run_events VALUES ('run_2026-05-10T12:34:56_00000000000000000waits', 1, 1, 'run_created', 1700000001.123457, '{"n":1}', NULL, 8927044684364582668);
INSERT INTO public.run_events VALUES ('run_2026-05-10T12:34:56_0000000000000000leased', 1, 2, 'run_created', 1700000001.123457, '{"n":1}', NULL, 37936876330503243);
INSERT INTO public.run_events VALUES ('run_2026-05-10T12:34:56_000000000000000000over', 1, 3, 'run_created', 1700000001.123457, '{"n":1}', NULL, 65585527016575552);
INSERT INTO public.run_events VALUES ('run_2026-05-10T12:34:56_000000000000000000over', 2, 4, 'step_started', 1700000002.123457, '{"n":2}', NULL, 5992992557122750286);

INSERT INTO public.run_inputs VALUES ('run_2026-05-10T12:34:56_00000000000000000waits', 'plan', 'in', NULL, '[]', '{}');
INSERT INTO public.run_inputs VALUES ('run_2026-05-10T12:34:56_0000000000000000leased', 'plan', 'in', NULL, '[]', '{}');
INSERT INTO public.run_inputs VALUES ('run_2026-05-10T12:34:56_000000000000000000over', 'plan', 'in', NULL, '[]', '{}');

INSERT INTO public.runs VALUES ('run_2026-05-10T12:34:56_00000000000000000waits', 'created', 'runnable', 1, 1700000000.123457, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, NULL, 1700000000.123457, NULL, 'plan', 'workflow', NULL, NULL, NULL, NULL, NULL, NULL, 'north', 8927044684364582668);
INSERT INTO public.runs VALUES ('run_2026-05-10T12:34:56_0000000000000000leased', 'created', 'runnable', 1, 1700000000.123457, 1, 'otherhost:boot:1:1', 1700000030.123457, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, NULL, 1700000000.123457, NULL, 'plan', 'workflow', NULL, NULL, NULL, NULL, NULL, NULL, 'south', 37936876330503243);
INSERT INTO public.runs VALUES ('run_2026-05-10T12:34:56_000000000000000000over', 'completed', 'ended', 2, 1700000020.123457, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1700000020.123457, 0, 0, 0, 0, 0, NULL, 1700000000.123457, NULL, 'plan', 'workflow', NULL, NULL, NULL, NULL, NULL, NULL, 'south', 5992992557122750286);

INSERT INTO public.schedules VALUES ('', 'nightly', 1, 1700000060.123457, '{"name":"nightly","created_at":1700000000.123457,"updated_at":1700000000.123457,"spec":{"version":"v1"},"cron":"0 3 * * *","next_due_at":1700000060.123457,"look_at":1700000060.123457}', 2281896142037043122);

SELECT pg_catalog.setval('public.audit_events_position_seq', 1, false);

SELECT pg_catalog.setval('public.run_events_position', 4, true);

ALTER TABLE ONLY public.audit_events
    ADD CONSTRAINT audit_events_id_key UNIQUE (id);

ALTER TABLE ONLY public.audit_events
    ADD CONSTRAINT audit_events_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY public.documents
    ADD CONSTRAINT documents_pkey PRIMARY KEY (kind, name);

ALTER TABLE ONLY public.duties
    ADD CONSTRAINT duties_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.human_tasks
    ADD CONSTRAINT human_tasks_pkey PRIMARY KEY (continuation_id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (scope, principal, key);

ALTER TABLE ONLY public.kneo_migrations
    ADD CONSTRAINT kneo_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.plans
    ADD CONSTRAINT plans_pkey PRIMARY KEY (hash);

ALTER TABLE ONLY public.run_events
    ADD CONSTRAINT run_events_pkey PRIMARY KEY (run_id, seq);

ALTER TABLE ONLY public.run_inputs
    ADD CONSTRAINT run_inputs_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY public.run_outputs
    ADD CONSTRAINT run_outputs_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT schedules_pkey PRIMARY KEY (tenant, name);

ALTER TABLE ONLY public.snapshots
    ADD CONSTRAINT snapshots_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY public.timers
    ADD CONSTRAINT timers_pkey PRIMARY KEY (run_id, kind, key);

CREATE INDEX audit_events_by_age ON public.audit_events USING btree (created_at, "position");

CREATE INDEX audit_events_by_run ON public.audit_events USING btree (run_id, created_at, "position") WHERE (run_id IS NOT NULL);

CREATE INDEX audit_events_by_tenant ON public.audit_events USING btree (tenant, created_at, "position") WHERE (tenant IS NOT NULL);

CREATE INDEX audit_events_by_type ON public.audit_events USING btree (event_type, created_at, "position");

CREATE INDEX human_tasks_by_age ON public.human_tasks USING btree (created_at, continuation_id);

CREATE INDEX human_tasks_by_run ON public.human_tasks USING btree (run_id, status);

CREATE INDEX human_tasks_by_status ON public.human_tasks USING btree (status, created_at, continuation_id);

CREATE INDEX human_tasks_closed ON public.human_tasks USING btree (COALESCE(closed_at, created_at), continuation_id) WHERE (status <> 'open'::text);

CREATE INDEX human_tasks_due_by_tenant ON public.human_tasks USING btree (tenant, expires_at, continuation_id) WHERE ((status = 'open'::text) AND (tenant IS NOT NULL));

CREATE INDEX human_tasks_open ON public.human_tasks USING btree (expires_at, continuation_id) INCLUDE (escalated_at) WHERE (status = 'open'::text);

CREATE INDEX human_tasks_open_by_tenant ON public.human_tasks USING btree (tenant, created_at, continuation_id) WHERE ((status = 'open'::text) AND (tenant IS NOT NULL));

CREATE INDEX idempotency_keys_by_age ON public.idempotency_keys USING btree (created_at);

CREATE INDEX idempotency_keys_by_run ON public.idempotency_keys USING btree (run_id);

CREATE INDEX run_counts_by_tenant ON public.run_counts USING btree (tenant, status) WHERE (tenant IS NOT NULL);

CREATE INDEX run_counts_of_all ON public.run_counts USING btree (status) WHERE (tenant IS NULL);

CREATE UNIQUE INDEX run_events_by_position ON public.run_events USING btree ("position");

CREATE INDEX run_inputs_by_plan ON public.run_inputs USING btree (plan_hash);

CREATE INDEX runs_at_work_by_session ON public.runs USING btree (session_id, tenant, created_at, id) WHERE ((session_id IS NOT NULL) AND (phase = ANY (ARRAY['runnable'::text, 'waiting_timer'::text])));

CREATE INDEX runs_by_agent ON public.runs USING btree (agent_name, created_at) WHERE (agent_name IS NOT NULL);

CREATE INDEX runs_by_created_at ON public.runs USING btree (created_at, id);

CREATE INDEX runs_by_session ON public.runs USING btree (session_id, created_at) WHERE (session_id IS NOT NULL);

CREATE INDEX runs_by_status ON public.runs USING btree (status, updated_at, id);

CREATE INDEX runs_by_tenant ON public.runs USING btree (tenant, created_at, id) WHERE (tenant IS NOT NULL);

CREATE INDEX runs_by_tenant_status ON public.runs USING btree (tenant, status, updated_at, id) WHERE (tenant IS NOT NULL);

CREATE INDEX runs_by_workflow ON public.runs USING btree (workflow_name, created_at) WHERE (workflow_name IS NOT NULL);

CREATE INDEX runs_leased ON public.runs USING btree (id) WHERE (lease_owner IS NOT NULL);

CREATE INDEX runs_runnable ON public.runs USING btree (created_at, id) WHERE (phase = 'runnable'::text);

CREATE INDEX runs_with_error ON public.runs USING btree (updated_at, id) WHERE (error_type IS NOT NULL);

CREATE INDEX schedules_by_look_at ON public.schedules USING btree (look_at, tenant, name) WHERE (look_at IS NOT NULL);

CREATE INDEX timers_by_kind ON public.timers USING btree (kind, due_at, run_id, key);
