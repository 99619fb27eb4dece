"""Two processes share one state file: what one of them executes, the other can list, cancel and answer."""

from tests.acceptance.shell import Shell, until

FUNCTIONS = '''
"""Functions that wait for a file instead of for time."""

import time
from pathlib import Path


def slow(text: str) -> str:
    Path(f"started-{text}").touch()
    while not Path(f"gate-{text}").exists():
        time.sleep(0.01)
    return text


def after(text: str) -> str:
    Path(f"after-{text}").touch()
    return f"after {text}"
'''
AGENT = "version: v1\nagent: {name: idle, model: {provider: dummy, name: dummy}}\n"
COMPONENTS = """
components:
  functions:
    slow: {implementation: examples.gated.slow}
    after: {implementation: examples.gated.after}
  humans:
    person: {description: Go on?}
"""
SLOW = f"""{AGENT}
workflow:
  type: sequential
  name: slow
  steps:
    - {{id: slow, kind: function, ref: slow}}
    - {{id: after, kind: function, ref: after}}
{COMPONENTS}"""
ASKED = f"""{AGENT}
workflow:
  type: sequential
  name: asked
  steps:
    - {{id: ask, kind: human, ref: person}}
    - {{id: slow, kind: function, ref: slow}}
    - {{id: after, kind: function, ref: after}}
{COMPONENTS}"""


def prepare(shell: Shell) -> None:
    shell.write("examples/gated.py", FUNCTIONS)
    shell.write("slow.yaml", SLOW)
    shell.write("asked.yaml", ASKED)


def exists(shell: Shell, name: str) -> bool:
    return (shell.folder / name).exists()


def test_a_run_is_cancelled_from_another_process_and_nothing_begins_after_it(shell: Shell) -> None:
    prepare(shell)
    with shell.start_kneo("run", "slow.yaml", "--input", "a", "--json") as process:
        until(lambda: exists(shell, "started-a"), process)
        (run,) = shell.kneo("runs", "list", "--status", "running", "--json").json["runs"]
        assert shell.kneo("runs", "cancel", run["run_id"], "--json").json["status"] == "cancelled"
        (shell.folder / "gate-a").touch()
        answer = shell.end(process, code=4).json
    assert (answer["run_id"], answer["status"]) == (run["run_id"], "cancelled")
    assert not exists(shell, "after-a")
    assert shell.kneo("runs", "get", run["run_id"], "--json").json["status"] == "cancelled"
    assert shell.kneo("runs", "cancel", run["run_id"], "--json").json["status"] == "cancelled"


def test_a_person_answers_one_run_while_another_process_executes_a_second_one(shell: Shell) -> None:
    prepare(shell)
    task = shell.pause("asked.yaml", "b")
    (shell.folder / "gate-b").touch()
    with shell.start_kneo("run", "slow.yaml", "--input", "a", "--json") as process:
        until(lambda: exists(shell, "started-a"), process)
        assert shell.resume(task, "--approve").json["output_text"] == "after b"
        assert process.poll() is None
        (shell.folder / "gate-a").touch()
        assert shell.end(process).json["output_text"] == "after a"


def test_while_one_process_resumes_a_run_another_cannot_answer_the_same_question(shell: Shell) -> None:
    prepare(shell)
    task = shell.pause("asked.yaml", "c")
    words = ("human", "resume", task.continuation_id, "--request-id", task.request_id)
    with shell.start_kneo(*words, "--approve", "--json") as process:
        until(lambda: exists(shell, "started-c"), process)
        assert shell.resume(task, "--reject", code=1).error["code"] in {"resource_locked", "not_found"}
        (shell.folder / "gate-c").touch()
        assert shell.end(process).json["output_text"] == "after c"


def test_a_resumed_run_is_cancelled_from_another_process(shell: Shell) -> None:
    prepare(shell)
    task = shell.pause("asked.yaml", "d")
    words = ("human", "resume", task.continuation_id, "--request-id", task.request_id)
    with shell.start_kneo(*words, "--approve", "--json") as process:
        until(lambda: exists(shell, "started-d"), process)
        shell.kneo("runs", "cancel", task.run_id, "--json")
        (shell.folder / "gate-d").touch()
        assert shell.end(process, code=4).json["status"] == "cancelled"
    assert not exists(shell, "after-d")


def test_a_waiting_run_that_is_cancelled_asks_nobody_any_more(shell: Shell) -> None:
    prepare(shell)
    task = shell.pause("asked.yaml", "e")
    assert shell.kneo("runs", "cancel", task.run_id, "--json").json["status"] == "cancelled"
    assert shell.kneo("human", "list", "--json").json["tasks"] == []
    assert not (shell.folder / ".kneo" / "continuations" / f"{task.continuation_id}.json").exists()
    assert shell.resume(task, "--approve", code=1).error["code"] == "not_found"
