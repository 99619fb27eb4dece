BEGIN TRANSACTION;
CREATE TABLE audit_events (
                position INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                event_type TEXT NOT NULL,
                created_at REAL NOT NULL,
                run_id TEXT,
                continuation_id TEXT,
                actor TEXT,
                metadata TEXT NOT NULL
            );
INSERT INTO "audit_events" VALUES(1,'aud_01a210fe-7e9d-7ab1-96a6-e69e22d45422','run.created',1.79558144374056386947e+09,'run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw',NULL,NULL,'{"target":"workflow","environment":null,"session_id":"s","timeout_seconds":null,"spec_path":null,"inline_spec":true,"metadata":{}}');
INSERT INTO "audit_events" VALUES(2,'aud_01a210fe-7eaa-7552-9a46-92427e3c6855','run.rested',1.79558144375411915779e+09,'run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw','cont_01a210fe-7eaa-78f7-a04c-abed7121a983',NULL,'{"status":"blocked","usage":{"total_tokens":36}}');
INSERT INTO "audit_events" VALUES(3,'aud_01a210fe-7ead-7732-9d06-34f0fe01a6f6','run.created',1.79558144375677037241e+09,'run_2026-11-25T04:37:23_a4VzmuHoxjOBnkbuMs5l4g',NULL,NULL,'{"target":"agent","environment":null,"session_id":null,"timeout_seconds":null,"spec_path":null,"inline_spec":true,"metadata":{}}');
INSERT INTO "audit_events" VALUES(4,'aud_01a210fe-7eb2-75a5-a172-36bb6aa48067','run.rested',1.79558144376148819923e+09,'run_2026-11-25T04:37:23_a4VzmuHoxjOBnkbuMs5l4g',NULL,NULL,'{"status":"completed","usage":{"total_tokens":18}}');
INSERT INTO "audit_events" VALUES(5,'aud_01a210fe-7eb6-75d6-b551-c32fb8d96375','run.created',1.7955814437666192054e+09,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',NULL,NULL,'{"target":"workflow","environment":null,"session_id":"s","timeout_seconds":null,"parent_run_id":"run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw"}');
INSERT INTO "audit_events" VALUES(6,'aud_01a210fe-7eb6-73de-8b50-e5bc90a17da6','run.forked',1.7955814437666192054e+09,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',NULL,NULL,'{"parent_run_id":"run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw","at_sequence":2,"changed":[]}');
INSERT INTO "audit_events" VALUES(7,'aud_01a210fe-7ebe-7798-a164-fdebf135bedf','run.rested',1.79558144377289223667e+09,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA','cont_01a210fe-7ebd-79b8-9960-667cca464362',NULL,'{"status":"blocked","usage":{"total_tokens":18}}');
INSERT INTO "audit_events" VALUES(8,'aud_01a210fe-7ec0-77ff-b83a-f1abec76f147','run.created',1.79558144377622365948e+09,'run_2026-11-25T04:37:23_EYRPQxsMHLnf9j29VdQ6Ew',NULL,NULL,'{"target":"workflow","environment":null,"session_id":"s","timeout_seconds":null,"spec_path":null,"inline_spec":true,"metadata":{}}');
INSERT INTO "audit_events" VALUES(9,'aud_01a210fe-7ec1-7792-8825-f6c78d8f438d','run.created',1.79558144377744221685e+09,'run_2026-11-25T04:37:23_BMskXRb7zTh1VJ0TmrhqtQ',NULL,NULL,'{"target":"workflow","environment":null,"session_id":null,"timeout_seconds":null,"spec_path":null,"inline_spec":true,"metadata":{}}');
INSERT INTO "audit_events" VALUES(10,'aud_01a210fe-7ec3-79da-8209-803c7456f741','run.cancelled',1.79558144377903819086e+09,'run_2026-11-25T04:37:23_BMskXRb7zTh1VJ0TmrhqtQ',NULL,NULL,'{"reason":"Run cancellation requested."}');
CREATE TABLE documents (
                kind TEXT NOT NULL,
                name TEXT NOT NULL,
                text TEXT NOT NULL,
                PRIMARY KEY (kind, name)
            ) WITHOUT ROWID
            ;
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
            );
INSERT INTO "human_tasks" VALUES('cont_01a210fe-7eaa-78f7-a04c-abed7121a983','run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw','main/ask#1','ask',2,'letters','sequential','{"id":"req_01a210fe-7eaa-7ec8-bf79-2e5e1a4ec3f3","type":"approval","title":"Go on?","prompt":"Go on?","requested_by":"ask"}','said',NULL,1.79558144375411915779e+09,'open',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "human_tasks" VALUES('cont_01a210fe-7ebd-79b8-9960-667cca464362','run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA','main/ask#1','ask',2,'letters','sequential','{"id":"req_01a210fe-7ebd-7398-a91f-2175b720afdc","type":"approval","title":"Go on?","prompt":"Go on?","requested_by":"ask"}','said',NULL,1.79558144377289223667e+09,'open',NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE kneo_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at REAL NOT NULL);
INSERT INTO "kneo_migrations" VALUES(1,'journal',1.79558144372801661492e+09);
INSERT INTO "kneo_migrations" VALUES(2,'sessions',1.7955814437280886173e+09);
CREATE TABLE plans (hash TEXT NOT NULL PRIMARY KEY, plan TEXT NOT NULL);
INSERT INTO "plans" VALUES('01c6399c8b5e319324e572f31d3d8140b898dfd4a44c87c5eaed3fae7579ac1c','{"hash":"01c6399c8b5e319324e572f31d3d8140b898dfd4a44c87c5eaed3fae7579ac1c","agents":{"@root":{"name":"writer","model":{"provider":"scripted","name":"scripted"}}},"flows":{"@root":{"name":"letters","type":"sequential","steps":[{"id":"write","kind":"agent","ref":"@root"},{"id":"mend","kind":"agent","ref":"@root"},{"id":"ask","kind":"human","ref":"person"}]}},"humans":{"person":{"description":"Go on?"}}}');
CREATE TABLE run_counts (status TEXT NOT NULL PRIMARY KEY, runs INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "run_counts" VALUES('blocked',2);
INSERT INTO "run_counts" VALUES('cancelled',1);
INSERT INTO "run_counts" VALUES('completed',1);
INSERT INTO "run_counts" VALUES('running',1);
CREATE TABLE run_events (
                position INTEGER PRIMARY KEY,
                run_id TEXT NOT NULL,
                seq INTEGER NOT NULL,
                kind TEXT NOT NULL,
                at REAL NOT NULL,
                payload TEXT NOT NULL,
                public TEXT,
                UNIQUE (run_id, seq)
            );
INSERT INTO "run_events" VALUES(1,'run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw',1,'run_created',1.79558144374056386947e+09,'{"plan_hash":"01c6399c8b5e319324e572f31d3d8140b898dfd4a44c87c5eaed3fae7579ac1c","target":"workflow","input_text":"one","agent_name":"writer","workflow_name":"letters","workflow_kind":"sequential","session_id":"s"}',NULL);
INSERT INTO "run_events" VALUES(2,'run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw',2,'leg_started',1.79558144374897718431e+09,'{"worker":"host:boot:1:1","fence":1,"reason":"start"}',NULL);
INSERT INTO "run_events" VALUES(3,'run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw',3,'step_started',1.79558144374897718431e+09,'{"key":"main/write#1","step_id":"write","step_kind":"agent","attempt":1,"ref":"@root","index":0}',NULL);
INSERT INTO "run_events" VALUES(4,'run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw',4,'model_turn_started',1.79558144374897718431e+09,'{"key":"main/write#1","step_id":"write","turn":1}',NULL);
INSERT INTO "run_events" VALUES(5,'run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw',5,'model_turn_completed',1.79558144375169777872e+09,'{"key":"main/write#1","step_id":"write","turn":1,"text":"said","usage":{"input_tokens":11,"output_tokens":7,"requests":1,"cached_tokens":5,"cost_usd":0.000123}}',NULL);
INSERT INTO "run_events" VALUES(6,'run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw',6,'step_completed',1.79558144375169777872e+09,'{"key":"main/write#1","step_id":"write","output_text":"said","index":0,"usage":{"input_tokens":11,"output_tokens":7,"requests":1,"cached_tokens":5,"cost_usd":0.000123}}',NULL);
INSERT INTO "run_events" VALUES(7,'run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw',7,'step_started',1.79558144375169777872e+09,'{"key":"main/mend#1","step_id":"mend","step_kind":"agent","attempt":1,"ref":"@root","index":1}',NULL);
INSERT INTO "run_events" VALUES(8,'run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw',8,'model_turn_started',1.79558144375169777872e+09,'{"key":"main/mend#1","step_id":"mend","turn":1}',NULL);
INSERT INTO "run_events" VALUES(9,'run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw',9,'model_turn_completed',1.79558144375411915779e+09,'{"key":"main/mend#1","step_id":"mend","turn":1,"text":"said","usage":{"input_tokens":11,"output_tokens":7,"requests":1,"cached_tokens":5,"cost_usd":0.000123}}',NULL);
INSERT INTO "run_events" VALUES(10,'run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw',10,'step_completed',1.79558144375411915779e+09,'{"key":"main/mend#1","step_id":"mend","output_text":"said","index":1,"usage":{"input_tokens":11,"output_tokens":7,"requests":1,"cached_tokens":5,"cost_usd":0.000123}}',NULL);
INSERT INTO "run_events" VALUES(11,'run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw',11,'human_asked',1.79558144375411915779e+09,'{"key":"main/ask#1","step_id":"ask","continuation_id":"cont_01a210fe-7eaa-78f7-a04c-abed7121a983","request":{"id":"req_01a210fe-7eaa-7ec8-bf79-2e5e1a4ec3f3","type":"approval","title":"Go on?","prompt":"Go on?","requested_by":"ask"},"index":2}',NULL);
INSERT INTO "run_events" VALUES(12,'run_2026-11-25T04:37:23_a4VzmuHoxjOBnkbuMs5l4g',1,'run_created',1.79558144375677037241e+09,'{"plan_hash":"01c6399c8b5e319324e572f31d3d8140b898dfd4a44c87c5eaed3fae7579ac1c","target":"agent","input_text":"two","agent_name":"writer"}',NULL);
INSERT INTO "run_events" VALUES(13,'run_2026-11-25T04:37:23_a4VzmuHoxjOBnkbuMs5l4g',2,'leg_started',1.79558144375912737849e+09,'{"worker":"host:boot:1:1","fence":1,"reason":"start"}',NULL);
INSERT INTO "run_events" VALUES(14,'run_2026-11-25T04:37:23_a4VzmuHoxjOBnkbuMs5l4g',3,'step_started',1.79558144375912737849e+09,'{"key":"main/writer#1","step_id":"writer","step_kind":"agent","attempt":1,"ref":"@root","index":0}',NULL);
INSERT INTO "run_events" VALUES(15,'run_2026-11-25T04:37:23_a4VzmuHoxjOBnkbuMs5l4g',4,'model_turn_started',1.79558144375912737849e+09,'{"key":"main/writer#1","step_id":"writer","turn":1}',NULL);
INSERT INTO "run_events" VALUES(16,'run_2026-11-25T04:37:23_a4VzmuHoxjOBnkbuMs5l4g',5,'model_turn_completed',1.79558144376148819923e+09,'{"key":"main/writer#1","step_id":"writer","turn":1,"text":"said","usage":{"input_tokens":11,"output_tokens":7,"requests":1,"cached_tokens":5,"cost_usd":0.000123}}',NULL);
INSERT INTO "run_events" VALUES(17,'run_2026-11-25T04:37:23_a4VzmuHoxjOBnkbuMs5l4g',6,'step_completed',1.79558144376148819923e+09,'{"key":"main/writer#1","step_id":"writer","output_text":"said","index":0,"usage":{"input_tokens":11,"output_tokens":7,"requests":1,"cached_tokens":5,"cost_usd":0.000123}}',NULL);
INSERT INTO "run_events" VALUES(18,'run_2026-11-25T04:37:23_a4VzmuHoxjOBnkbuMs5l4g',7,'run_completed',1.79558144376148819923e+09,'{"output_text":"said"}',NULL);
INSERT INTO "run_events" VALUES(19,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',1,'run_created',1.79558144374056386947e+09,'{"plan_hash":"01c6399c8b5e319324e572f31d3d8140b898dfd4a44c87c5eaed3fae7579ac1c","target":"workflow","input_text":"one","agent_name":"writer","workflow_name":"letters","workflow_kind":"sequential","session_id":"s"}',NULL);
INSERT INTO "run_events" VALUES(20,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',2,'leg_started',1.79558144374897718431e+09,'{"worker":"host:boot:1:1","fence":1,"reason":"start"}',NULL);
INSERT INTO "run_events" VALUES(21,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',3,'step_started',1.79558144374897718431e+09,'{"key":"main/write#1","step_id":"write","step_kind":"agent","attempt":1,"ref":"@root","index":0}',NULL);
INSERT INTO "run_events" VALUES(22,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',4,'model_turn_started',1.79558144374897718431e+09,'{"key":"main/write#1","step_id":"write","turn":1}',NULL);
INSERT INTO "run_events" VALUES(23,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',5,'model_turn_completed',1.79558144375169777872e+09,'{"key":"main/write#1","step_id":"write","turn":1,"text":"said","usage":{"input_tokens":11,"output_tokens":7,"requests":1,"cached_tokens":5,"cost_usd":0.000123}}',NULL);
INSERT INTO "run_events" VALUES(24,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',6,'step_completed',1.79558144375169777872e+09,'{"key":"main/write#1","step_id":"write","output_text":"said","index":0,"usage":{"input_tokens":11,"output_tokens":7,"requests":1,"cached_tokens":5,"cost_usd":0.000123}}',NULL);
INSERT INTO "run_events" VALUES(25,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',7,'run_forked',1.7955814437666192054e+09,'{"parent_run_id":"run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw","parent_seq":6,"at_sequence":2,"plan_hash":"01c6399c8b5e319324e572f31d3d8140b898dfd4a44c87c5eaed3fae7579ac1c"}',NULL);
INSERT INTO "run_events" VALUES(26,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',8,'leg_started',1.79558144377111554143e+09,'{"worker":"host:boot:1:1","fence":1,"reason":"start"}',NULL);
INSERT INTO "run_events" VALUES(27,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',9,'step_started',1.79558144377111554143e+09,'{"key":"main/mend#1","step_id":"mend","step_kind":"agent","attempt":1,"ref":"@root","index":1}',NULL);
INSERT INTO "run_events" VALUES(28,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',10,'model_turn_started',1.79558144377111554143e+09,'{"key":"main/mend#1","step_id":"mend","turn":1}',NULL);
INSERT INTO "run_events" VALUES(29,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',11,'model_turn_completed',1.79558144377289223667e+09,'{"key":"main/mend#1","step_id":"mend","turn":1,"text":"said","usage":{"input_tokens":11,"output_tokens":7,"requests":1,"cached_tokens":5,"cost_usd":0.000123}}',NULL);
INSERT INTO "run_events" VALUES(30,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',12,'step_completed',1.79558144377289223667e+09,'{"key":"main/mend#1","step_id":"mend","output_text":"said","index":1,"usage":{"input_tokens":11,"output_tokens":7,"requests":1,"cached_tokens":5,"cost_usd":0.000123}}',NULL);
INSERT INTO "run_events" VALUES(31,'run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA',13,'human_asked',1.79558144377289223667e+09,'{"key":"main/ask#1","step_id":"ask","continuation_id":"cont_01a210fe-7ebd-79b8-9960-667cca464362","request":{"id":"req_01a210fe-7ebd-7398-a91f-2175b720afdc","type":"approval","title":"Go on?","prompt":"Go on?","requested_by":"ask"},"index":2}',NULL);
INSERT INTO "run_events" VALUES(32,'run_2026-11-25T04:37:23_EYRPQxsMHLnf9j29VdQ6Ew',1,'run_created',1.79558144377622365948e+09,'{"plan_hash":"01c6399c8b5e319324e572f31d3d8140b898dfd4a44c87c5eaed3fae7579ac1c","target":"workflow","input_text":"three","agent_name":"writer","workflow_name":"letters","workflow_kind":"sequential","session_id":"s"}',NULL);
INSERT INTO "run_events" VALUES(33,'run_2026-11-25T04:37:23_BMskXRb7zTh1VJ0TmrhqtQ',1,'run_created',1.79558144377744221685e+09,'{"plan_hash":"01c6399c8b5e319324e572f31d3d8140b898dfd4a44c87c5eaed3fae7579ac1c","target":"workflow","input_text":"four","agent_name":"writer","workflow_name":"letters","workflow_kind":"sequential"}',NULL);
INSERT INTO "run_events" VALUES(34,'run_2026-11-25T04:37:23_BMskXRb7zTh1VJ0TmrhqtQ',2,'run_cancelled',1.79558144377903819086e+09,'{"reason":"Run cancellation requested."}',NULL);
CREATE TABLE run_inputs (
                run_id TEXT NOT NULL PRIMARY KEY,
                input_text TEXT NOT NULL,
                public_input_text TEXT,
                tags TEXT NOT NULL,
                metadata TEXT NOT NULL
            );
INSERT INTO "run_inputs" VALUES('run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw','one',NULL,'[]','{}');
INSERT INTO "run_inputs" VALUES('run_2026-11-25T04:37:23_a4VzmuHoxjOBnkbuMs5l4g','two',NULL,'[]','{}');
INSERT INTO "run_inputs" VALUES('run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA','one',NULL,'[]','{}');
INSERT INTO "run_inputs" VALUES('run_2026-11-25T04:37:23_EYRPQxsMHLnf9j29VdQ6Ew','three',NULL,'[]','{}');
INSERT INTO "run_inputs" VALUES('run_2026-11-25T04:37:23_BMskXRb7zTh1VJ0TmrhqtQ','four',NULL,'[]','{}');
CREATE TABLE run_outputs (
                run_id TEXT NOT NULL PRIMARY KEY,
                output_text TEXT NOT NULL,
                public_output_text TEXT
            );
INSERT INTO "run_outputs" VALUES('run_2026-11-25T04:37:23_a4VzmuHoxjOBnkbuMs5l4g','said',NULL);
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
            );
INSERT INTO "runs" VALUES('run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw','blocked','waiting_human',11,1.79558144375411915779e+09,1,NULL,NULL,0,'ask',2,NULL,'cont_01a210fe-7eaa-78f7-a04c-abed7121a983',NULL,NULL,1.79558144374897718431e+09,NULL,22,14,NULL,1.79558144374056386947e+09,NULL,'01c6399c8b5e319324e572f31d3d8140b898dfd4a44c87c5eaed3fae7579ac1c','workflow','writer','letters','sequential','s',NULL,NULL);
INSERT INTO "runs" VALUES('run_2026-11-25T04:37:23_a4VzmuHoxjOBnkbuMs5l4g','completed','ended',7,1.79558144376148819923e+09,1,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,1.79558144375912737849e+09,1.79558144376148819923e+09,11,7,NULL,1.79558144375677037241e+09,NULL,'01c6399c8b5e319324e572f31d3d8140b898dfd4a44c87c5eaed3fae7579ac1c','agent','writer',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('run_2026-11-25T04:37:23_Y_BeTjoSwYwlgkhl8Q5-FA','blocked','waiting_human',13,1.79558144377289223667e+09,1,NULL,NULL,0,'ask',2,NULL,'cont_01a210fe-7ebd-79b8-9960-667cca464362',NULL,NULL,1.79558144377111554143e+09,NULL,11,7,NULL,1.7955814437666192054e+09,NULL,'01c6399c8b5e319324e572f31d3d8140b898dfd4a44c87c5eaed3fae7579ac1c','workflow','writer','letters','sequential','s','run_2026-11-25T04:37:23_YnRl1kdOj1y1E4MOMqatiw',NULL);
INSERT INTO "runs" VALUES('run_2026-11-25T04:37:23_EYRPQxsMHLnf9j29VdQ6Ew','running','runnable',1,1.79558144377622365948e+09,0,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,NULL,1.79558144377622365948e+09,NULL,'01c6399c8b5e319324e572f31d3d8140b898dfd4a44c87c5eaed3fae7579ac1c','workflow','writer','letters','sequential','s',NULL,NULL);
INSERT INTO "runs" VALUES('run_2026-11-25T04:37:23_BMskXRb7zTh1VJ0TmrhqtQ','cancelled','ended',2,1.79558144377903819086e+09,0,NULL,NULL,0,NULL,NULL,NULL,NULL,'cancelled','Run cancellation requested.',NULL,1.79558144377903819086e+09,0,0,NULL,1.79558144377744221685e+09,NULL,'01c6399c8b5e319324e572f31d3d8140b898dfd4a44c87c5eaed3fae7579ac1c','workflow','writer','letters','sequential',NULL,NULL,NULL);
CREATE TABLE snapshots (run_id TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE timers (
                run_id TEXT NOT NULL,
                kind TEXT NOT NULL,
                key TEXT NOT NULL,
                due_at REAL NOT NULL,
                PRIMARY KEY (run_id, kind, key)
            ) WITHOUT ROWID
            ;
CREATE INDEX runs_by_created_at ON runs (created_at, id);
CREATE INDEX runs_by_status ON runs (status, updated_at, id);
CREATE INDEX runs_by_workflow ON runs (workflow_name, created_at);
CREATE INDEX runs_by_agent ON runs (agent_name, created_at) WHERE agent_name IS NOT NULL;
CREATE INDEX runs_by_session ON runs (session_id, created_at) WHERE session_id IS NOT NULL;
CREATE INDEX runs_runnable ON runs (created_at, id) WHERE phase = 'runnable';
CREATE INDEX runs_leased ON runs (lease_owner) WHERE lease_owner IS NOT NULL;
CREATE TRIGGER runs_count_new AFTER INSERT ON runs BEGIN
                INSERT INTO run_counts (status, runs) VALUES (new.status, 1)
                    ON CONFLICT (status) DO UPDATE SET runs = runs + 1;
            END;
CREATE TRIGGER runs_count_moved AFTER UPDATE OF status ON runs WHEN old.status <> new.status BEGIN
                UPDATE run_counts SET runs = runs - 1 WHERE status = old.status;
                INSERT INTO run_counts (status, runs) VALUES (new.status, 1)
                    ON CONFLICT (status) DO UPDATE SET runs = runs + 1;
            END;
CREATE TRIGGER runs_count_gone AFTER DELETE ON runs BEGIN
                UPDATE run_counts SET runs = runs - 1 WHERE status = old.status;
            END;
CREATE INDEX human_tasks_by_status ON human_tasks (status, created_at, continuation_id);
CREATE INDEX human_tasks_by_age ON human_tasks (created_at, continuation_id);
CREATE INDEX human_tasks_by_run ON human_tasks (run_id, status);
CREATE INDEX timers_by_due_at ON timers (due_at, kind);
CREATE INDEX audit_events_by_age ON audit_events (created_at, position);
CREATE INDEX audit_events_by_type ON audit_events (event_type, created_at, position);
CREATE INDEX audit_events_by_run ON audit_events (run_id, created_at, position) WHERE run_id IS NOT NULL;
CREATE INDEX runs_at_work_by_session ON runs (session_id, created_at, id)
                WHERE session_id IS NOT NULL AND phase IN ('runnable', 'waiting_timer')
            ;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('audit_events',10);
COMMIT;
