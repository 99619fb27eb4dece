"""Rows of the tables as values of the model."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.codec import decode
from kneo_serv.model.idempotency import IdempotencyKey, KeyRecord
from kneo_serv.model.run import Phase, RunRecord, RunStatus
from kneo_serv.model.task import Decision, HumanRequest, HumanTask, TaskStatus
from kneo_serv.store.jsontext import loads
from kneo_serv.store.lanes import lane_of


class Columns:
    """The columns of a query, read as one JSON value.

    One value, since for each row that is fetched the interpreter lock changes hands. `reals` are columns of REAL; they
    travel with 17 digits, which give back the very number (SQLite's JSON has 15).
    """

    def __init__(self, columns: str, *, reals: str = "") -> None:
        self.names = tuple(columns.split())
        self._reals = tuple(self.names.index(name) for name in reals.split())
        texts = [
            f"CASE WHEN {name} IS NOT NULL THEN printf('%!.17g', {name}) END" if place in self._reals else name
            for place, name in enumerate(self.names)
        ]
        self._array = f"json_group_array(json_array({', '.join(texts)}))"

    def fetch(self, connection: sqlite3.Connection, query: str, parameters: Sequence[Any] = ()) -> list[list[Any]]:
        """Rows of a query, each with the items of `names`; the query gives columns of these names."""
        (text,) = connection.execute(f"SELECT {self._array} FROM ({query})", parameters).fetchone()
        rows: list[list[Any]] = loads(text)
        for place in self._reals:
            for row in rows:
                if row[place] is not None:
                    row[place] = float(row[place])
        return rows


EVENT = Columns("seq kind at payload public", reals="at")
FEED = Columns("position run_id seq kind at payload public", reals="at")
RUN = Columns(
    "id status phase seq plan_hash target created_at updated_at agent_name workflow_name workflow_kind current_step_id"
    " current_step_index current_node_id continuation_id session_id parent_run_id environment error_type error_message"
    " deadline_at started_at completed_at input_tokens output_tokens fence lease_owner lease_expires_at takeovers fault"
    " tenant cached_tokens requests cost_usd priority lane"
    " input_text public_input_text output_text public_output_text tags metadata",
    reals="created_at updated_at deadline_at started_at completed_at lease_expires_at cost_usd",
)
TASK = Columns(
    "continuation_id run_id key step_id step_index workflow_name workflow_kind request input_text public_input_text"
    " created_at status expires_at escalated_at answered_at decision actor tenant",
    reals="created_at expires_at escalated_at answered_at",
)
TIMER = Columns("run_id kind key due_at", reals="due_at")
AUDIT = Columns("id event_type created_at run_id continuation_id actor metadata tenant", reals="created_at")
KEY = Columns(
    "scope principal key body_hash run_id continuation_id from_seq asynchronous created_at", reals="created_at"
)


def seen_phase(phase: str, lease_expires_at: float | None, now: float) -> Phase:
    """Phase as it is told: a runnable run under a live lease is leased."""
    if phase == Phase.RUNNABLE and lease_expires_at is not None and lease_expires_at > now:
        return Phase.LEASED
    return Phase(phase)


def run_record(row: Sequence[Any], now: float) -> RunRecord:
    """A run; `now` tells whether its lease is alive."""
    fields = dict(zip(RUN.names, row, strict=True))
    fields["status"] = RunStatus(fields["status"])
    fields["phase"] = seen_phase(fields["phase"], fields["lease_expires_at"], now)
    lane = lane_of(fields.pop("lane"))
    fields["queue"], fields["needs"] = lane.queue, lane.needs
    fields["tags"] = tuple(json.loads(fields["tags"]))
    fields["metadata"] = json.loads(fields["metadata"])
    return RunRecord(**fields)


def human_task(row: Sequence[Any]) -> HumanTask:
    """A human task."""
    fields = dict(zip(TASK.names, row, strict=True))
    fields["request"] = decode(HumanRequest, json.loads(fields["request"]))
    fields["status"] = TaskStatus(fields["status"])
    fields["decision"] = None if fields["decision"] is None else Decision(fields["decision"])
    return HumanTask(**fields)


def audit_event(row: Sequence[Any]) -> AuditEvent:
    """An audit event."""
    fields = dict(zip(AUDIT.names, row, strict=True))
    fields["metadata"] = json.loads(fields["metadata"])
    return AuditEvent(**fields)


def key_record(row: Sequence[Any]) -> KeyRecord:
    """What an idempotency key stands for."""
    scope, principal, key, body_hash, run_id, continuation_id, from_seq, asynchronous, created_at = row
    name = IdempotencyKey(scope, principal, key, body_hash, bool(asynchronous))
    return KeyRecord(name, run_id, from_seq, created_at, continuation_id)
