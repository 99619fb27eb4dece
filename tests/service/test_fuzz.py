"""The service keeps to its own OpenAPI document, whatever is asked. `make fuzz` asks more, and longer."""

from pathlib import Path

from kneo_serv.errors import KneoError
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.service import create_app
from tests.service.doors import keys, platform_in
from tests.service.fuzzing import fuzzed_app

EXAMPLES = 10
"""Of each operation, beside its edges; some thousand requests in all."""


def test_no_request_makes_the_service_break_its_own_document(tmp_path: Path) -> None:
    options = PlatformOptions(idle_poll_seconds=0.05, patience_seconds=2.0, shutdown_timeout_seconds=5.0)
    manager = platform_in(tmp_path, options=options)

    def task_of(continuation_id: str) -> tuple[str, str] | None:
        try:
            return continuation_id, str(manager.get_human_task(continuation_id)["id"])
        except KneoError:
            waiting = manager.list_human_tasks(limit=1)
            return (waiting[0]["id"], waiting[0]["pending_human_request"]["id"]) if waiting else None

    try:
        app = create_app(manager=manager, auth_config=keys())
        found = fuzzed_app(app, task_of=task_of, examples=EXAMPLES, seed=1)
    finally:
        manager.shutdown()
    assert not found.faults, "\n\n".join(found.faults)
    # Runs were begun, stood still, and were looked at: not everything was refused at the door.
    assert {"POST /v1/runs", "GET /v1/runs/{run_id}", "GET /v1/runs/{run_id}/graph"} <= found.answered(200)
    assert "POST /v1/runs" in found.answered(202)
    assert {"GET /v1/human-tasks/{continuation_id}", "POST /v1/human-tasks/{continuation_id}/resume"} <= found.answered(
        200
    )
    assert not {status for _, status in found.statuses if status >= 500}
