"""A platform in a folder whose models follow a script: a test of a spec in three lines."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kneo_serv.model.run import RunResult
from kneo_serv.platform import PlatformManager, PlatformOptions
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.scripted.provider import ScriptedProvider, Sleep, no_waiting, scripted_registry
from kneo_serv.testing.scripted.script import ScriptSource
from kneo_serv.tools import ToolRegistry, register_example_tools


class ScriptedPlatform:
    """Runs specs with the real engine and store, and a script in the place of every model.

    ```python
    with ScriptedPlatform(tmp_path, [call("web_search", {"query": "tea"}), say("Tea is a drink.")]) as platform:
        result = platform.run("examples/research_agent.yaml", "What is tea?")
    assert result.output_text == "Tea is a drink."
    ```

    On leaving, a question that the script had no answer to is an AssertionError.

    Args:
        folder: Where the state is kept; a temporary one.
        script: What the models say, or a `ScriptedProvider` to look at afterwards.
        tools: What agents may name; by default the example tools.
        replace_models: False leaves the models of a spec as they are, but for those of the provider `scripted`.
        sleep: How delays of the script are waited for; by default they cost no time.
        options: Numbers and switches of the platform.
        manager: Further arguments of `PlatformManager`, such as `run_middlewares`.
    """

    def __init__(
        self,
        folder: str | Path,
        script: ScriptSource | ScriptedProvider,
        *,
        tools: ToolRegistry | None = None,
        replace_models: bool = True,
        sleep: Sleep = no_waiting,
        options: PlatformOptions | None = None,
        **manager: Any,
    ) -> None:
        self.provider = script if isinstance(script, ScriptedProvider) else ScriptedProvider(script, sleep=sleep)
        if tools is None:
            tools = ToolRegistry()
            register_example_tools(tools)
        self.tools = tools
        registry = scripted_registry(self.provider, replace_models=replace_models)
        self.manager = PlatformManager(
            compiler=SpecCompiler(runtime_registry=registry, tool_registry=tools),
            run_state_store=SQLiteStore(Path(folder) / "runs.sqlite"),
            options=options or PlatformOptions(patience_seconds=None),
            **manager,
        )

    def run(
        self, spec: str | Path | Mapping[str, Any], input_text: str, *, target: str | None = None, **more: Any
    ) -> RunResult:
        """Runs a spec (a file, or plain data) until it ends or rests; as `PlatformManager.run_from_spec`.

        Without a `target`, the workflow is run where the spec has one, and else the agent.
        """
        where: dict[str, Any] = {"spec": spec} if isinstance(spec, Mapping) else {"spec_path": spec}
        if target is None:
            package = self.manager.compiler.compile(spec, strict=False)
            target = "agent" if package.root_workflow is None else "workflow"
        return self.manager.run_from_spec(input_text=input_text, target=target, **where, **more)

    def trace(self, run_id: str) -> list[dict[str, Any]]:
        """What happened in a run, as `kneo runs trace` shows it."""
        return self.manager.get_trace(run_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.manager.shutdown()
        if value is None:
            self.provider.check()
