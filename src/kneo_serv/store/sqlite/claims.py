"""Giving leases: who waits, in which lanes, and whom the rules let to work."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import sqlite3
import time
from collections.abc import Mapping, Sequence
from itertools import batched

from kneo_serv.model.ids import Owner, RunId
from kneo_serv.store.admission import RULES, Admission, Rules, Waiting, fair, rules_of
from kneo_serv.store.contract import Claim
from kneo_serv.store.jsontext import dumps, loads
from kneo_serv.store.lanes import Lane, lane_of
from kneo_serv.store.sqlite.leases import AT_WORK, dead_owners
from kneo_serv.store.sqlite.owner import is_dead
from kneo_serv.store.sqlite.requests import NamedClaim

WAITS = "phase = 'runnable' AND lease_owner IS NULL"
"""Runs that stand in a lane; in the same words as in the index of lanes."""
_GONE = "(lease_expires_at <= :now OR lease_owner IN (SELECT value FROM json_each(:dead)))"
_BEHIND = (
    "(session_id IS NOT NULL AND started_at IS NULL AND EXISTS (SELECT 1 FROM runs AS earlier"
    f" WHERE earlier.session_id = runs.session_id AND earlier.tenant IS runs.tenant AND earlier.{AT_WORK}"
    " AND (earlier.created_at, earlier.id) < (runs.created_at, runs.id)))"
)
_RULES = (
    "SELECT json_group_array(json_array(kind, name, text)) FROM documents"
    f" WHERE kind IN ({', '.join(repr(kind) for kind in RULES)})"
)
_AT_WORK = (
    "SELECT json_group_object(lane, number) FROM (SELECT lane, count(*) AS number FROM runs INDEXED BY runs_leased"
    f" WHERE lease_owner IS NOT NULL AND phase = 'runnable' AND NOT {_GONE} GROUP BY lane)"
)
# From each lane to the next one: what that costs depends on their number, never on that of the runs in them.
_LANES = (
    "WITH RECURSIVE lanes(lane) AS ("
    f"SELECT min(lane) FROM runs INDEXED BY runs_waiting WHERE {WAITS} UNION ALL"
    f" SELECT (SELECT min(runs.lane) FROM runs INDEXED BY runs_waiting WHERE {WAITS} AND runs.lane > lanes.lane)"
    " FROM lanes WHERE lanes.lane IS NOT NULL"
    ") SELECT json_group_array(lane) FROM lanes WHERE lane IS NOT NULL"
)
_COLUMNS = "runs.id, runs.lane, runs.priority, printf('%!.17g', runs.created_at), runs.fence, runs.takeovers"
_HEADS = (
    f"SELECT json_group_array(json_array({_COLUMNS})) FROM json_each(:lanes) AS wanted CROSS JOIN runs ON runs.id IN ("
    f"SELECT id FROM runs INDEXED BY runs_waiting WHERE lane = wanted.value AND {WAITS}"
    f" AND NOT (:in_turn AND {_BEHIND}) ORDER BY priority DESC, created_at, id LIMIT :limit)"
)
_LOST = (
    f"SELECT json_group_array(json_array({_COLUMNS})) FROM runs INDEXED BY runs_leased"
    f" WHERE lease_owner IS NOT NULL AND phase = 'runnable' AND {_GONE} AND lease_owner IS NOT :owner"
    f" AND NOT (:in_turn AND {_BEHIND})"
)
_TURNS = (
    "SELECT json_group_object(tenant, turn) FROM tenant_turns WHERE tenant IN (SELECT value FROM json_each(:tenants))"
)
_TURN = (
    "INSERT INTO tenant_turns (tenant, turn) SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]')"
    " FROM json_each(?) WHERE true ON CONFLICT (tenant) DO UPDATE SET turn = excluded.turn"
)
_LEASE = (
    "UPDATE runs SET fence = fence + 1, takeovers = takeovers + (lease_owner IS NOT NULL), lease_owner = :owner,"
    " lease_expires_at = :until WHERE id IN (SELECT value FROM json_each(:runs))"
)
_NAMED = (
    "SELECT json_group_array(json_array("
    f"runs.id, lane, fence, lease_owner, lease_expires_at <= ?, takeovers, {_BEHIND}))"
    " FROM json_each(?) AS wanted CROSS JOIN runs ON runs.id = wanted.value WHERE phase = 'runnable'"
)
_LEASE_NAMED = (
    "UPDATE runs SET fence = fence + 1, takeovers = takeovers + (lease_owner IS NOT NULL),"
    " lease_owner = json_extract(value, '$[1]'), lease_expires_at = json_extract(value, '$[2]')"
    " FROM json_each(?) WHERE runs.id = json_extract(value, '$[0]')"
)


def admission_now(connection: sqlite3.Connection) -> Admission | None:
    """Whom the rules let to work just now; None where there are no rules."""
    rules = _rules(connection)
    if not rules.bind:
        return None
    now = time.time()
    return _admission(connection, rules, now, dumps(dead_owners(connection)).decode())


def claim_waiting(
    connection: sqlite3.Connection,
    owner: Owner,
    *,
    lease_seconds: float,
    limit: int,
    in_turn: bool,
    queues: Sequence[str] | None,
) -> list[Claim]:
    """Gives leases of runs that wait, and of those whose workers are lost, as the rules allow and as is fair."""
    now = time.time()
    dead = dumps(dead_owners(connection)).decode()
    asked = {"now": now, "dead": dead, "owner": owner, "in_turn": in_turn}
    lost = [one for one in _waiting(connection, _LOST, asked, held=True) if _serves(queues, lane_of(one.lane))]
    (found,) = connection.execute(_LANES).fetchone()
    lanes = [lane for lane in map(lane_of, loads(found)) if _serves(queues, lane)]
    if not lost and not lanes:
        return []
    admission = _admission(connection, _rules(connection), now, dead)
    by_tenant: dict[str, list[Lane]] = {lane_of(one.lane).tenant: [] for one in lost}
    for lane in lanes:
        if admission.admits(lane):
            by_tenant.setdefault(lane.tenant, []).append(lane)
    turns = _turns(connection, list(by_tenant))
    line = sorted(by_tenant, key=lambda tenant: (admission.tenants[tenant], turns.get(tenant, 0.0)))
    chosen: list[Waiting] = []
    served: list[str] = []
    # Each run that is chosen is one tenant's, so that the first tenants of the line will do.
    for tenants in batched(line, limit):
        names = [lane.name for tenant in tenants for lane in by_tenant[tenant]]
        asked = {"lanes": dumps(names).decode(), "limit": limit - len(chosen), "in_turn": in_turn}
        waiting = _waiting(connection, _HEADS, asked)
        waiting += [one for one in lost if lane_of(one.lane).tenant in tenants]
        more, theirs = fair(admission, waiting, turns, limit - len(chosen))
        chosen, served = chosen + more, served + theirs
        if len(chosen) >= limit:
            break
    if chosen:
        ids = dumps([one.run_id for one in chosen]).decode()
        connection.execute(_LEASE, {"owner": owner, "until": now + lease_seconds, "runs": ids})
    if len(by_tenant) > 1:
        # Whoever is alone needs no turns.
        rows = [[tenant, now + place * 1e-6] for place, tenant in enumerate(served)]
        connection.execute(_TURN, (dumps(rows).decode(),))
    return [
        Claim(RunId(one.run_id), one.fence + 1, takeover=one.held, takeovers=one.takeovers + one.held) for one in chosen
    ]


def claim_named(connection: sqlite3.Connection, claims: Sequence[NamedClaim]) -> list[list[Claim]]:
    """Gives leases of the named runs that are free and may work; of several who ask for one run, the first gets it."""
    now = time.time()
    ids = dumps(list({asked.run_id for asked in claims})).decode()
    (found,) = connection.execute(_NAMED, (now, ids)).fetchone()
    free = {id_: rest for id_, *rest in loads(found)}
    admission = admission_now(connection) if free else None
    given: list[list[Claim]] = []
    leases: list[tuple[RunId, Owner, float]] = []
    for asked in claims:
        lane, fence, holder, over, takeovers, behind = free.get(asked.run_id, ("", 0, asked.owner, 0, 0, 0))
        refused = holder == asked.owner or (asked.in_turn and behind)
        if refused or not (holder is None or over or is_dead(holder)):
            given.append([])
            continue
        if admission is not None:
            if not admission.admits(lane_of(lane)):
                given.append([])
                continue
            admission.take(lane_of(lane))
        del free[asked.run_id]
        leases.append((asked.run_id, asked.owner, now + asked.lease_seconds))
        taken = holder is not None
        given.append([Claim(run_id=asked.run_id, fence=fence + 1, takeover=taken, takeovers=takeovers + taken)])
    if leases:
        connection.execute(_LEASE_NAMED, (dumps(leases).decode(),))
    return given


def waiting(connection: sqlite3.Connection, *, queue: str | None, tenant: str | None, at_most: int) -> int:
    """How many runs wait for a worker, at most so many."""
    (found,) = connection.execute(_LANES).fetchone()
    lanes = [
        lane.name
        for lane in map(lane_of, loads(found))
        if (queue is None or lane.queue == queue) and (tenant is None or lane.tenant == tenant)
    ]
    query = (
        "SELECT count(*) FROM (SELECT 1 FROM json_each(?) AS wanted CROSS JOIN runs INDEXED BY runs_waiting"
        f" ON runs.lane = wanted.value WHERE {WAITS} LIMIT ?)"
    )
    (number,) = connection.execute(query, (dumps(lanes).decode(), at_most)).fetchone()
    return int(number)


def _rules(connection: sqlite3.Connection) -> Rules:
    (found,) = connection.execute(_RULES).fetchone()
    return rules_of(loads(found))


def _admission(connection: sqlite3.Connection, rules: Rules, now: float, dead: str) -> Admission:
    (found,) = connection.execute(_AT_WORK, {"now": now, "dead": dead}).fetchone()
    return Admission(rules, loads(found), now)


def _waiting(
    connection: sqlite3.Connection, query: str, asked: Mapping[str, object], *, held: bool = False
) -> list[Waiting]:
    (found,) = connection.execute(query, asked).fetchone()
    return [
        Waiting(run_id, lane, priority, float(created_at), fence, takeovers, held)
        for run_id, lane, priority, created_at, fence, takeovers in loads(found)
    ]


def _turns(connection: sqlite3.Connection, tenants: Sequence[str]) -> dict[str, float]:
    if len(tenants) < 2:
        return {}
    (found,) = connection.execute(_TURNS, {"tenants": dumps(tenants).decode()}).fetchone()
    turns: dict[str, float] = loads(found)
    return turns


def _serves(queues: Sequence[str] | None, lane: Lane) -> bool:
    return queues is None or lane.queue in queues
