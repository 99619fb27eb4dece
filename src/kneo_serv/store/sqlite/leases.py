"""Leases: who may execute which run, and until when. By the host's clock, which on one machine all share."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import sqlite3
import time
from collections.abc import Sequence

from kneo_serv.model.ids import Owner, RunId
from kneo_serv.store.contract import Claim, TimerKind
from kneo_serv.store.jsontext import dumps, loads
from kneo_serv.store.sqlite.owner import is_dead
from kneo_serv.store.sqlite.requests import NamedClaim

_OWNERS = "SELECT json_group_array(DISTINCT lease_owner) FROM runs WHERE lease_owner IS NOT NULL"
FREE = (
    "phase = 'runnable' AND (lease_owner IS NULL OR lease_expires_at <= :now"
    " OR lease_owner IN (SELECT value FROM json_each(:dead)))"
)
"""Runs that could be claimed now."""
AT_WORK = "phase IN ('runnable', 'waiting_timer')"
"""Runs for which later ones of their session wait; in the same words as in the index that finds them."""
_WAITS = (
    "(session_id IS NOT NULL AND started_at IS NULL AND EXISTS (SELECT 1 FROM runs AS earlier"
    f" WHERE earlier.session_id = runs.session_id AND earlier.tenant IS runs.tenant AND earlier.{AT_WORK}"
    " AND (earlier.created_at, earlier.id) < (runs.created_at, runs.id)))"
)
_OLDEST = (
    "SELECT json_group_array(json_array(id, fence, lease_owner IS NOT NULL, takeovers)) FROM ("
    "SELECT id, fence, lease_owner, takeovers FROM runs"
    f" WHERE {FREE} AND lease_owner IS NOT :owner AND NOT (:in_turn AND {_WAITS})"
    " ORDER BY created_at, id LIMIT :limit)"
)
_NAMED = (
    f"SELECT json_group_array(json_array(runs.id, fence, lease_owner, lease_expires_at <= ?, takeovers, {_WAITS}))"
    " FROM json_each(?) AS wanted CROSS JOIN runs ON runs.id = wanted.value WHERE phase = 'runnable'"
)
_LEASE_NAMED = (
    "UPDATE runs SET fence = fence + 1, takeovers = takeovers + (lease_owner IS NOT NULL),"
    " lease_owner = json_extract(value, '$[1]'), lease_expires_at = json_extract(value, '$[2]')"
    " FROM json_each(?) WHERE runs.id = json_extract(value, '$[0]')"
)
_LEASE = (
    "UPDATE runs SET fence = fence + 1, takeovers = takeovers + (lease_owner IS NOT NULL), lease_owner = :owner,"
    " lease_expires_at = :until WHERE id IN (SELECT value FROM json_each(:runs))"
)
_RENEW = (
    "UPDATE runs SET lease_expires_at = :until"
    " WHERE lease_owner = :owner AND id IN (SELECT value FROM json_each(:runs))"
)
_HELD = (
    "SELECT json_group_array(id) FROM runs WHERE lease_owner = :owner AND id IN (SELECT value FROM json_each(:runs))"
)
_MINE = "WHERE id = :run AND lease_owner = :owner AND fence = :fence"


def dead_owners(connection: sqlite3.Connection) -> list[str]:
    """Holders of leases that were processes of this machine and are gone."""
    (owners,) = connection.execute(_OWNERS).fetchone()
    return [owner for owner in loads(owners) if is_dead(owner)]


def claim_oldest(
    connection: sqlite3.Connection, owner: Owner, *, lease_seconds: float, limit: int, in_turn: bool
) -> list[Claim]:
    """Gives leases of runs that are free, oldest first."""
    now = time.time()
    dead = dumps(dead_owners(connection)).decode()
    (found,) = connection.execute(
        _OLDEST, {"now": now, "dead": dead, "owner": owner, "limit": limit, "in_turn": in_turn}
    ).fetchone()
    candidates = loads(found)
    if candidates:
        ids = dumps([id_ for id_, *_ in candidates]).decode()
        connection.execute(_LEASE, {"owner": owner, "until": now + lease_seconds, "runs": ids})
    return [
        Claim(run_id=id_, fence=fence + 1, takeover=bool(held), takeovers=takeovers + held)
        for id_, fence, held, takeovers in candidates
    ]


def claim_named(connection: sqlite3.Connection, claims: Sequence[NamedClaim]) -> list[list[Claim]]:
    """Gives leases of the named runs that are free; of several who ask for one run, the first gets it."""
    now = time.time()
    ids = dumps(list({asked.run_id for asked in claims})).decode()
    (found,) = connection.execute(_NAMED, (now, ids)).fetchone()
    free = {id_: rest for id_, *rest in loads(found)}
    given: list[list[Claim]] = []
    leases: list[tuple[RunId, Owner, float]] = []
    for asked in claims:
        fence, holder, over, takeovers, waits = free.get(asked.run_id, (0, asked.owner, 0, 0, 0))
        if holder == asked.owner or (asked.in_turn and waits) or not (holder is None or over or is_dead(holder)):
            given.append([])
            continue
        del free[asked.run_id]
        leases.append((asked.run_id, asked.owner, now + asked.lease_seconds))
        taken = holder is not None
        given.append([Claim(run_id=asked.run_id, fence=fence + 1, takeover=taken, takeovers=takeovers + taken)])
    if leases:
        connection.execute(_LEASE_NAMED, (dumps(leases).decode(),))
    return given


def renew(
    connection: sqlite3.Connection, owner: Owner, run_ids: Sequence[RunId], *, lease_seconds: float
) -> frozenset[RunId]:
    """Makes leases last; those that the owner still holds."""
    ids = dumps(list(run_ids)).decode()
    connection.execute(_RENEW, {"until": time.time() + lease_seconds, "owner": owner, "runs": ids})
    (held,) = connection.execute(_HELD, {"owner": owner, "runs": ids}).fetchone()
    return frozenset(loads(held))


def release(connection: sqlite3.Connection, run_id: RunId, *, owner: Owner, fence: int) -> bool:
    """Gives a lease back."""
    done = connection.execute(
        f"UPDATE runs SET lease_owner = NULL, lease_expires_at = NULL {_MINE}",
        {"run": run_id, "owner": owner, "fence": fence},
    )
    return done.rowcount > 0


def wake(connection: sqlite3.Connection, run_id: RunId) -> bool:
    """Makes a run that waits for a timer runnable."""
    done = connection.execute("UPDATE runs SET phase = 'runnable' WHERE id = ? AND phase = 'waiting_timer'", (run_id,))
    if done.rowcount == 0:
        return False
    connection.execute("DELETE FROM timers WHERE run_id = ? AND kind = ?", (run_id, TimerKind.RETRY))
    return True


def park(connection: sqlite3.Connection, run_id: RunId, *, owner: Owner, fence: int, fault: str) -> bool:
    """Puts a run aside and names the fault."""
    done = connection.execute(
        f"UPDATE runs SET phase = 'parked', fault = :fault, lease_owner = NULL, lease_expires_at = NULL {_MINE}",
        {"fault": fault, "run": run_id, "owner": owner, "fence": fence},
    )
    return done.rowcount > 0


def runnable(connection: sqlite3.Connection, *, limit: int) -> list[RunId]:
    """Runs that could be claimed now, oldest first."""
    dead = dumps(dead_owners(connection)).decode()
    query = f"SELECT json_group_array(id) FROM (SELECT id FROM runs WHERE {FREE} ORDER BY created_at, id LIMIT :limit)"
    (found,) = connection.execute(query, {"now": time.time(), "dead": dead, "limit": limit}).fetchone()
    ids: list[RunId] = loads(found)
    return ids
