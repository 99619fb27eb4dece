import json
import stat

from tests.cli.shell import Shell

SPEC = "version: v1\nagent: {name: echo, model: {provider: dummy, name: dummy}}\n"


def ran(kneo: Shell) -> str:
    kneo.write("spec.yaml", SPEC)
    run_id = kneo("run", "spec.yaml", "--input", "mail a@example.com", "--target", "agent", "--json").json["run_id"]
    assert isinstance(run_id, str)
    return run_id


def test_a_run_is_exported_to_a_file_for_its_owner_and_then_deleted(kneo: Shell) -> None:
    run_id = ran(kneo)
    told = kneo("runs", "export", run_id, "--output", "run.jsonl", "--private")
    assert told.exit_code == 0
    file = kneo.folder / "run.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert (lines[0]["input_text"], lines[-1]["type"]) == ("mail a@example.com", "end")
    shown = kneo("runs", "export", run_id).stdout
    assert "a@example.com" not in shown
    assert json.loads(shown.splitlines()[-1])["type"] == "end"
    assert kneo("runs", "delete", run_id, "--json").json == {"run_id": run_id, "deleted": True}
    assert kneo("runs", "get", run_id).exit_code == 1
    assert kneo("audit", "list", "--run", run_id, "--type", "run.deleted", "--json").json["total"] == 1


def test_an_unknown_run_makes_no_file_and_no_state(kneo: Shell) -> None:
    for words in (("export", "run_x", "--output", "a"), ("delete", "run_x")):
        assert kneo("runs", *words).exit_code == 1
    assert not (kneo.folder / "a").exists()
    assert not (kneo.folder / ".kneo").exists()
    ran(kneo)
    assert kneo("runs", "export", "run_x", "--output", "a").exit_code == 1
    assert not (kneo.folder / "a").exists()
