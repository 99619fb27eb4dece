"""What a person sees on a real terminal while a run is at work, and what stands there when it is done."""

from pathlib import Path

import pytest

from kneo_serv.testing.scripted_openai import ScriptedOpenAI, broken, text
from tests.cli.screen import Terminal, terminal

FACTORY = '''\
import asyncio
from pathlib import Path

from kneo_serv.model.message import Turn
from kneo_serv.platform import PlatformManager
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.service.factory import create_persistence_stores
from kneo_serv.spec import SpecCompiler
from kneo_serv.tools import ToolRegistry


class Teller:
    """Says the lines of a file one by one, each when the file `go` has grown so long."""

    def __init__(self, name):
        self.lines = Path(f"{name}.txt").read_text().splitlines(keepends=True)

    async def turn(self, request):
        for number, line in enumerate(self.lines):
            while not Path("go").exists() or len(Path("go").read_text()) < number:
                await asyncio.sleep(0.01)
            if request.on_text is not None:
                request.on_text(line)
        return Turn("".join(self.lines))

    async def aclose(self):
        pass


def build_platform():
    runtimes = RuntimeRegistry()
    runtimes.register("bridge", lambda *, model, preferences: Teller(model.name))
    runs, continuations = create_persistence_stores()
    return PlatformManager(
        compiler=SpecCompiler(runtime_registry=runtimes, tool_registry=ToolRegistry()),
        run_state_store=runs,
        continuation_store=continuations,
    )
'''
ONE = """\
version: v1
agent: {name: tea, model: {provider: teller, name: tea}}
workflow:
  type: sequential
  steps:
    - {id: describe, kind: agent, ref: tea}
components:
  agents:
    tea: {name: tea, model: {provider: teller, name: tea}}
"""
TWO = """\
version: v1
agent: {name: nobody}
workflow:
  type: concurrent
  participants:
    - {id: left, kind: agent, ref: tea}
    - {id: right, kind: agent, ref: coffee}
components:
  agents:
    tea: {name: tea, model: {provider: teller, name: tea}}
    coffee: {name: coffee, model: {provider: teller, name: coffee}}
"""
LINES = ["Tea is a drink\n", "made of leaves.\n", "Many people like it.\n"]
RUN = ("run", "spec.yaml", "--input", "hello", "--factory", "teller:build_platform")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "teller.py").write_text(FACTORY)
    (tmp_path / "spec.yaml").write_text(ONE)
    (tmp_path / "tea.txt").write_text("".join(LINES))
    (tmp_path / "coffee.txt").write_text("Coffee is black\nand hot.\n")
    return tmp_path


def go(folder: Path, far: int) -> None:
    """Lets models say so many lines more than the first one."""
    (folder / "go").write_text("x" * far)


def seen(terminal: Terminal, *texts: str) -> str:
    return terminal.until(lambda screen: all(text in screen for text in texts))


def test_one_sees_the_text_while_it_is_said_and_the_answer_once_when_it_is_done(folder: Path) -> None:
    with terminal(folder, *RUN) as shown:
        go(folder, 0)
        first = seen(shown, "describe: asking the model", "Tea is a drink")
        assert "leaves" not in first
        go(folder, 1)
        second = seen(shown, "  Tea is a drink", "  made of leaves.")
        assert "Run run_" not in second
        go(folder, 2)
        assert shown.end() == 0
    head, *answer, tail = shown.screen.text.split("\n")
    assert head == "✓ describe"
    assert answer == ["Tea is a drink", "made of leaves.", "Many people like it.", ""]
    assert tail.startswith("✓ Run run_")
    assert tail.endswith(" completed.")


def test_a_long_text_keeps_to_its_last_lines_and_the_screen_does_not_jump(folder: Path) -> None:
    (folder / "tea.txt").write_text("".join(f"line {number} of the text\n" for number in range(50)) + "end\n")
    with terminal(folder, *RUN, rows=12) as shown:
        go(folder, 49)
        screen = seen(shown, "line 48 of")
        assert "line 1 of" not in screen
        assert len(screen.split("\n")) < 12
        go(folder, 50)
        assert shown.end() == 0
    assert shown.screen.text.count("line 48 of the text") == 1
    assert shown.screen.text.split("\n")[:2] == ["✓ describe", "line 0 of the text"]


