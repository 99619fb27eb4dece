"""Signed bundles, and platforms that run nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.platform import PlatformManager, PlatformOptions
from kneo_serv.runtime.defaults import default_registry
from kneo_serv.spec import SpecCompiler
from kneo_serv.spec.bundles import SpecBundleError, create_spec_bundle
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.tools import ToolRegistry

KEY = "a key for tests"
SPEC = {
    "version": "v1",
    "agent": {"name": "bot", "model": {"provider": "dummy", "name": "dummy"}},
    "workflow": {"type": "sequential", "steps": [{"id": "answer", "kind": "agent", "ref": "bot"}]},
}


def _manager(folder: Path, *, required: bool) -> PlatformManager:
    return PlatformManager(
        compiler=SpecCompiler(runtime_registry=default_registry(environ={}), tool_registry=ToolRegistry()),
        run_state_store=SQLiteStore(folder / "runs.sqlite"),
        options=PlatformOptions(require_spec_bundles=required, spec_signing_key=KEY),
    )


def _bundle(**changed: Any) -> dict[str, Any]:
    made = create_spec_bundle(SPEC, signing_key=KEY, approved_by="mia", created_at="2026-05-10T12:00:00Z")
    return {**made, **changed}


@pytest.mark.parametrize("required", [False, True])
def test_a_signed_bundle_runs_from_a_file(tmp_path: Path, required: bool) -> None:
    sealed = tmp_path / "approved.json"
    sealed.write_text(json.dumps(_bundle()))
    manager = _manager(tmp_path, required=required)
    assert manager.run_from_spec(input_text="hello", spec_path=sealed).output_text == "Final answer: hello"
    manager.shutdown()


@pytest.mark.parametrize("required", [False, True])
def test_a_bundle_that_was_changed_does_not_run_anywhere(tmp_path: Path, required: bool) -> None:
    changed = _bundle(spec={**_bundle()["spec"], "metadata": {"note": "smuggled in"}})
    manager = _manager(tmp_path, required=required)
    with pytest.raises(SpecBundleError, match="changed after it was signed"):
        manager.run_from_spec(input_text="hello", spec=changed)
    assert manager.count_runs() == 0
    manager.shutdown()


def test_where_bundles_are_required_nothing_else_runs_and_nothing_is_laid_over_them(tmp_path: Path) -> None:
    manager = _manager(tmp_path, required=True)
    with pytest.raises(SpecBundleError, match="Only signed bundles"):
        manager.run_from_spec(input_text="hello", spec=SPEC)
    with pytest.raises(SpecBundleError, match="would change what was approved"):
        manager.run_from_spec(input_text="hello", spec=_bundle(), overrides={"agent": {"system_prompt": "Be rude."}})
    assert manager.count_runs() == 0
    manager.shutdown()
