"""Keys and tokens at a real server: changed without a restart, and audited when they are refused."""

import json
from dataclasses import replace

from kneo_serv.service.auth.keys import write_digest
from tests.acceptance.server import Server, serving
from tests.acceptance.shell import Shell, until
from tests.service.auth.issuer import RSA, Issuer


def status(server: Server, key: str) -> int:
    return server.get("/v1/audit-events", headers={"Authorization": f"Bearer {key}"}).status_code


def test_keys_change_without_a_restart_and_who_is_refused_is_in_the_audit(shell: Shell) -> None:
    keys = shell.folder / "keys"
    keys.write_text(f"# ours\nalice:{write_digest('first-key')}:viewer\nroot:the-root-key:admin\n")
    keys.chmod(0o600)
    with Issuer() as issuer:
        variables = {"KNEO_SERV_API_KEYS_FILE": str(keys), **issuer.environ()}
        with serving(replace(shell, variables=variables)) as server:
            assert status(server, "first-key") == 200
            assert status(server, "second-key") == 401
            token = issuer.token(RSA, exp=4_000_000_000, iat=1_700_000_000, roles=["eyes"])
            assert status(server, token) == 200
            keys.write_text("alice:second-key:viewer\nroot:the-root-key:admin\n")
            until(lambda: status(server, "second-key") == 200, server.process)
            assert status(server, "first-key") == 401
            keys.write_text("alice:third-key:viewr\n")

            def told_and_unharmed() -> bool:
                assert status(server, "second-key") == 200
                return any("stay in force" in line for line in server.log)

            until(told_and_unharmed, server.process)
            told = server.get("/v1/audit-events?event_type=auth.refused", headers={"X-Kneo-Api-Key": "the-root-key"})
            events = told.json()["events"]
            assert events
            assert {event["metadata"]["client"] for event in events} == {"127.0.0.1"}
            assert server.stop() == 0
    for secret in ("first-key", "second-key", "third-key", "the-root-key", token):
        assert secret not in json.dumps(events)
        assert secret not in "".join(server.log)
