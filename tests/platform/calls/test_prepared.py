"""Specs that were compiled just now are taken up again, and never when anything about them has changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.model.tool import ToolDefinition
from kneo_serv.platform.calls.prepared import Prepared, PreparedSpecs, Source
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.spec import SpecCompilationError, SpecCompiler
from kneo_serv.tools import ToolRegistry


class HandClock:
    """Moved by hand."""

    seconds = 100.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds


class Bench:
    """Prepared specs over one registry and one clock."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.registry = ToolRegistry()
        compiler = SpecCompiler(runtime_registry=RuntimeRegistry(), tool_registry=self.registry)
        self.specs = PreparedSpecs(lambda: compiler, clock=self.clock)

    def get(self, **given: Any) -> Prepared:
        return self.specs.prepare(Source(**given), signing_key=None, bundles_only=False)

    def knows(self, **given: Any) -> bool:
        return self.specs.is_at_hand(Source(**given), signing_key=None, bundles_only=False)


def _spec(name: str, **more: Any) -> dict[str, Any]:
    return {"version": "v1", "agent": {"name": name, **more}}


def _file(path: Path, spec: dict[str, Any]) -> str:
    path.write_text(json.dumps(spec))
    return str(path)


def test_the_same_spec_is_compiled_once(tmp_path: Path) -> None:
    bench, path = Bench(), _file(tmp_path / "a.yaml", _spec("ann"))
    assert not bench.knows(spec_path=path)
    first = bench.get(spec_path=path)
    assert bench.knows(spec_path=path)
    assert bench.get(spec_path=path) is first
    assert bench.get(spec=_spec("ann")) is bench.get(spec=_spec("ann"))
    assert bench.get(spec=_spec("ann")) is not first


def test_a_changed_file_is_noticed_at_once(tmp_path: Path) -> None:
    bench, path = Bench(), _file(tmp_path / "a.yaml", _spec("ann"))
    bench.get(spec_path=path)
    _file(tmp_path / "a.yaml", _spec("bob"))
    assert bench.get(spec_path=path).package.root_agent.name == "bob"


def test_a_changed_overlay_is_noticed_at_once(tmp_path: Path) -> None:
    bench, path = Bench(), _file(tmp_path / "a.yaml", _spec("ann"))
    overlay = _file(tmp_path / "b.yaml", {"agent": {"name": "bob"}})
    assert bench.get(spec_path=path, overlays=[overlay]).package.root_agent.name == "bob"
    _file(tmp_path / "b.yaml", {"agent": {"name": "cyd"}})
    assert bench.get(spec_path=path, overlays=[overlay]).package.root_agent.name == "cyd"


def test_what_is_laid_over_a_spec_makes_it_another_one() -> None:
    bench = Bench()
    plain = bench.get(spec=_spec("ann"))
    assert bench.get(spec=_spec("ann"), overrides={"agent": {"name": "bob"}}).package.root_agent.name == "bob"
    assert bench.get(spec=_spec("ann"), environment="prod") is not plain


def test_a_new_tool_is_noticed_at_once() -> None:
    bench, spec = Bench(), _spec("ann", tools=["lookup"])
    with pytest.raises(SpecCompilationError):
        bench.get(spec=spec)
    bench.registry.register(ToolDefinition("lookup", "Finds."), lambda arguments: "found")
    first = bench.get(spec=spec)
    bench.registry.register(ToolDefinition("lookup", "Finds more."), lambda arguments: "found")
    again = bench.get(spec=spec)
    assert again is not first
    assert again.package.plan.hash != first.package.plan.hash


def test_a_spec_with_skills_is_compiled_each_time_since_skills_are_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = Bench()
    (tmp_path / "polite.md").write_text("Be polite.")
    spec = {**_spec("ann", skills=["polite"]), "skills": {"polite": {"source": "polite.md"}}}
    first = bench.get(spec=spec)
    (tmp_path / "polite.md").write_text("Be brief.")
    assert bench.get(spec=spec).package.plan.hash != first.package.plan.hash


def test_nothing_is_kept_for_long() -> None:
    bench = Bench()
    first = bench.get(spec=_spec("ann"))
    bench.clock.seconds += 4.9
    assert bench.get(spec=_spec("ann")) is first
    bench.clock.seconds += 0.2
    assert bench.get(spec=_spec("ann")) is not first


def test_not_more_than_a_hundred_or_so_are_kept() -> None:
    bench = Bench()
    for number in range(129):
        bench.get(spec=_spec(f"agent-{number}"))
    assert not bench.knows(spec=_spec("agent-0"))
    assert bench.knows(spec=_spec("agent-128"))
