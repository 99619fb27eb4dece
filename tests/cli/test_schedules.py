import json

import pytest

from tests.cli.shell import Shell

SPEC = """\
version: v1
agent: {name: echo, model: {provider: dummy, name: dummy}}
workflow:
  type: sequential
  name: report
  steps: [{id: answer, kind: agent, ref: echo}]
"""


@pytest.fixture
def kneo(kneo: Shell) -> Shell:
    kneo.write("spec.yaml", SPEC)
    return kneo


def create(kneo: Shell, *more: str) -> dict[str, object]:
    told = kneo("schedules", "create", "tea", "spec.yaml", "--input", "tea", *more, "--json")
    assert told.exit_code == 0, told
    shown: dict[str, object] = told.json
    return shown


def test_a_schedule_lives_its_whole_life_in_the_terminal(kneo: Shell) -> None:
    made = create(kneo, "--cron", "30 7 * * MON-FRI", "--timezone", "Europe/Berlin", "--tag", "x")
    assert made["spec_path"] == str(kneo.folder / "spec.yaml")
    assert (made["tags"], made["overlap"], made["catch_up"]) == (["x"], "skip", "one")
    listed = kneo("schedules", "list").stdout
    assert "30 7 * * MON-FRI" in listed
    assert "Europe/Berlin" in listed
    assert len(kneo("schedules", "next", "tea", "-n", "3").stdout.splitlines()) == 3
    assert kneo("schedules", "next", "tea", "-n", "3", "--json").json["next_moments"][0] == made["next_due_at"]
    assert kneo("schedules", "pause", "tea", "--json").json["paused"] is True
    assert "paused" in kneo("schedules", "show", "tea").stdout
    ran = kneo("schedules", "trigger", "tea", "--json")
    assert (ran.exit_code, ran.json["output_text"]) == (0, "Final answer: tea")
    assert kneo("schedules", "show", "tea", "--json").json["last_run_id"] == ran.json["run_id"]
    assert "due next at" in kneo("schedules", "resume", "tea").stderr
    assert kneo("schedules", "delete", "tea").exit_code == 0
    assert kneo("schedules", "list", "--json").json == {"schedules": [], "count": 0}


def test_a_schedule_may_be_for_one_moment(kneo: Shell) -> None:
    made = create(kneo, "--at", "2999-01-01T09:00:00+01:00")
    assert made["next_moments"] == [made["at"]] == ["2999-01-01T08:00:00+00:00"]


def test_the_documents_of_a_project_are_scheduled_with_its_defaults(kneo: Shell) -> None:
    kneo.write(".kneo/config.yaml", "project: {name: kitchen}\n")
    made = create(kneo, "--cron", "@daily")
    assert made["inline_spec"] is True
    assert json.dumps(made["spec"]).count("kitchen") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "exactly one"),
        (["--cron", "@daily", "--at", "2999-01-01"], "exactly one"),
        (["--at", "soon"], "ISO 8601"),
        (["--cron", "@daily", "--timeout", "0"], "above 0"),
    ],
)
def test_usage_errors_name_the_option(kneo: Shell, words: list[str], said: str) -> None:
    assert said in kneo.usage_error(["schedules", "create", "tea", "spec.yaml", *words])


def test_what_cannot_be_kept_is_refused(kneo: Shell) -> None:
    wrong = kneo("schedules", "create", "tea", "spec.yaml", "--cron", "* *", "--json")
    assert (wrong.exit_code, wrong.json["error"]["code"]) == (1, "invalid_request")
    create(kneo, "--cron", "@daily")
    again = kneo("schedules", "create", "tea", "spec.yaml", "--cron", "@daily", "--json")
    assert (again.exit_code, again.json["error"]["code"]) == (1, "schedule_exists")


@pytest.mark.parametrize("command", ["show", "next", "pause", "resume", "trigger", "delete"])
def test_an_unknown_schedule_is_named_and_leaves_no_state_behind(kneo: Shell, command: str) -> None:
    told = kneo("schedules", command, "tea", "--json")
    assert (told.exit_code, told.json["error"]["code"]) == (1, "not_found")
    assert not (kneo.folder / ".kneo").exists()
