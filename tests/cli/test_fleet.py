import json

from tests.cli.shell import Shell


def test_limits_are_set_from_a_file_and_shown(kneo: Shell) -> None:
    assert kneo("limits", "show", "--json").json == {"limits": {}}
    kneo.write(
        "limits.yaml",
        "tenants:\n  '*': {running: 10, waiting: 100}\nproviders:\n  openai: {requests_per_minute: 600}\n",
    )
    assert kneo("limits", "set", "limits.yaml").exit_code == 0
    shown = kneo("limits", "show").stdout
    assert "tenants" in shown
    assert "600" in shown
    limits = kneo("limits", "show", "--json").json["limits"]
    assert limits["tenants"] == {"*": {"running": 10, "waiting": 100}}
    assert kneo("limits", "set", "-", stdin=json.dumps({})).exit_code == 0
    assert kneo("limits", "show", "--json").json["limits"]["tenants"] == {}


def test_a_limit_of_another_form_is_refused_with_its_place(kneo: Shell) -> None:
    kneo.write("limits.json", '{"agents": {"a": {"waiting": 1}}}')
    refused = kneo("limits", "set", "limits.json")
    assert refused.exit_code == 1
    assert "limits.agents.a must not hold waiting; it takes running" in refused.stderr


def test_a_provider_is_paused_and_resumed(kneo: Shell) -> None:
    assert kneo("providers", "list", "--json").json == {"providers": [], "count": 0}
    assert kneo("providers", "pause", "openai", "--reason", "their status page").exit_code == 0
    listed = kneo("providers", "list").stdout
    assert "held" in listed
    assert "their status page" in listed
    assert kneo("providers", "resume", "openai", "--json").json["standing"] == "open"
    assert kneo("providers", "list", "--json").json["count"] == 0
