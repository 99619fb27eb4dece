"""What a claim costs does not depend on how many runs wait, and whose turn it is not on how many somebody has."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

import pytest

from kneo_serv.model.ids import Owner
from kneo_serv.store.lanes import lane_name
from kneo_serv.store.sqlite import claims
from kneo_serv.store.sqlite.claims import claim_waiting, waiting
from kneo_serv.store.sqlite.leases import release
from kneo_serv.store.sqlite.schema import migrate

OWNER = Owner("otherhost:boot:1:1")


def fill(connection: sqlite3.Connection, runs: int, *, tenant: str | None = None, first: float = 0) -> None:
    """Runs that wait."""
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " INSERT INTO runs (id, status, phase, seq, updated_at, fence, takeovers, input_tokens, output_tokens,"
        " created_at, plan_hash, target, tenant, lane, priority)"
        " SELECT ? || i, 'running', 'runnable', 1, i, 0, 0, 0, 0, ? + i, 'p', 'workflow', ?, ?, i % 7 FROM n",
        (runs, f"run_{tenant}_", first, tenant, lane_name("default", tenant, ["agent:a", "provider:p"])),
    )


def claim(connection: sqlite3.Connection, limit: int) -> list[str]:
    given = claim_waiting(connection, OWNER, lease_seconds=60, limit=limit, in_turn=True, queues=None)
    return [one.run_id for one in given]


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, Path("memory"))
        yield connection


def seconds_of_a_claim(connection: sqlite3.Connection) -> float:
    taken = []
    for _ in range(30):
        began = time.perf_counter()
        claims = claim_waiting(connection, OWNER, lease_seconds=60, limit=4, in_turn=True, queues=None)
        taken.append(time.perf_counter() - began)
        assert len(claims) == 4
        for one in claims:
            release(connection, one.run_id, owner=OWNER, fence=one.fence)
    return median(taken)


def test_a_claim_costs_the_same_with_a_hundred_thousand_waiting_runs_as_with_a_hundred(
    database: sqlite3.Connection,
) -> None:
    fill(database, 100, tenant="north")
    few = seconds_of_a_claim(database)
    fill(database, 99_900, tenant="south", first=1000)
    many = seconds_of_a_claim(database)
    print(f"claim of 4: {few * 1e6:.0f} us with 100 waiting, {many * 1e6:.0f} us with 100,000")
    # Two tenants instead of one, and a tree of four levels instead of two.
    assert many < few * 5


def test_a_backlog_of_ten_thousand_delays_another_tenant_by_one_turn(database: sqlite3.Connection) -> None:
    fill(database, 10_000, tenant="north")
    assert len(claim(database, 8)) == 8
    fill(database, 1, tenant="south", first=1e9)
    assert claim(database, 1) == ["run_south_1"]


def test_a_hundred_tenants_get_a_hundred_places(database: sqlite3.Connection) -> None:
    fill(database, 5_000, tenant="north")
    for number in range(99):
        fill(database, 3, tenant=f"t{number}", first=1000 + number)
    first = claim(database, 100)
    assert len({run.rpartition("_")[0] for run in first}) == 100


def test_counting_what_waits_stops_at_its_bound(database: sqlite3.Connection) -> None:
    fill(database, 5_000, tenant="north")
    assert waiting(database, queue=None, tenant="north", at_most=10) == 10
    assert waiting(database, queue="default", tenant=None, at_most=9_999) == 5_000


def test_no_query_of_a_claim_walks_through_the_table(database: sqlite3.Connection) -> None:
    names = {"now": 1, "dead": "[]", "owner": "o", "in_turn": True, "lanes": "[]", "limit": 4}
    for query in (claims._AT_WORK, claims._LANES, claims._HEADS, claims._LOST):
        steps = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}", names).fetchall()]
        walks = [one for one in steps if one.startswith("SCAN runs") and "INDEX runs_leased" not in one]
        assert walks == [], steps
        assert not any("TEMP B-TREE FOR ORDER BY" in one for one in steps), steps
