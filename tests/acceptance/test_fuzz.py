"""A server process keeps to its own OpenAPI document through many thousand requests; run by `make fuzz`."""

from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.acceptance.server import serving
from tests.acceptance.shell import PATIENCE, Shell
from tests.service.fuzzing import SECRET, fuzzed_server

EXAMPLES = 200
"""Of each operation, beside its edges."""
ROOT = Path(__file__).parents[2]


@pytest.mark.fuzz
def test_no_request_makes_a_server_break_its_own_document(shell: Shell) -> None:
    variables = {
        "KNEO_SERV_API_KEYS": f"fuzz:{SECRET}:admin",
        "KNEO_SERV_PATIENCE_SECONDS": "2",
        # The specs that are run name functions of these tests.
        "PYTHONPATH": str(ROOT),
    }
    with serving(Shell(shell.folder, variables)) as server, httpx.Client(base_url=server.url, timeout=PATIENCE) as look:
        look.headers["Authorization"] = f"Bearer {SECRET}"

        def task_of(continuation_id: str) -> tuple[str, str] | None:
            answer = look.get(f"/v1/human-tasks/{quote(continuation_id, safe='')}")
            if answer.is_success:
                return continuation_id, str(answer.json()["request"]["id"])
            waiting = look.get("/v1/human-tasks", params={"limit": 1}).json()["tasks"]
            return (waiting[0]["id"], waiting[0]["pending_human_request"]["id"]) if waiting else None

        found = fuzzed_server(server.url, task_of=task_of, examples=EXAMPLES)
        assert look.get("/livez").elapsed.total_seconds() < 1
        assert server.stop() == 0
    assert not found.faults, "\n\n".join(found.faults)
    assert {"POST /v1/runs", "GET /v1/runs/{run_id}", "GET /v1/runs/{run_id}/graph"} <= found.answered(200)
    assert not {status for _, status in found.statuses if status >= 500}
    log = "".join(server.log)
    assert "Traceback" not in log
    assert SECRET not in log
