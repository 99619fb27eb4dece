"""Projects: found from below, asked for specs, overlays, defaults and policies."""

from pathlib import Path

import pytest

from kneo_serv.errors import InvalidRequestError, SpecParseError
from kneo_serv.spec import discover
from tests.spec.specs import compiler, data

CONFIG = """
project: {name: demo, default_environment: staging, unknown: ok}
unknown_block: {a: 1}
specs:
  default_spec: specs/main.yaml
  overlays:
    prod: [specs/prod.yaml]
    staging: []
runtime_defaults: {preferred_mode: bridge}
model_defaults:
  staging: {provider: dummy, name: small, temperature: 0.2}
policy_defaults: {logging: {level: debug}}
environments:
  prod:
    defaults: {agent: {system_prompt: From the environment.}}
    policy_enforcement: {require_human_review: true}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".kneo").mkdir()
    (tmp_path / ".kneo" / "config.yaml").write_text(CONFIG)
    (tmp_path / "specs" / "deep").mkdir(parents=True)
    (tmp_path / "specs" / "main.yaml").write_text("version: v1\nagent: {name: a}\n")
    return tmp_path


def test_a_project_is_found_from_below(project: Path) -> None:
    context = discover(project / "specs" / "deep", {})
    assert (context.root, context.environment) == (project, "staging")
    assert context.spec_path() == project / "specs" / "main.yaml"
    assert context.spec_path("other.yaml") == project / "other.yaml"
    assert context.overlay_paths() == []


def test_the_environment_is_asked_for_before_it_is_configured(project: Path) -> None:
    assert discover(project, {"KNEO_ENV": "prod"}).environment == "prod"
    assert discover(project, {"KNEO_ENV": "prod"}, environment="dev").environment == "dev"


def test_without_a_project_there_are_no_defaults(tmp_path: Path) -> None:
    context = discover(tmp_path, {"KNEO_PROJECT_CONFIG": ""})
    assert (context.config, context.environment, context.defaults()) == (None, "dev", {})
    with pytest.raises(InvalidRequestError, match="No spec is named"):
        context.spec_path()


def test_a_missing_overlay_is_named(project: Path) -> None:
    with pytest.raises(SpecParseError, match=r"specs/prod\.yaml.*`prod` is not there"):
        discover(project, {}, environment="prod").overlay_paths()
    (project / "specs" / "prod.yaml").write_text("agent: {description: p}\n")
    assert discover(project, {}, environment="prod").overlay_paths() == [project / "specs" / "prod.yaml"]


def test_defaults_fill_a_silent_spec_and_never_overwrite(project: Path) -> None:
    context = discover(project, {})
    silent = compiler().compile(context.spec_path(), defaults=context.defaults())
    assert silent.root_agent.model is not None
    assert (silent.root_agent.model.provider, silent.root_agent.model.temperature) == ("dummy", 0.2)
    assert silent.plan.policies == {"project_defaults": {"logging": {"level": "debug"}}}
    assert silent.spec.metadata == {"project": "demo", "environment": "staging"}
    outspoken = data("version: v1\nagent: {name: a, model: {provider: acme, name: x}}\n")
    plan = compiler().compile_dict(outspoken, defaults=context.defaults()).plan
    assert plan.root_agent.model is not None
    assert (plan.root_agent.model.provider, plan.root_agent.model.temperature) == ("acme", None)


def test_an_agent_that_is_a_workflow_gets_no_defaults(project: Path) -> None:
    text = """
        version: v1
        agent: {name: a, as_agent: w}
        components:
          functions: {f: {implementation: json.dumps}}
          workflows: {w: {type: sequential, steps: [{id: x, kind: function, ref: f}]}}
        """
    assert compiler().validate(data(text), defaults=discover(project, {}).defaults()).diagnostics == []


def test_an_environment_brings_its_own_defaults_and_policy(project: Path) -> None:
    context = discover(project, {}, environment="prod")
    compiled = compiler().compile(context.spec_path(), defaults=context.defaults())
    assert compiled.root_agent.system_prompt == "From the environment."
    policy = context.policy()
    assert policy is not None
    assert policy.require_human_review
    assert discover(project, {}).policy() is None


def test_the_variable_names_the_config(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere.yaml"
    other.write_text("project: {name: x}\n")
    context = discover(tmp_path, {"KNEO_PROJECT_CONFIG": str(other)})
    assert (context.root, context.config_path) == (tmp_path, other)
    with pytest.raises(SpecParseError, match="KNEO_PROJECT_CONFIG names"):
        discover(tmp_path, {"KNEO_PROJECT_CONFIG": "nowhere.yaml"})


def test_a_config_that_cannot_be_used_says_where(tmp_path: Path) -> None:
    path = tmp_path / "kneo_serv.yaml"
    path.write_text("project: {owner: me}\nretention:\n  runs_days: -1\nspecs: {overlays: [1]}\n")
    with pytest.raises(SpecParseError) as caught:
        discover(tmp_path, {})
    text = str(caught.value)
    assert "`project.name` is required and missing" in text
    assert "`retention.runs_days` must not be below 0" in text
    assert "pydantic" not in text
    assert (caught.value.source, caught.value.line) == (str(path), 1)
