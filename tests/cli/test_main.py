import pytest

from kneo_serv import __version__
from kneo_serv.cli.exit_codes import ExitCode
from tests.cli.shell import Shell


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_told(kneo: Shell, flag: str) -> None:
    answer = kneo(flag)
    assert (answer.exit_code, answer.stdout) == (0, f"kneo-serv {__version__}\n")


@pytest.mark.parametrize("words", [[], ["runs"], ["human"], ["spec"], ["config"]])
def test_a_group_without_a_command_shows_its_help_and_is_a_wrong_usage(kneo: Shell, words: list[str]) -> None:
    answer = kneo(*words)
    assert answer.exit_code == 2
    assert "Commands:" in answer.stderr


def test_the_help_names_every_exit_code(kneo: Shell) -> None:
    lines = kneo("--help").stdout.splitlines()
    for code in ExitCode:
        assert any(line.strip().startswith(f"{code.value}  ") for line in lines), code


@pytest.mark.parametrize(("typo", "meant"), [(["runz"], "'runs'"), (["spec", "validat"], "'validate'")])
def test_a_mistyped_command_gets_the_nearest_one_as_a_hint(kneo: Shell, typo: list[str], meant: str) -> None:
    message = kneo.usage_error(typo)
    assert "No such command" in message
    assert f"Did you mean {meant}" in message.replace("'run', ", "")


def test_a_mistyped_option_gets_the_nearest_one_as_a_hint(kneo: Shell) -> None:
    assert "--target" in kneo.usage_error(["run", "a.yaml", "--input", "x", "--targt", "agent"])
