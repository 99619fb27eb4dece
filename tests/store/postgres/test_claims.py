"""What a claim costs on PostgreSQL does not depend on how many runs wait."""

import psycopg

from kneo_serv.store.lanes import lane_name
from kneo_serv.store.postgres import claims

_FILL = """
    INSERT INTO runs (id, status, phase, seq, updated_at, fence, takeovers, input_tokens, output_tokens, cached_tokens,
        requests, cost_usd, created_at, plan_hash, target, tenant, write_id, priority, lane)
    SELECT 'run_' || i, 'running', 'runnable', 1, i, 0, 0, 0, 0, 0, 0, 0, i, 'p', 'workflow', 'north', 0, i %% 7, %s
    FROM generate_series(1, 20000) AS i
"""


def test_no_query_of_a_claim_walks_through_those_that_wait(postgres_url: str) -> None:
    lane = lane_name("default", "north", [])
    asked = {"owner": "o", "in_turn": True, "lanes": [lane], "limit": 4}
    with psycopg.connect(postgres_url) as connection:
        connection.execute(_FILL, (lane,))
        for analyzed in (False, True):
            if analyzed:
                connection.execute("ANALYZE runs")
            for query in (claims._THERE, claims._HEADS):
                explained = connection.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {query}", asked).fetchall()
                steps = [row[0] for row in explained]
                assert not any("Rows Removed by Filter: 20000" in step for step in steps), "\n".join(steps)
                assert not any("Seq Scan on runs" in step or "runs_runnable" in step for step in steps), "\n".join(
                    steps
                )
