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

INSERT INTO public.audit_events OVERRIDING SYSTEM VALUE VALUES (1, 'aud_01a21238-7dad-7977-aadb-eb94962fb44b', 'run.created', 1795602021.804739, 'run_2026-11-25T10:20:21_eua9crJZrnc916jSQ59c_g', NULL, NULL, '{"target":"workflow","environment":null,"session_id":null,"timeout_seconds":null,"spec_path":null,"inline_spec":true,"metadata":{}}', NULL);
INSERT INTO public.audit_events OVERRIDING SYSTEM VALUE VALUES (2, 'aud_01a21238-7e05-787a-9186-8872f483c555', 'run.rested', 1795602021.893312, 'run_2026-11-25T10:20:21_eua9crJZrnc916jSQ59c_g', NULL, NULL, '{"status":"completed","usage":{"total_tokens":0}}', NULL);
INSERT INTO public.audit_events OVERRIDING SYSTEM VALUE VALUES (3, 'aud_01a21238-7e23-7a07-9095-e6028ce49079', 'run.created', 1795602021.922698, 'run_2026-11-25T10:20:21_sR-abd7skg-aOkygOJSpGA', NULL, NULL, '{"target":"workflow","environment":null,"session_id":null,"timeout_seconds":null,"spec_path":null,"inline_spec":true,"metadata":{}}', 'north');
INSERT INTO public.audit_events OVERRIDING SYSTEM VALUE VALUES (4, 'aud_01a21238-7e42-7e93-92ac-065fe3d56459', 'run.rested', 1795602021.9534068, 'run_2026-11-25T10:20:21_sR-abd7skg-aOkygOJSpGA', NULL, NULL, '{"status":"failed","usage":{"total_tokens":0}}', 'north');
INSERT INTO public.audit_events OVERRIDING SYSTEM VALUE VALUES (5, 'aud_01a21238-7e5f-77c4-828a-fa527a18904d', 'run.created', 1795602021.981825, 'run_2026-11-25T10:20:21_0LzVASZLmPV4j83Cvj65Xw', NULL, NULL, '{"target":"workflow","environment":null,"session_id":"s","timeout_seconds":7200,"spec_path":null,"inline_spec":true,"metadata":{}}', 'north');
INSERT INTO public.audit_events OVERRIDING SYSTEM VALUE VALUES (6, 'aud_01a21238-7e81-70c4-b4a4-f4f95082317a', 'run.rested', 1795602022.0166404, 'run_2026-11-25T10:20:21_0LzVASZLmPV4j83Cvj65Xw', 'cont_01a21238-7e80-7a80-b26c-881478932a39', NULL, '{"status":"blocked","usage":{"total_tokens":0}}', 'north');
INSERT INTO public.audit_events OVERRIDING SYSTEM VALUE VALUES (7, 'aud_01a21238-7e8d-7f28-a16f-47dcb9030f72', 'run.created', 1795602022.028403, 'run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', NULL, NULL, '{"target":"workflow","environment":null,"session_id":null,"timeout_seconds":null,"spec_path":null,"inline_spec":true,"metadata":{}}', NULL);
INSERT INTO public.audit_events OVERRIDING SYSTEM VALUE VALUES (8, 'aud_01a21238-7e93-7b4d-beb3-fb64f7584527', 'run.rested', 1795602022.0346637, 'run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 'cont_01a21238-7e92-7ff8-bf61-680c526493d3', NULL, '{"status":"blocked","usage":{"total_tokens":0}}', NULL);
INSERT INTO public.audit_events OVERRIDING SYSTEM VALUE VALUES (9, 'aud_01a21238-7eb8-702d-a6db-f002169c18db', 'human.decision', 1795602022.0718477, 'run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 'cont_01a21238-7e92-7ff8-bf61-680c526493d3', NULL, '{"request_id":"req_01a21238-7e92-7e07-ac61-97643062a52c","decision":"approved","has_content":false,"selected_option":null,"status":"running"}', NULL);
INSERT INTO public.audit_events OVERRIDING SYSTEM VALUE VALUES (10, 'aud_01a21238-7eff-766c-848f-c8c7fefd6738', 'run.rested', 1795602022.1426768, 'run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', NULL, NULL, '{"status":"completed","usage":{"total_tokens":0}}', NULL);
INSERT INTO public.audit_events OVERRIDING SYSTEM VALUE VALUES (11, 'aud_01a21238-7f13-71d6-9874-718b2393e921', 'run.created', 1795602022.160292, 'run_2026-11-25T10:20:22_PS4a9aTN8RTwgKVDXUOFGQ', NULL, NULL, '{"target":"workflow","environment":null,"session_id":"s","timeout_seconds":null,"spec_path":null,"inline_spec":true,"metadata":{}}', NULL);

INSERT INTO public.documents VALUES ('policy', 'prod', '{"a":1}');

INSERT INTO public.human_tasks VALUES ('cont_01a21238-7e80-7a80-b26c-881478932a39', 'run_2026-11-25T10:20:21_0LzVASZLmPV4j83Cvj65Xw', 'main/ask#1', 'ask', 1, 'flow', 'sequential', '{"id":"req_01a21238-7e80-7177-ab17-55ac946129db","type":"approval","title":"Go on?","prompt":"Go on?","requested_by":"ask","timeout_seconds":3600.0}', 'WAITS', NULL, 1795602022.0166404, 'open', 1795605622.0166404, NULL, NULL, NULL, NULL, NULL, 'north');
INSERT INTO public.human_tasks VALUES ('cont_01a21238-7e92-7ff8-bf61-680c526493d3', 'run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 'main/ask#1', 'ask', 0, 'flow', 'sequential', '{"id":"req_01a21238-7e92-7e07-ac61-97643062a52c","type":"approval","title":"Go on?","prompt":"Go on?","requested_by":"ask"}', 'answered', NULL, 1795602022.0346637, 'answered', NULL, NULL, 1795602022.0718477, 1795602022.0718477, 'approved', NULL, NULL);

INSERT INTO public.kneo_migrations VALUES (1, 'journal', 1795602021.801044);

INSERT INTO public.plans VALUES ('c6414578f86cf42aac2a8e8b0db7d27f3af00646550ed55ab74e0e4de2e07704', '{"hash":"c6414578f86cf42aac2a8e8b0db7d27f3af00646550ed55ab74e0e4de2e07704","agents":{"@root":{"name":"nobody"}},"flows":{"@root":{"name":"flow","type":"sequential","steps":[{"id":"upper","kind":"function","ref":"upper"}]}},"functions":{"upper":{"implementation":"tests.platform.functions.upper","effect":"idempotent"},"exclaim":{"implementation":"tests.platform.functions.exclaim","effect":"idempotent"},"gated":{"implementation":"tests.platform.functions.gated","effect":"idempotent"},"gated_async":{"implementation":"tests.platform.functions.gated_async","effect":"idempotent"},"stubborn":{"implementation":"tests.platform.functions.stubborn","effect":"idempotent"},"moody":{"implementation":"tests.platform.functions.moody","effect":"idempotent"},"slow_service":{"implementation":"tests.platform.functions.slow_service","effect":"idempotent"},"leaking":{"implementation":"tests.platform.functions.leaking","effect":"idempotent"},"large":{"implementation":"tests.platform.functions.large","effect":"idempotent"},"calls_its_platform":{"implementation":"tests.platform.functions.calls_its_platform","effect":"idempotent"}},"humans":{"person":{"description":"Go on?"}}}');
INSERT INTO public.plans VALUES ('a101bc6d331df1a69d7fdbe45b8174b02e54f2a018d4a034f8d2afa1db63468b', '{"hash":"a101bc6d331df1a69d7fdbe45b8174b02e54f2a018d4a034f8d2afa1db63468b","agents":{"@root":{"name":"nobody"}},"flows":{"@root":{"name":"flow","type":"sequential","steps":[{"id":"moody","kind":"function","ref":"moody"}]}},"functions":{"upper":{"implementation":"tests.platform.functions.upper","effect":"idempotent"},"exclaim":{"implementation":"tests.platform.functions.exclaim","effect":"idempotent"},"gated":{"implementation":"tests.platform.functions.gated","effect":"idempotent"},"gated_async":{"implementation":"tests.platform.functions.gated_async","effect":"idempotent"},"stubborn":{"implementation":"tests.platform.functions.stubborn","effect":"idempotent"},"moody":{"implementation":"tests.platform.functions.moody","effect":"idempotent"},"slow_service":{"implementation":"tests.platform.functions.slow_service","effect":"idempotent"},"leaking":{"implementation":"tests.platform.functions.leaking","effect":"idempotent"},"large":{"implementation":"tests.platform.functions.large","effect":"idempotent"},"calls_its_platform":{"implementation":"tests.platform.functions.calls_its_platform","effect":"idempotent"}},"humans":{"person":{"description":"Go on?"}}}');
INSERT INTO public.plans VALUES ('08b0f0195b4dc581136c871a00f6f4ffe5fc51f065e33bb508364a351c6dc992', '{"hash":"08b0f0195b4dc581136c871a00f6f4ffe5fc51f065e33bb508364a351c6dc992","agents":{"@root":{"name":"nobody"}},"flows":{"@root":{"name":"flow","type":"sequential","steps":[{"id":"upper","kind":"function","ref":"upper"},{"id":"ask","kind":"human","ref":"person"},{"id":"exclaim","kind":"function","ref":"exclaim"}]}},"functions":{"upper":{"implementation":"tests.platform.functions.upper","effect":"idempotent"},"exclaim":{"implementation":"tests.platform.functions.exclaim","effect":"idempotent"},"gated":{"implementation":"tests.platform.functions.gated","effect":"idempotent"},"gated_async":{"implementation":"tests.platform.functions.gated_async","effect":"idempotent"},"stubborn":{"implementation":"tests.platform.functions.stubborn","effect":"idempotent"},"moody":{"implementation":"tests.platform.functions.moody","effect":"idempotent"},"slow_service":{"implementation":"tests.platform.functions.slow_service","effect":"idempotent"},"leaking":{"implementation":"tests.platform.functions.leaking","effect":"idempotent"},"large":{"implementation":"tests.platform.functions.large","effect":"idempotent"},"calls_its_platform":{"implementation":"tests.platform.functions.calls_its_platform","effect":"idempotent"}},"humans":{"person":{"description":"Go on?","timeout_seconds":3600.0}}}');
INSERT INTO public.plans VALUES ('cde3c3c8c2b7f9de66ddfecee116a99ac5e1e81492772c1da2862232633dcdfe', '{"hash":"cde3c3c8c2b7f9de66ddfecee116a99ac5e1e81492772c1da2862232633dcdfe","agents":{"@root":{"name":"nobody"}},"flows":{"@root":{"name":"flow","type":"sequential","steps":[{"id":"ask","kind":"human","ref":"person"},{"id":"exclaim","kind":"function","ref":"exclaim"}]}},"functions":{"upper":{"implementation":"tests.platform.functions.upper","effect":"idempotent"},"exclaim":{"implementation":"tests.platform.functions.exclaim","effect":"idempotent"},"gated":{"implementation":"tests.platform.functions.gated","effect":"idempotent"},"gated_async":{"implementation":"tests.platform.functions.gated_async","effect":"idempotent"},"stubborn":{"implementation":"tests.platform.functions.stubborn","effect":"idempotent"},"moody":{"implementation":"tests.platform.functions.moody","effect":"idempotent"},"slow_service":{"implementation":"tests.platform.functions.slow_service","effect":"idempotent"},"leaking":{"implementation":"tests.platform.functions.leaking","effect":"idempotent"},"large":{"implementation":"tests.platform.functions.large","effect":"idempotent"},"calls_its_platform":{"implementation":"tests.platform.functions.calls_its_platform","effect":"idempotent"}},"humans":{"person":{"description":"Go on?"}}}');
INSERT INTO public.plans VALUES ('dac5f228c52b8a20389b08fe4ea848e8764d66df92cbbf163e9f55ac2f078822', '{"hash":"dac5f228c52b8a20389b08fe4ea848e8764d66df92cbbf163e9f55ac2f078822","agents":{"@root":{"name":"nobody"}},"flows":{"@root":{"name":"flow","type":"sequential","steps":[{"id":"upper","kind":"function","ref":"upper"},{"id":"exclaim","kind":"function","ref":"exclaim"}]}},"functions":{"upper":{"implementation":"tests.platform.functions.upper","effect":"idempotent"},"exclaim":{"implementation":"tests.platform.functions.exclaim","effect":"idempotent"},"gated":{"implementation":"tests.platform.functions.gated","effect":"idempotent"},"gated_async":{"implementation":"tests.platform.functions.gated_async","effect":"idempotent"},"stubborn":{"implementation":"tests.platform.functions.stubborn","effect":"idempotent"},"moody":{"implementation":"tests.platform.functions.moody","effect":"idempotent"},"slow_service":{"implementation":"tests.platform.functions.slow_service","effect":"idempotent"},"leaking":{"implementation":"tests.platform.functions.leaking","effect":"idempotent"},"large":{"implementation":"tests.platform.functions.large","effect":"idempotent"},"calls_its_platform":{"implementation":"tests.platform.functions.calls_its_platform","effect":"idempotent"}},"humans":{"person":{"description":"Go on?"}}}');

INSERT INTO public.run_counts VALUES (NULL, 'running', 1);
INSERT INTO public.run_counts VALUES (NULL, 'completed', 1);
INSERT INTO public.run_counts VALUES (NULL, 'running', -1);
INSERT INTO public.run_counts VALUES ('north', 'running', 1);
INSERT INTO public.run_counts VALUES (NULL, 'running', 1);
INSERT INTO public.run_counts VALUES (NULL, 'running', -1);
INSERT INTO public.run_counts VALUES ('north', 'failed', 1);
INSERT INTO public.run_counts VALUES ('north', 'running', -1);
INSERT INTO public.run_counts VALUES (NULL, 'failed', 1);
INSERT INTO public.run_counts VALUES ('north', 'running', 1);
INSERT INTO public.run_counts VALUES (NULL, 'running', 1);
INSERT INTO public.run_counts VALUES ('north', 'blocked', 1);
INSERT INTO public.run_counts VALUES ('north', 'running', -1);
INSERT INTO public.run_counts VALUES (NULL, 'blocked', 1);
INSERT INTO public.run_counts VALUES (NULL, 'running', -1);
INSERT INTO public.run_counts VALUES (NULL, 'running', 1);
INSERT INTO public.run_counts VALUES (NULL, 'blocked', 1);
INSERT INTO public.run_counts VALUES (NULL, 'running', -1);
INSERT INTO public.run_counts VALUES (NULL, 'blocked', -1);
INSERT INTO public.run_counts VALUES (NULL, 'running', 1);
INSERT INTO public.run_counts VALUES (NULL, 'completed', 1);
INSERT INTO public.run_counts VALUES (NULL, 'running', -1);
INSERT INTO public.run_counts VALUES (NULL, 'running', 1);

INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_eua9crJZrnc916jSQ59c_g', 1, 1, 'run_created', 1795602021.804739, '{"plan_hash":"c6414578f86cf42aac2a8e8b0db7d27f3af00646550ed55ab74e0e4de2e07704","target":"workflow","input_text":"tea","agent_name":"nobody","workflow_name":"flow","workflow_kind":"sequential"}', NULL, 5134086557680746290);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_eua9crJZrnc916jSQ59c_g', 2, 2, 'leg_started', 1795602021.8209026, '{"worker":"otherhost:10619:64e3f01127de","fence":1,"reason":"start"}', NULL, 5091482435647559683);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_eua9crJZrnc916jSQ59c_g', 3, 3, 'step_started', 1795602021.8209026, '{"key":"main/upper#1","step_id":"upper","step_kind":"function","attempt":1,"ref":"upper","index":0}', NULL, 5091482435647559683);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_eua9crJZrnc916jSQ59c_g', 4, 4, 'step_completed', 1795602021.893312, '{"key":"main/upper#1","step_id":"upper","output_text":"TEA","index":0}', NULL, 3564014531641188020);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_eua9crJZrnc916jSQ59c_g', 5, 5, 'run_completed', 1795602021.893312, '{"output_text":"TEA"}', NULL, 3564014531641188020);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_sR-abd7skg-aOkygOJSpGA', 1, 6, 'run_created', 1795602021.922698, '{"plan_hash":"a101bc6d331df1a69d7fdbe45b8174b02e54f2a018d4a034f8d2afa1db63468b","target":"workflow","input_text":"sad","agent_name":"nobody","workflow_name":"flow","workflow_kind":"sequential"}', NULL, 5224327130063088832);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_sR-abd7skg-aOkygOJSpGA', 2, 7, 'leg_started', 1795602021.9410326, '{"worker":"otherhost:10619:64e3f01127de","fence":1,"reason":"start"}', NULL, 2456396134800854276);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_sR-abd7skg-aOkygOJSpGA', 3, 8, 'step_started', 1795602021.9410326, '{"key":"main/moody#1","step_id":"moody","step_kind":"function","attempt":1,"ref":"moody","index":0}', NULL, 2456396134800854276);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_sR-abd7skg-aOkygOJSpGA', 4, 9, 'step_failed', 1795602021.9534068, '{"key":"main/moody#1","step_id":"moody","attempt":1,"error_type":"RuntimeError","message":"not today (run_)","resolution":"fail","index":0}', NULL, 490181696411710415);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_sR-abd7skg-aOkygOJSpGA', 5, 10, 'run_failed', 1795602021.9534068, '{"error_type":"RuntimeError","message":"not today (run_)","step_id":"moody"}', NULL, 490181696411710415);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_0LzVASZLmPV4j83Cvj65Xw', 1, 11, 'run_created', 1795602021.981825, '{"plan_hash":"08b0f0195b4dc581136c871a00f6f4ffe5fc51f065e33bb508364a351c6dc992","target":"workflow","input_text":"waits","agent_name":"nobody","workflow_name":"flow","workflow_kind":"sequential","session_id":"s","timeout_seconds":7200,"deadline_at":1795609221.981825}', NULL, 8188426152139552606);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_0LzVASZLmPV4j83Cvj65Xw', 2, 12, 'leg_started', 1795602022.0045314, '{"worker":"otherhost:10619:64e3f01127de","fence":1,"reason":"start"}', NULL, 5011061399028658413);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_0LzVASZLmPV4j83Cvj65Xw', 3, 13, 'step_started', 1795602022.0045314, '{"key":"main/upper#1","step_id":"upper","step_kind":"function","attempt":1,"ref":"upper","index":0}', NULL, 5011061399028658413);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_0LzVASZLmPV4j83Cvj65Xw', 4, 14, 'step_completed', 1795602022.0166404, '{"key":"main/upper#1","step_id":"upper","output_text":"WAITS","index":0}', NULL, 8753377947769228697);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:21_0LzVASZLmPV4j83Cvj65Xw', 5, 15, 'human_asked', 1795602022.0166404, '{"key":"main/ask#1","step_id":"ask","continuation_id":"cont_01a21238-7e80-7a80-b26c-881478932a39","request":{"id":"req_01a21238-7e80-7177-ab17-55ac946129db","type":"approval","title":"Go on?","prompt":"Go on?","requested_by":"ask","timeout_seconds":3600.0},"index":1,"expires_at":1795605622.0166404}', NULL, 8753377947769228697);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 1, 16, 'run_created', 1795602022.028403, '{"plan_hash":"cde3c3c8c2b7f9de66ddfecee116a99ac5e1e81492772c1da2862232633dcdfe","target":"workflow","input_text":"answered","agent_name":"nobody","workflow_name":"flow","workflow_kind":"sequential"}', NULL, 30029985752030773);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 2, 17, 'leg_started', 1795602022.0346637, '{"worker":"otherhost:10619:64e3f01127de","fence":1,"reason":"start"}', NULL, 1734126016982078316);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 3, 18, 'human_asked', 1795602022.0346637, '{"key":"main/ask#1","step_id":"ask","continuation_id":"cont_01a21238-7e92-7ff8-bf61-680c526493d3","request":{"id":"req_01a21238-7e92-7e07-ac61-97643062a52c","type":"approval","title":"Go on?","prompt":"Go on?","requested_by":"ask"},"index":0}', NULL, 1734126016982078316);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 4, 19, 'human_answered', 1795602022.0718477, '{"key":"main/ask#1","step_id":"ask","continuation_id":"cont_01a21238-7e92-7ff8-bf61-680c526493d3","request_id":"req_01a21238-7e92-7e07-ac61-97643062a52c","decision":"approved"}', NULL, 4857896018412097124);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 5, 20, 'leg_started', 1795602022.121054, '{"worker":"otherhost:10619:64e3f01127de","fence":2,"reason":"resume"}', NULL, 3203508038860197761);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 6, 21, 'step_completed', 1795602022.121054, '{"key":"main/ask#1","step_id":"ask","output_text":"answered","index":0}', NULL, 3203508038860197761);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 7, 22, 'step_started', 1795602022.121054, '{"key":"main/exclaim#1","step_id":"exclaim","step_kind":"function","attempt":1,"ref":"exclaim","index":1}', NULL, 3203508038860197761);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 8, 23, 'step_completed', 1795602022.1426768, '{"key":"main/exclaim#1","step_id":"exclaim","output_text":"answered!","index":1}', NULL, 577906965578041758);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 9, 24, 'run_completed', 1795602022.1426768, '{"output_text":"answered!"}', NULL, 577906965578041758);
INSERT INTO public.run_events VALUES ('run_2026-11-25T10:20:22_PS4a9aTN8RTwgKVDXUOFGQ', 1, 25, 'run_created', 1795602022.160292, '{"plan_hash":"dac5f228c52b8a20389b08fe4ea848e8764d66df92cbbf163e9f55ac2f078822","target":"workflow","input_text":"queued","agent_name":"nobody","workflow_name":"flow","workflow_kind":"sequential","session_id":"s"}', NULL, 3379272074368257916);

