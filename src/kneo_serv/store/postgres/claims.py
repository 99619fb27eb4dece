"""Giving leases: who waits, in which lanes, and whom the rules let to work."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import batched
from typing import Any

import psycopg

from kneo_serv.model.ids import Owner, RunId
from kneo_serv.store.admission import RULES, Admission, Rules, Waiting, fair, rules_of
from kneo_serv.store.contract import Claim
from kneo_serv.store.jsontext import loads
from kneo_serv.store.lanes import Lane, lane_of
from kneo_serv.store.postgres import locks
from kneo_serv.store.postgres.connections import Connections, Link
from kneo_serv.store.postgres.faults import is_lost
from kneo_serv.store.postgres.functions import WAITS as BEHIND
from kneo_serv.store.postgres.rows import NOW

STANDS = "phase = 'runnable' AND lease_owner IS NULL"
"""Runs that stand in a lane; in the same words as in the index of lanes."""
_FRESH_SECONDS = 1.0
"""How old the rules may be where they only tell whether there are any."""
_KINDS = ", ".join(f"'{kind}'" for kind in RULES)
_RULES = f"SELECT kind, name, text FROM documents WHERE kind IN ({_KINDS}) ORDER BY kind, name"
# From each lane to the next one: what that costs depends on their number, never on that of the runs in them.
_LANES = f"""
    WITH RECURSIVE lanes(lane) AS (
        (SELECT lane FROM runs WHERE {STANDS} ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT (SELECT runs.lane FROM runs WHERE {STANDS} AND runs.lane > lanes.lane ORDER BY runs.lane LIMIT 1)
        FROM lanes WHERE lanes.lane IS NOT NULL
    ) SELECT lane FROM lanes WHERE lane IS NOT NULL
"""
_LOST = f"""
    SELECT id, lane, priority, created_at, fence, takeovers FROM runs
    WHERE lease_owner IS NOT NULL AND phase = 'runnable' AND lease_expires_at <= {NOW}
    AND lease_owner IS DISTINCT FROM %(owner)s AND NOT (%(in_turn)s AND {BEHIND})
"""
_THERE = f"""
    SELECT {NOW}, (SELECT array_agg(lane) FROM ({_LANES}) AS there)::text[],
        (SELECT json_agg(json_build_array(id, lane, priority, created_at, fence, takeovers))
            FROM ({_LOST}) AS gone)::text,
        (SELECT json_agg(json_build_array(kind, name, text)) FROM ({_RULES}) AS rules)::text,
        (SELECT json_object_agg(lane, number) FROM (SELECT lane, count(*) AS number FROM runs
            WHERE lease_owner IS NOT NULL AND phase = 'runnable' AND lease_expires_at > {NOW}
            GROUP BY lane) AS busy)::text
"""
_HEADS = f"""
    SELECT head.* FROM unnest(%(lanes)s::text[]) AS wanted(name) CROSS JOIN LATERAL (
        SELECT id, lane, priority, created_at, fence, takeovers FROM runs
        WHERE lane = wanted.name AND {STANDS} AND NOT (%(in_turn)s AND {BEHIND})
        ORDER BY priority DESC, created_at, id LIMIT %(limit)s
    ) AS head
"""
_TURNS = "SELECT tenant, turn FROM tenant_turns WHERE tenant = ANY (%s)"
_LEASE = f"""
    WITH found AS MATERIALIZED (
        SELECT id, lease_owner AS held FROM runs WHERE id = ANY (%(runs)s)
        AND phase = 'runnable' AND (lease_owner IS NULL OR lease_expires_at <= {NOW})
        ORDER BY id FOR UPDATE SKIP LOCKED
    )
    UPDATE runs SET fence = fence + 1, takeovers = takeovers + (held IS NOT NULL)::int, lease_owner = %(owner)s,
        lease_expires_at = {NOW} + %(seconds)s, write_id = %(write_id)s
    FROM found WHERE runs.id = found.id
    RETURNING runs.id, fence, held IS NOT NULL AS takeover, takeovers
"""
_TURN = """
    INSERT INTO tenant_turns (tenant, turn) SELECT * FROM unnest(%s::text[], %s::double precision[])
    ON CONFLICT (tenant) DO UPDATE SET turn = excluded.turn
"""
_CLAIMED = """
    SELECT id, fence, takeovers > 0, takeovers FROM runs WHERE lease_owner = %(owner)s AND write_id = %(write_id)s
"""
_LOCK = f"SELECT pg_advisory_xact_lock({locks.CLAIMS})"


async def claim_waiting(
    connections: Connections,
    owner: Owner,
    *,
    lease_seconds: float,
    limit: int,
    in_turn: bool,
    queues: Sequence[str] | None,
    hopeful: bool,
) -> list[Claim]:
    """Gives leases of runs that wait, and of those whose workers are lost, as the rules allow and as is fair.

    One process claims at a time, so that no two of them take the last place. Who is not `hopeful` looks first whether
    there is anything, so that idle workers keep nobody waiting.
    """
    asked = {"owner": owner, "in_turn": in_turn, "seconds": lease_seconds, "write_id": secrets.randbits(63)}
    lost: list[tuple[int, str] | None] = []

    async def claim(link: Link) -> list[Claim]:
        rows: Sequence[Sequence[Any]] = []
        if lost:
            # A lease of which its owner does not know would keep the run from everybody.
            await connections.settle(lost[-1])
            rows = await link.fetch(_CLAIMED, asked)
        try:
            if rows or not (hopeful or await _there(link, asked, queues)):
                return [Claim(*row) for row in rows]
            async with link.connection.transaction():
                await link.fetch(_LOCK)
                there = await _there(link, asked, queues)
                return [] if there is None else await _give(link, there, asked, limit)
        except psycopg.Error as error:
            if is_lost(error):
                lost.append(link.backend)
            raise

    return await connections.ask(claim)


class RulesWatch:
    """Whether there are any rules: without them, a run that is asked for by name is claimed in one round trip."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._rules = Rules()
        self._read_at: float | None = None

    def changed(self) -> None:
        """This process changed a document, which may be a rule."""
        self._read_at = None

    async def bind(self) -> bool:
        """Whether there are any, as of a moment ago."""
        if self._read_at is None or time.monotonic() - self._read_at >= _FRESH_SECONDS:
            self._read_at = time.monotonic()
            self._rules = rules_of(await self._connections.read(_RULES))
        return self._rules.bind

    async def admitted(self, run_id: RunId, claim: Callable[[], Awaitable[list[Claim]]]) -> list[Claim]:
        """What the claim gives, where the rules let the run to work now."""
        asked = {"owner": "", "in_turn": False}

        async def look(link: Link) -> list[Claim]:
            async with link.connection.transaction():
                await link.fetch(_LOCK)
                lane = await link.fetch("SELECT lane FROM runs WHERE id = %s", (run_id,))
                ((now, _, _, rules, at_work),) = await link.fetch(_THERE, asked)
                admission = Admission(rules_of(loads(rules or "[]")), loads(at_work or "{}"), float(now))
                return await claim() if lane and admission.admits(lane_of(lane[0][0])) else []

        return await self._connections.ask(look, repeat=False)


async def waiting(connections: Connections, *, queue: str | None, tenant: str | None, at_most: int) -> int:
    """How many runs wait for a worker, at most so many."""
    lanes = [
        lane.name
        for lane in (lane_of(row[0]) for row in await connections.read(_LANES))
        if (queue is None or lane.queue == queue) and (tenant is None or lane.tenant == tenant)
    ]
    query = f"SELECT count(*) FROM (SELECT 1 FROM runs WHERE lane = ANY (%s) AND {STANDS} LIMIT %s) AS there"
    ((number,),) = await connections.read(query, (lanes, at_most))
    return int(number)


class _There:
    """Who is there to be let to work, and what holds for it."""

    def __init__(self, row: Sequence[Any], queues: Sequence[str] | None) -> None:
        now, lanes, lost, rules, at_work = row
        self.now = float(now)
        self.lanes = [lane for lane in map(lane_of, lanes or ()) if _serves(queues, lane)]
        self.lost = [one for one in _waiting(loads(lost or "[]"), held=True) if _serves(queues, lane_of(one.lane))]
        self.admission = Admission(rules_of(loads(rules or "[]")), loads(at_work or "{}"), self.now)


async def _there(link: Link, asked: dict[str, Any], queues: Sequence[str] | None) -> _There | None:
    """What there is for a claim; None where that is nothing."""
    (row,) = await link.fetch(_THERE, asked)
    there = _There(row, queues)
    return there if there.lanes or there.lost else None


async def _give(link: Link, there: _There, asked: dict[str, Any], limit: int) -> list[Claim]:
    admission = there.admission
    by_tenant: dict[str, list[Lane]] = {lane_of(one.lane).tenant: [] for one in there.lost}
    for lane in there.lanes:
        if admission.admits(lane):
            by_tenant.setdefault(lane.tenant, []).append(lane)
    alone = len(by_tenant) < 2
    turns: dict[str, float] = {} if alone else dict(await link.fetch(_TURNS, (list(by_tenant),)))
    line = sorted(by_tenant, key=lambda tenant: (admission.tenants[tenant], turns.get(tenant, 0.0)))
    chosen: list[Waiting] = []
    served: list[str] = []
    # Each run that is chosen is one tenant's, so that the first tenants of the line will do.
    for tenants in batched(line, limit):
        names = [lane.name for tenant in tenants for lane in by_tenant[tenant]]
        heads = await link.fetch(_HEADS, {**asked, "lanes": names, "limit": limit - len(chosen)}) if names else []
        found = _waiting(heads) + [one for one in there.lost if lane_of(one.lane).tenant in tenants]
        more, theirs = fair(admission, found, turns, limit - len(chosen))
        chosen, served = chosen + more, served + theirs
        if len(chosen) >= limit:
            break
    if not chosen:
        return []
    if not alone:
        await link.fetch(f"{_TURN} RETURNING 1", (served, [there.now + place * 1e-6 for place in range(len(served))]))
    rows = await link.fetch(_LEASE, {**asked, "runs": [one.run_id for one in chosen]})
    given = {row[0]: Claim(*row) for row in rows}
    return [given[one.run_id] for one in chosen if one.run_id in given]


def _waiting(rows: Sequence[Sequence[Any]], *, held: bool = False) -> list[Waiting]:
    return [
        Waiting(run, lane, order, float(at), fence, takeovers, held) for run, lane, order, at, fence, takeovers in rows
    ]


def _serves(queues: Sequence[str] | None, lane: Lane) -> bool:
    return queues is None or lane.queue in queues
