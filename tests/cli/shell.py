import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from kneo_serv.cli.main import app


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Shell:
    """Calls `kneo` in this process, in a project folder of its own."""

    folder: Path

    def __call__(self, *words: str, stdin: str | None = None) -> Answer:
        result = CliRunner().invoke(app, list(words), input=stdin, prog_name="kneo")
        return Answer(result.exit_code, result.stdout, result.stderr)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def usage_error(self, words: Sequence[str]) -> str:
        """The message of a command line that is refused, the same in both forms."""
        told = self(*words)
        shown = self(*words, "--json")
        assert (told.exit_code, told.stdout) == (2, "")
        assert (shown.exit_code, shown.stderr) == (2, "")
        assert shown.json["error"]["code"] == "usage"
        message = shown.json["error"]["message"]
        assert isinstance(message, str)
        assert message in told.stderr
        return message
