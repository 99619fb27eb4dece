"""A person at a terminal, in a folder of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds after which something that should have happened will not."""


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    @property
    def error(self) -> dict[str, Any]:
        """The error that a command under `--json` tells on stdout."""
        value = self.json["error"]
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True)
class Shell:
    """Starts real processes in `folder`; nothing of the caller's own settings reaches them."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def kneo(self, *words: str, code: int = 0) -> Answer:
        """Runs the console script, and expects this exit code."""
        return self.run(str(Path(sys.executable).with_name("kneo")), *words, code=code)

    def python(self, *words: str, code: int = 0) -> Answer:
        """Runs Python as the reader of the tutorial does."""
        return self.run(sys.executable, *words, code=code)

    def run(self, *words: str, code: int = 0) -> Answer:
        """Runs a command to its end, and expects this exit code."""
        with self.start(*words) as process:
            return self.end(process, code=code)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Starts a command and leaves it running."""
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def start_kneo(self, *words: str) -> subprocess.Popen[str]:
        """Starts the console script and leaves it running."""
        return self.start(str(Path(sys.executable).with_name("kneo")), *words)

    def end(self, process: subprocess.Popen[str], *, code: int = 0) -> Answer:
        """Waits for a started command, and expects this exit code."""
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert process.returncode == code, f"{process.args!r} left {process.returncode}:\n{out}\n{err}"
        return Answer(process.returncode, out, err)

    def environment(self) -> dict[str, str]:
        """The variables that a process sees."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("KNEO_", "OPENAI_"))}
        return {**own, "HOME": str(self.folder), "PYTHONUNBUFFERED": "1", **self.variables}

    def write(self, path: str, text: str) -> None:
        """Writes a file as an editor does."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text, encoding="utf-8")

    def pause(self, spec: str, text: str) -> "Paused":
        """Runs a workflow up to its question."""
        answer = self.kneo("run", spec, "--input", text, "--target", "workflow", "--json").json
        assert answer["status"] == "paused", answer
        return Paused(answer["run_id"], answer["continuation_id"], pending(answer)["request_id"])

    def resume(self, task: "Paused", *decision: str, code: int = 0) -> Answer:
        """Answers the question."""
        return self.kneo(
            "human", "resume", task.continuation_id, "--request-id", task.request_id, *decision, "--json", code=code
        )

    def trace(self, run_id: str) -> list[dict[str, Any]]:
        """The events of a run, as `kneo runs trace` shows them."""
        events = self.kneo("runs", "trace", run_id, "--json").json["events"]
        assert isinstance(events, list)
        return events


@dataclass(frozen=True)
class Paused:
    """The three ids that a person copies from the answer of a run that waits."""

    run_id: str
    continuation_id: str
    request_id: str


def pending(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The question in the answer of a run that waits."""
    request = answer["metadata"]["pending_human_request"]
    assert isinstance(request, dict)
    return request


def until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Looks again and again until something has happened in the process."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"{process.args!r} did not get there: {process.communicate()}")
        time.sleep(0.01)
