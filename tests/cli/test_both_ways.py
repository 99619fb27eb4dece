"""The same command says the same, whether the platform is in this process or behind a service."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cli.conftest import prepare
from tests.cli.served import service_in
from tests.cli.shell import Answer, Shell
from tests.service.doors import FAILING, HUMAN, STEPS

UNKNOWN: dict[str, Any] = copy.deepcopy(STEPS)
UNKNOWN["agent"]["tools"] = ["nope"]
LOOSE: dict[str, Any] = copy.deepcopy(STEPS)
LOOSE["agent"]["tools"] = ["web_search"]
LAYER = {"agent": {"name": "other"}}
SPECS = {"steps": STEPS, "human": HUMAN, "failing": FAILING, "unknown": UNKNOWN, "loose": LOOSE, "layer": LAYER}

_VARIES = [
    (r"(run|cont|req|evt|aud|chk)_[0-9A-Za-z_:.-]{20,}", r"<\1>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?", "<time>"),
    (r"\b\d{10}\.\d+", "<seconds>"),
    (r'"(duration_ms|cost_usd)": [\d.]+', r'"\1": 0'),
    (r'"span_[0-9a-f]+"|"[0-9a-f]{16,32}"', '"<span>"'),
    (r"http://127.0.0.1:\d+", "<here>"),
]


@dataclass(frozen=True)
class Way:
    """One of the two ways, with runs of its own that have come as far."""

    kneo: Callable[..., Answer]
    facts: dict[str, str]

    def __call__(self, command: str, *more: str) -> Answer:
        facts = self.facts | (paused(self.kneo, "fresh") if "{fresh" in command else {})
        return self.kneo(*(word.format_map(facts) for word in command.split()), *more)


def paused(kneo: Callable[..., Answer], name: str) -> dict[str, str]:
    """The ids of a run that waits for a person, and of what it asks."""
    answer = kneo("run", "human.json", "--input", "hello", "--json").json
    request = answer["metadata"]["pending_human_request"]["request_id"]
    return {name: answer["run_id"], f"{name}_task": answer["continuation_id"], f"{name}_request": request}


def lived(kneo: Callable[..., Answer]) -> Way:
    """Has runs come to a completed, a failed, a paused and a cancelled state."""
    facts = paused(kneo, "paused") | paused(kneo, "cancelled")
    for name, spec in (("done", "steps"), ("failed", "failing")):
        facts[name] = kneo("run", f"{spec}.json", "--input", "hello", "--json").json["run_id"]
    assert kneo("runs", "cancel", facts["cancelled"]).exit_code == 0
    return Way(kneo, facts)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Way, Way]]:
    """This process, and a service. Commands that change something get a `{fresh}` run each."""
    folder = tmp_path_factory.mktemp("both")
    kneo = Shell(folder)
    for name, spec in SPECS.items():
        kneo.write(f"{name}.json", json.dumps(spec))
    kneo.write("text.txt", "from a file")

    def here(*words: str) -> Answer:
        return kneo(*words, "--local")

    with pytest.MonkeyPatch.context() as patch, service_in(folder / "elsewhere") as url:
        prepare(patch, folder)

        def there(*words: str) -> Answer:
            return kneo(*words, "--service-url", url)

        yield lived(here), lived(there)


def plain(text: str) -> list[str]:
    """The lines without what is different each time; columns may have other widths."""
    for pattern, name in _VARIES:
        text = re.sub(pattern, name, text)
    return [re.sub(r" {2,}", "  ", line) for line in text.splitlines()]


@pytest.mark.parametrize(
    "command",
    [
        "run steps.json --input hello",
        "run steps.json --input hello --target agent",
        "run steps.json --input-file text.txt --overlay layer.json",
        "run human.json --input hello",
        "run failing.json --input hello",
        "run unknown.json --input hello",
        "run missing.json --input hello",
        "run steps.json --input hello --session s-1 --tag a --timeout 60",
        "runs get {done}",
        "runs get {failed}",
        "runs get {paused}",
        "runs get {cancelled}",
        "runs trace {paused}",
        "runs checkpoints {done}",
        "runs checkpoint-diff {done}",
        "runs checkpoint-diff {done} --from-sequence 1 --to-sequence 9",
        "runs replay {failed}",
        "runs list --status failed --status paused",
        "runs list --workflow two-steps --limit 1",
        "runs list --query HELLO --agent echo",
        "runs cancel {done}",
        "runs cancel {fresh}",
        "runs continue {failed}",
        "runs continue {done}",
        "runs continue {fresh}",
        "runs fork {done}",
        "runs fork {done} --at 1 --input other",
        "runs fork {done} --at 1 --input other --yes",
        "runs fork {done} --at 99",
        "runs fork {paused}",
        "runs fork {paused} --approve",
        "runs fork {paused} --edit other --request-id {paused_request} --yes",
        "runs fork {paused} --approve --request-id req_other",
        "runs fork {paused} --select one",
        "runs fork {done} --approve --yes",
        "runs fork {done} --at 1 --provider dummy --model other --yes",
        "runs fork {done} --provider nobody --model other --yes",
        "runs fork {done} --preview",
        "runs fork {done} --preview --at 1",
        "runs fork {done} --preview --at 99",
        "runs fork run_nope --preview",
        "runs fork run_nope",
        "runs retry {failed}",
        "runs retry {failed} --input other --yes",
        "runs retry {done}",
        "runs retry {fresh}",
        "doctor --journal",
        "doctor --journal --limit 2",
        "human list",
        "human get {paused_task}",
        "human resume {fresh_task} --request-id {fresh_request} --approve",
        "human resume {fresh_task} --request-id {fresh_request} --approve --comment fine",
        "human resume {fresh_task} --request-id {fresh_request} --edit other",
        "human resume {paused_task} --request-id req_other --approve",
        "human resume {fresh_task} --request-id {fresh_request} --select one",
        "human resume {cancelled_task} --request-id {cancelled_request} --approve",
        "spec validate steps.json",
        "spec validate unknown.json",
        "spec lint unknown.json",
        "spec compile steps.json",
        "spec compile human.json --overlay layer.json",
        "spec compile unknown.json",
        "spec compile loose.json",
        "spec lint loose.json",
        "spec explain human.json",
        "spec explain unknown.json",
        "spec graph human.json",
        "spec graph human.json --format mermaid",
        "spec graph layer.json",
        "spec policy-report human.json",
        "spec policy-report unknown.json",
    ],
)
def test_the_words_are_the_same(ways: tuple[Way, Way], command: str) -> None:
    here, there = (way(command) for way in ways)
    assert there.exit_code == here.exit_code
    assert plain(there.stdout) == plain(here.stdout)
    # Where to look for what is missing differs.
    told = [[line for line in plain(answer.stderr) if "`kneo runs list`" not in line] for answer in (here, there)]
    assert told[1] == told[0]


def same(there: Any, here: Any) -> None:
    """A service may say more, never less and nothing else."""
    if isinstance(here, dict):
        assert isinstance(there, dict)
        for key, value in here.items():
            assert key in there
            same(there[key], value)
    elif isinstance(here, list):
        assert isinstance(there, list)
        assert len(there) == len(here)
        for one, other in zip(there, here, strict=True):
            same(one, other)
    else:
        assert there == here


@pytest.mark.parametrize(
    "command",
    [
        "run steps.json --input hello",
        "run human.json --input hello",
        "run failing.json --input hello",
        "run unknown.json --input hello",
        "runs get {failed}",
        "runs get {paused}",
        "runs get run_nope",
        "runs trace {done}",
        "runs checkpoints {paused}",
        "runs checkpoint-diff {done}",
        "runs replay {done}",
        "runs cancel {fresh}",
        "runs continue {done}",
        "runs fork {done} --at 1 --input other",
        "runs fork {done} --at 1 --input other --yes",
        "runs fork {paused} --approve --request-id req_other",
        "runs fork {done} --preview --at 1",
        "runs fork {done} --at 99",
        "runs retry {failed} --yes",
        "runs retry {done}",
        "doctor --journal",
        "human list",
        "human get {paused_task}",
        "human get cont_nope",
        "human resume {fresh_task} --request-id {fresh_request} --reject",
        "human resume {fresh_task} --request-id {fresh_request} --select one",
        "human resume {paused_task} --request-id req_other --approve",
        "spec validate unknown.json",
        "spec lint steps.json",
        "spec compile loose.json",
        "spec compile unknown.json",
        "spec explain steps.json",
        "spec graph human.json",
        "spec policy-report human.json",
    ],
)
def test_the_json_is_the_same(ways: tuple[Way, Way], command: str) -> None:
    here, there = (way(command, "--json") for way in ways)
    assert (there.exit_code, there.stderr) == (here.exit_code, "")
    same(*(json.loads("\n".join(plain(answer.stdout))) for answer in (there, here)))
