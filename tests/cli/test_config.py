import json
import stat

import pytest

from tests.cli.shell import Shell

CONFIG = """\
project:
  name: shop
  default_environment: staging
specs:
  default_spec: specs/main.yaml
  overlays:
    staging: [specs/staging.yaml]
"""


def test_a_new_configuration_can_be_shown_and_resolved(kneo: Shell) -> None:
    assert kneo("config", "init", "--name", 'the "shop": 1').exit_code == 0
    assert stat.S_IMODE((kneo.folder / ".kneo").stat().st_mode) == 0o700
    assert kneo("config", "show", "--json").json["project"]["name"] == 'the "shop": 1'
    facts = kneo("config", "resolve", "--json").json
    assert facts["root_dir"] == str(kneo.folder)
    assert facts["has_config"] is True
    assert facts["environment"] == "dev"
    assert facts["state_path"] == str(kneo.folder / ".kneo" / "kneo_runs.sqlite")


def test_a_configuration_is_not_replaced_unasked(kneo: Shell) -> None:
    kneo("config", "init", "--name", "first")
    refused = kneo("config", "init", "--name", "second")
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert kneo("config", "show", "--json").json["project"]["name"] == "first"
    assert kneo("config", "init", "--name", "second", "--force").exit_code == 0
    assert kneo("config", "show", "--json").json["project"]["name"] == "second"


def test_without_a_configuration_the_current_folder_is_the_project(kneo: Shell) -> None:
    assert kneo("config", "show", "--json").json is None
    assert "config init" in kneo("config", "show").stderr
    facts = kneo("config", "resolve", "--json").json
    assert (facts["root_dir"], facts["has_config"], facts["spec_path"]) == (str(kneo.folder), False, None)


def test_a_configuration_holds_for_the_folders_below(kneo: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    kneo.write("kneo_serv.yaml", CONFIG)
    spec = kneo.write("specs/main.yaml", "version: v1\n")
    overlay = kneo.write("specs/staging.yaml", "version: v1\n")
    monkeypatch.chdir(kneo.folder / "specs")
    facts = kneo("config", "resolve", "--json").json
    assert facts["root_dir"] == str(kneo.folder)
    assert facts["environment"] == "staging"
    assert facts["spec_path"] == str(spec)
    assert facts["overlay_paths"] == [str(overlay)]
    assert kneo("config", "resolve", "--env", "prod", "--json").json["overlay_paths"] == []


def test_the_variable_names_another_configuration(kneo: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    kneo("config", "init", "--name", "nearest")
    kneo.write("elsewhere/kneo_serv.yaml", CONFIG)
    monkeypatch.setenv("KNEO_PROJECT_CONFIG", "elsewhere/kneo_serv.yaml")
    assert kneo("config", "show", "--json").json["project"]["name"] == "shop"
    monkeypatch.setenv("KNEO_PROJECT_CONFIG", "nowhere.yaml")
    error = kneo("config", "show", "--json").json["error"]
    assert "KNEO_PROJECT_CONFIG" in error["message"]
    assert "nowhere.yaml" in error["message"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("projct:\n  name: a\n", "`project` is required and missing"),
        ("project: [a]\n", "`project` cannot be a list"),
        ("project:\n  name: [a\n", "kneo_serv.yaml:"),
    ],
)
def test_a_fault_in_the_configuration_is_told_with_its_place(kneo: Shell, text: str, complaint: str) -> None:
    kneo.write("kneo_serv.yaml", text)
    answer = kneo("config", "resolve", "--json")
    assert answer.exit_code == 1
    assert complaint in answer.json["error"]["message"]


def test_a_missing_overlay_is_an_error_that_names_it(kneo: Shell) -> None:
    kneo.write("kneo_serv.yaml", CONFIG)
    kneo.write("specs/main.yaml", "version: v1\n")
    error = kneo("config", "resolve", "--json").json["error"]
    assert "specs/staging.yaml" in error["message"]


def test_secrets_in_a_configuration_are_not_shown(kneo: Shell) -> None:
    kneo.write("kneo_serv.yaml", "project: {name: a}\nservice: {headers: {api_key: sk-very-secret-1234567890}}\n")
    shown = kneo("config", "show")
    assert json.loads(shown.stdout)["project"] == {"name": "a"}
    assert "sk-very-secret" not in shown.stdout


def test_the_defaults_of_the_project_fill_a_spec(kneo: Shell) -> None:
    kneo.write(
        "kneo_serv.yaml",
        "project: {name: shop}\nspecs: {default_spec: echo.yaml}\n"
        "model_defaults: {dev: {provider: dummy, name: filled}}\n",
    )
    kneo.write("echo.yaml", "version: v1\nagent: {name: echo}\n")
    merged = kneo("spec", "resolve", "--json").json["spec"]
    assert merged["agent"]["model"]["name"] == "filled"
    assert merged["metadata"]["project"] == "shop"
    answer = kneo("run", "--target", "agent", "--input", "hello", "--json")
    assert (answer.exit_code, answer.json["output_text"]) == (0, "Final answer: hello")


def test_the_policy_of_an_environment_refuses_a_spec_everywhere(kneo: Shell) -> None:
    kneo.write(
        "kneo_serv.yaml",
        "project: {name: shop}\nenvironments: {prod: {policy_enforcement: {require_human_review: true}}}\n",
    )
    kneo.write("echo.yaml", "version: v1\nagent: {name: echo, model: {provider: dummy, name: dummy}}\n")
    assert kneo("spec", "validate", "echo.yaml").exit_code == 0
    for words in (["spec", "validate"], ["spec", "compile"], ["run", "--input", "x", "--target", "agent"]):
        refused = kneo(*words, "echo.yaml", "--env", "prod", "--json")
        assert refused.exit_code == 1
        assert "E_ENV_POLICY_HUMAN_REVIEW" in refused.stdout
    assert not (kneo.folder / ".kneo").exists()


def test_the_doctor_looks_whether_the_projects_own_code_can_be_loaded(kneo: Shell) -> None:
    def own_code() -> dict[str, str]:
        checks = kneo("doctor", "--json").json["checks"]
        return next(check for check in checks if check["check"] == "own code")

    assert own_code()["state"] == "ok"
    kneo.write(".kneo/config.yaml", "project: {name: p}\nplatform: {tools: [own_doctor_tools:register]}\n")
    assert own_code()["state"] == "fail"
    assert "platform.tools of " in own_code()["message"]
    kneo.write("own_doctor_tools.py", "def register(registry):\n    raise AssertionError('nothing is called')\n")
    assert own_code() == {"check": "own code", "state": "ok", "message": "own_doctor_tools:register"}
    assert kneo("config", "resolve", "--json").json["tools"] == ["own_doctor_tools:register"]
