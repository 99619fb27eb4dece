"""What the page about workers says is what there is."""

import inspect
import re
from pathlib import Path

import yaml

from kneo_serv.cli.commands.worker import worker
from kneo_serv.model.limits import limits_from
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.settings import SETTINGS, Settings
from kneo_serv.spec import SpecCompiler
from kneo_serv.tools import ToolRegistry

PAGE = (Path(__file__).parents[2] / "docs" / "workers.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_limits_of_the_page_can_be_set() -> None:
    (shown,) = [block for block in blocks("yaml") if "tenants" in block]
    limits = limits_from(yaml.safe_load(shown))
    assert limits.bound("tenants", "anybody").running == 10
    assert limits.bound("providers", "openai").requests_per_minute == 600


def test_the_dispatch_of_the_page_is_taken_by_specs() -> None:
    (shown,) = [block for block in blocks("yaml") if "dispatch" in block]
    compiler = SpecCompiler(runtime_registry=RuntimeRegistry(), tool_registry=ToolRegistry())
    plan = compiler.compile_dict({"version": "v1", "agent": {"name": "a"}, **yaml.safe_load(shown)}).plan
    assert (plan.dispatch.queue, plan.dispatch.priority) == ("batch", -10)


def test_the_page_names_every_option_of_the_worker() -> None:
    options = {name.replace("_", "-") for name in inspect.signature(worker).parameters}
    assert [name for name in sorted(options) if f"`--{name}`" not in PAGE] == []


def test_the_page_names_the_variables_with_their_defaults() -> None:
    rows = dict(re.findall(r"^\| `(KNEO_SERV_\w+)` \| ([\d.]+) \|", PAGE, re.MULTILINE))
    defaults = {setting.variable: getattr(Settings(), setting.name) for setting in SETTINGS}
    assert len(rows) >= 6
    assert {name: float(value) for name, value in rows.items()} == {name: float(defaults[name]) for name in rows}
    missing = [
        name
        for name in defaults
        if name.startswith(("KNEO_SERV_WORKER_", "KNEO_SERV_PROVIDER_PAUSE_"))
        and name.rpartition("PAUSE")[2] not in PAGE
    ]
    assert missing == []
