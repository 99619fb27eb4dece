"""The project says which variable holds which key; a spec names secrets and never holds them."""

from dataclasses import replace

from kneo_serv.testing.scripted_openai import ScriptedOpenAI, text
from tests.acceptance.shell import Shell

CONFIG = """\
project: {name: team}
secrets:
  provider_env: {openai: TEAM_OPENAI_KEY}
  extra_env: {partner: PARTNER_KEY}
"""
SPEC = """\
version: v1
agent:
  name: helper
  model: {provider: openai, name: gpt-4o-mini%s}
"""


def test_the_key_of_a_provider_is_where_the_project_says(shell: Shell) -> None:
    shell.write(".kneo/config.yaml", CONFIG)
    shell.write("plain.yaml", SPEC % "")
    shell.write("partner.yaml", SPEC % ", api_key_ref: partner")
    with ScriptedOpenAI([text("one"), text("two")]) as server:
        keys = {"TEAM_OPENAI_KEY": "team-key", "PARTNER_KEY": "partner-key", "OPENAI_BASE_URL": server.base_url}
        reader = replace(shell, variables=keys)
        for spec in ("plain.yaml", "partner.yaml"):
            reader.kneo("run", spec, "--input", "hello", "--target", "agent")
        assert [headers["authorization"] for headers in server.headers] == ["Bearer team-key", "Bearer partner-key"]
