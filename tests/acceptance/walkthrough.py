"""The founding document's own words about the service: its commands and samples are taken from the text as they stand.

`walkthrough.txt` holds sections 6 and 7 of the quickstart and 2 to 9 of the human-in-the-loop walkthrough.
"""

import json
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.acceptance.shell import Answer, Shell

TEXT = (Path(__file__).parent / "walkthrough.txt").read_text(encoding="utf-8")
HEADING = re.compile(r"^([0-9])(?:\.| ·) [^\n]*¶\n", re.MULTILINE)
COMMAND = re.compile(r"(?:curl|kneo|export) ")
UUIDGEN = f"#!/bin/sh\nexec {sys.executable} -c 'import uuid; print(uuid.uuid4())'\n"


def section(number: str, title: str) -> str:
    """The text below a heading."""
    found = re.search(rf"^{number}(?:\.| ·) {re.escape(title)}¶\n", TEXT, re.MULTILINE)
    assert found is not None, title
    rest = TEXT[found.end() :]
    following = HEADING.search(rest)
    return rest[: following.start()] if following else rest


def commands(text: str) -> list[str]:
    """The commands of a text, each with the lines that belong to it."""
    found: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if COMMAND.match(line):
            while line.endswith("\\") or line.count("'") % 2:
                line += "\n" + next(lines)
            found.append(line)
    return found


def sample(text: str) -> Any:
    """The JSON object that a text shows."""
    return json.JSONDecoder().raw_decode(text, text.index('{\n"'))[0]


def variables(*exports: str) -> dict[str, str]:
    """What `export NAME=value` sets."""
    pairs = (line.removeprefix("export ").partition("=") for line in exports)
    return {name: value.strip("'") for name, _, value in pairs}


@dataclass(frozen=True)
class Terminal:
    """The reader's other terminal: what is typed there goes to the service at `url`."""

    shell: Shell
    url: str

    def type(self, command: str, places: Mapping[str, str] | None = None, *, code: int = 0) -> Answer:
        """Runs a command of the text; each `<name>` in it gives way to the value that the reader puts there."""
        typed = command.replace("http://127.0.0.1:8000", self.url)
        for name, value in (places or {}).items():
            typed = typed.replace(f"<{name}>", value)
        assert re.search(r"<[a-z_]+>", typed) is None, typed
        return self.shell.run("bash", "-c", f"set -euo pipefail\n{typed}", code=code)


def terminal(shell: Shell, url: str, more: Mapping[str, str]) -> Terminal:
    """A terminal with `kneo` and `uuidgen` on its path, and these variables."""
    tools = shell.folder / "bin"
    tools.mkdir(exist_ok=True)
    if shutil.which("uuidgen") is None:
        (tools / "uuidgen").write_text(UUIDGEN)
        (tools / "uuidgen").chmod(0o755)
    path = f"{tools}:{Path(sys.executable).parent}:{shell.environment()['PATH']}"
    return Terminal(replace(shell, variables={**shell.variables, "PATH": path, **more}), url)
