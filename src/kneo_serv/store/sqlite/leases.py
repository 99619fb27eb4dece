"""Leases: who may execute which run, and until when. By the host's clock, which on one machine all share."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import sqlite3
import time
from collections.abc import Sequence

from kneo_serv.model.ids import Owner, RunId
from kneo_serv.store.contract import TimerKind
from kneo_serv.store.jsontext import dumps, loads
from kneo_serv.store.sqlite.owner import is_dead

_OWNERS = "SELECT json_group_array(DISTINCT lease_owner) FROM runs WHERE lease_owner IS NOT NULL"
FREE = (
    "phase = 'runnable' AND (lease_owner IS NULL OR lease_expires_at <= :now"
    " OR lease_owner IN (SELECT value FROM json_each(:dead)))"
)
"""Runs that could be claimed now."""
AT_WORK = "phase IN ('runnable', 'waiting_timer')"
"""Runs for which later ones of their session wait; in the same words as in the index that finds them."""
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
