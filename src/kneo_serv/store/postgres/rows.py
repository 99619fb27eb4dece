"""Rows of the tables as values of the model."""

import json
from collections.abc import Sequence
from typing import Any

from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.codec import decode
from kneo_serv.model.idempotency import IdempotencyKey, KeyRecord
from kneo_serv.model.run import Phase, RunRecord, RunStatus
from kneo_serv.model.task import Decision, HumanRequest, HumanTask, TaskStatus
from kneo_serv.store.lanes import lane_of

NOW = "extract(epoch from clock_timestamp())::double precision"
"""The database's clock, in seconds since the epoch."""
SEEN_PHASE = f"CASE WHEN phase = 'runnable' AND lease_expires_at > {NOW} THEN 'leased' ELSE phase END AS phase"
"""Phase as it is told: a runnable run under a live lease is leased."""

_RUN = (
    *("id", "status", "phase", "seq", "plan_hash", "target", "created_at", "updated_at", "agent_name"),
    *("workflow_name", "workflow_kind", "current_step_id", "current_step_index", "current_node_id", "continuation_id"),
    *("session_id", "parent_run_id", "environment", "error_type", "error_message", "deadline_at", "started_at"),
    *("completed_at", "input_tokens", "output_tokens", "fence", "lease_owner", "lease_expires_at", "takeovers"),
    *("fault", "tenant", "cached_tokens", "requests", "cost_usd", "priority", "lane"),
)
_TEXTS = ("input_text", "public_input_text", "output_text", "public_output_text", "tags", "metadata")
_TASK = (
    *("continuation_id", "run_id", "key", "step_id", "step_index", "workflow_name", "workflow_kind", "request"),
    *("input_text", "public_input_text", "created_at", "status", "expires_at", "escalated_at", "answered_at"),
    *("decision", "actor", "tenant"),
)
_AUDIT = ("id", "event_type", "created_at", "run_id", "continuation_id", "actor", "metadata", "tenant")


def _of_runs(texts: Sequence[str]) -> str:
    columns = [SEEN_PHASE if name == "phase" else f"runs.{name}" for name in _RUN]
    return ", ".join([*columns, *texts])


RUN = _of_runs(_TEXTS)
"""Columns of a whole run, of `runs` with `run_inputs` and `run_outputs`."""
LIGHT_RUN = _of_runs(["''", "NULL", "NULL", "NULL", "'[]'", "'{}'"])
"""Columns of a run without what may be long, of `runs` alone."""
TASK = ", ".join(_TASK)
AUDIT = ", ".join(_AUDIT)
KEY = "scope, principal, key, body_hash, run_id, continuation_id, from_seq, asynchronous, created_at"


def run_record(row: Sequence[Any]) -> RunRecord:
    """A run."""
    fields = dict(zip((*_RUN, *_TEXTS), row, strict=True))
    fields["status"] = RunStatus(fields["status"])
    fields["phase"] = Phase(fields["phase"])
    lane = lane_of(fields.pop("lane"))
    fields["queue"], fields["needs"] = lane.queue, lane.needs
    fields["tags"] = tuple(json.loads(fields["tags"]))
    fields["metadata"] = json.loads(fields["metadata"])
    return RunRecord(**fields)


def human_task(row: Sequence[Any]) -> HumanTask:
    """A human task."""
    fields = dict(zip(_TASK, row, strict=True))
    fields["request"] = decode(HumanRequest, json.loads(fields["request"]))
    fields["status"] = TaskStatus(fields["status"])
    fields["decision"] = None if fields["decision"] is None else Decision(fields["decision"])
    return HumanTask(**fields)


def audit_event(row: Sequence[Any]) -> AuditEvent:
    """An audit event."""
    fields = dict(zip(_AUDIT, row, strict=True))
    fields["metadata"] = json.loads(fields["metadata"])
    return AuditEvent(**fields)


def key_record(row: Sequence[Any]) -> KeyRecord:
    """What an idempotency key stands for."""
    scope, principal, key, body_hash, run_id, continuation_id, from_seq, asynchronous, created_at = row
    name = IdempotencyKey(scope, principal, key, body_hash, bool(asynchronous))
    return KeyRecord(name, run_id, from_seq, float(created_at), continuation_id)