INSERT INTO public.run_inputs VALUES ('run_2026-11-25T10:20:21_eua9crJZrnc916jSQ59c_g', 'c6414578f86cf42aac2a8e8b0db7d27f3af00646550ed55ab74e0e4de2e07704', 'tea', NULL, '[]', '{}');
INSERT INTO public.run_inputs VALUES ('run_2026-11-25T10:20:21_sR-abd7skg-aOkygOJSpGA', 'a101bc6d331df1a69d7fdbe45b8174b02e54f2a018d4a034f8d2afa1db63468b', 'sad', NULL, '[]', '{}');
INSERT INTO public.run_inputs VALUES ('run_2026-11-25T10:20:21_0LzVASZLmPV4j83Cvj65Xw', '08b0f0195b4dc581136c871a00f6f4ffe5fc51f065e33bb508364a351c6dc992', 'waits', NULL, '[]', '{}');
INSERT INTO public.run_inputs VALUES ('run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 'cde3c3c8c2b7f9de66ddfecee116a99ac5e1e81492772c1da2862232633dcdfe', 'answered', NULL, '[]', '{}');
INSERT INTO public.run_inputs VALUES ('run_2026-11-25T10:20:22_PS4a9aTN8RTwgKVDXUOFGQ', 'dac5f228c52b8a20389b08fe4ea848e8764d66df92cbbf163e9f55ac2f078822', 'queued', NULL, '[]', '{}');

INSERT INTO public.run_outputs VALUES ('run_2026-11-25T10:20:21_eua9crJZrnc916jSQ59c_g', 'TEA', NULL);
INSERT INTO public.run_outputs VALUES ('run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 'answered!', NULL);

INSERT INTO public.runs VALUES ('run_2026-11-25T10:20:21_eua9crJZrnc916jSQ59c_g', 'completed', 'ended', 5, 1795602021.893312, 1, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, 1795602021.8209026, 1795602021.893312, 0, 0, 0, 0, 0, NULL, 1795602021.804739, NULL, 'c6414578f86cf42aac2a8e8b0db7d27f3af00646550ed55ab74e0e4de2e07704', 'workflow', 'nobody', 'flow', 'sequential', NULL, NULL, NULL, NULL, 3564014531641188020);
INSERT INTO public.runs VALUES ('run_2026-11-25T10:20:21_sR-abd7skg-aOkygOJSpGA', 'failed', 'ended', 5, 1795602021.9534068, 1, NULL, NULL, 0, NULL, NULL, NULL, NULL, 'RuntimeError', 'not today (run_)', 1795602021.9410326, 1795602021.9534068, 0, 0, 0, 0, 0, NULL, 1795602021.922698, NULL, 'a101bc6d331df1a69d7fdbe45b8174b02e54f2a018d4a034f8d2afa1db63468b', 'workflow', 'nobody', 'flow', 'sequential', NULL, NULL, NULL, 'north', 490181696411710415);
INSERT INTO public.runs VALUES ('run_2026-11-25T10:20:21_0LzVASZLmPV4j83Cvj65Xw', 'blocked', 'waiting_human', 5, 1795602022.0166404, 1, NULL, NULL, 0, 'ask', 1, NULL, 'cont_01a21238-7e80-7a80-b26c-881478932a39', NULL, NULL, 1795602022.0045314, NULL, 0, 0, 0, 0, 0, NULL, 1795602021.981825, 1795609221.981825, '08b0f0195b4dc581136c871a00f6f4ffe5fc51f065e33bb508364a351c6dc992', 'workflow', 'nobody', 'flow', 'sequential', 's', NULL, NULL, 'north', 8753377947769228697);
INSERT INTO public.runs VALUES ('run_2026-11-25T10:20:22_LrITtg8oVGLF1Pj0H-PTUw', 'completed', 'ended', 9, 1795602022.1426768, 2, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, 1795602022.0346637, 1795602022.1426768, 0, 0, 0, 0, 0, NULL, 1795602022.028403, NULL, 'cde3c3c8c2b7f9de66ddfecee116a99ac5e1e81492772c1da2862232633dcdfe', 'workflow', 'nobody', 'flow', 'sequential', NULL, NULL, NULL, NULL, 577906965578041758);
INSERT INTO public.runs VALUES ('run_2026-11-25T10:20:22_PS4a9aTN8RTwgKVDXUOFGQ', 'running', 'runnable', 1, 1795602022.160292, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, NULL, 1795602022.160292, NULL, 'dac5f228c52b8a20389b08fe4ea848e8764d66df92cbbf163e9f55ac2f078822', 'workflow', 'nobody', 'flow', 'sequential', 's', NULL, NULL, NULL, 3379272074368257916);

INSERT INTO public.timers VALUES ('run_2026-11-25T10:20:21_0LzVASZLmPV4j83Cvj65Xw', 'run_deadline', '', 1795609221.981825);
INSERT INTO public.timers VALUES ('run_2026-11-25T10:20:21_0LzVASZLmPV4j83Cvj65Xw', 'human_deadline', 'cont_01a21238-7e80-7a80-b26c-881478932a39', 1795605622.0166404);

SELECT pg_catalog.setval('public.audit_events_position_seq', 11, true);

SELECT pg_catalog.setval('public.run_events_position', 25, true);

ALTER TABLE ONLY public.audit_events
    ADD CONSTRAINT audit_events_id_key UNIQUE (id);

ALTER TABLE ONLY public.audit_events
    ADD CONSTRAINT audit_events_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY public.documents
    ADD CONSTRAINT documents_pkey PRIMARY KEY (kind, name);

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

CREATE INDEX runs_over ON public.runs USING btree (COALESCE(completed_at, updated_at), id) WHERE (status = ANY (ARRAY['cancelled'::text, 'completed'::text, 'expired'::text, 'failed'::text, 'timed_out'::text]));

CREATE INDEX runs_runnable ON public.runs USING btree (created_at, id) WHERE (phase = 'runnable'::text);

CREATE INDEX runs_with_error ON public.runs USING btree (updated_at, id) WHERE (error_type IS NOT NULL);

CREATE INDEX timers_by_due_at ON public.timers USING btree (due_at, kind);