def test_steps_that_speak_at_once_stand_each_under_its_own_name(folder: Path) -> None:
    (folder / "spec.yaml").write_text(TWO)
    with terminal(folder, *RUN) as shown:
        go(folder, 0)
        screen = seen(shown, "Tea is a drink", "Coffee is black")
        lines = [line.strip(" ⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏") for line in screen.split("\n")]
        assert lines.index("left: asking the model") + 1 == lines.index("Tea is a drink")
        assert lines.index("right: asking the model") + 1 == lines.index("Coffee is black")
        go(folder, 9)
        assert shown.end() == 0
    assert "asking the model" not in shown.screen.text


def test_an_answer_that_goes_into_a_file_leaves_nothing_of_it_on_the_terminal(folder: Path) -> None:
    go(folder, 0)
    with terminal(folder, *RUN, piped=True) as shown:
        seen(shown, "Tea is a drink")
        go(folder, 9)
        assert shown.end() == 0
    assert "Tea" not in shown.screen.text
    assert (folder / "out").read_text() == "".join(LINES) + "\n"


@pytest.mark.parametrize("switch", ["--no-stream", "--quiet", "--json"])
def test_who_does_not_want_to_see_it_does_not(folder: Path, switch: str) -> None:
    go(folder, 9)
    with terminal(folder, *RUN, switch, piped=True) as shown:
        assert shown.end() == 0
    assert not any("Tea" in screen for screen in shown.history)
    assert ("describe" in shown.screen.text) is (switch == "--no-stream")


def test_a_terminal_that_can_do_nothing_gets_plain_lines(folder: Path) -> None:
    go(folder, 9)
    with terminal(folder, *RUN, piped=True, term="dumb") as shown:
        assert shown.end() == 0
    head, tail = shown.screen.text.split("\n")
    assert head == "✓ describe"
    assert tail.startswith("✓ Run run_")


def test_text_cannot_steer_the_terminal(folder: Path) -> None:
    (folder / "tea.txt").write_bytes(b"red \x1b[2J\x1b[31malert\nend\n")
    with terminal(folder, *RUN) as shown:
        go(folder, 0)
        seen(shown, r"red \x1b[2J\x1b[31malert")
        go(folder, 9)
        assert shown.end() == 0


def test_an_answer_that_breaks_off_gives_way_to_the_one_that_comes_instead(folder: Path) -> None:
    (folder / "spec.yaml").write_text(ONE.replace("provider: teller, name: tea", "provider: openai, name: gpt-4o-mini"))
    with ScriptedOpenAI([broken("Coffee is what you want.", after=5), text("Tea is a drink.")]) as model:
        variables = {"OPENAI_API_KEY": "sk-test-of-terminals", "OPENAI_BASE_URL": model.base_url}
        with terminal(folder, *RUN[:4], variables=variables) as shown:
            seen(shown, "Coffee is")
            assert shown.end() == 0
        assert [request.get("stream") for request in model.requests] == [True, True]
    head, answer, tail = shown.screen.text.split("\n")
    assert (head, answer) == ("✓ describe", "Tea is a drink.")
    assert tail.endswith("completed.")


def test_where_nobody_watches_no_stream_is_asked_for(folder: Path) -> None:
    (folder / "spec.yaml").write_text(ONE.replace("provider: teller, name: tea", "provider: openai, name: gpt-4o-mini"))
    with ScriptedOpenAI([text("Tea is a drink.")]) as model:
        variables = {"OPENAI_API_KEY": "sk-test-of-terminals", "OPENAI_BASE_URL": model.base_url}
        with terminal(folder, *RUN[:4], "--no-stream", variables=variables) as shown:
            assert shown.end() == 0
        assert not model.requests[0].get("stream")
    assert "Tea is a drink." in shown.screen.text
