"""What the agents of a plan work with: runtimes, toolboxes and functions, made at first use and then kept."""

from collections.abc import Callable
from typing import Any, Protocol

from kneo_serv.model.plan import AgentPlan, Plan
from kneo_serv.platform.breaker import Providers
from kneo_serv.platform.needs import provider_of
from kneo_serv.runtime import Runtime
from kneo_serv.tools import HandlerPool, Toolbox, ToolRegistry, load_callable
from kneo_serv.tools.mcp import McpOptions, McpServers, McpTools


class Runtimes(Protocol):
    """Who makes the runtime that answers for an agent."""

    def create(self, agent: AgentPlan) -> Runtime:
        """A runtime for this agent. Raises ProviderError when there is none."""
        ...


class Equipment:
    """Runtimes, toolboxes and functions by plan. Belongs to one event loop."""

    def __init__(
        self,
        *,
        tools: ToolRegistry,
        runtimes: Runtimes,
        pool: HandlerPool,
        mcp: McpOptions,
        providers: Providers | None = None,
    ) -> None:
        self._providers = providers
        self._tools = tools
        self._runtimes = runtimes
        self._pool = pool
        self._made: dict[tuple[str, str], Runtime] = {}
        self._functions: dict[str, Callable[..., Any]] = {}
        self._toolboxes: dict[str, Toolbox] = {}
        self._mcp = McpServers(mcp, pool=pool)

    def runtime(self, plan: Plan, agent: str, *, patient: bool = False) -> Runtime:
        """The runtime that answers for an agent of the plan. Raises ProviderError when there is none.

        While its provider is paused, it raises ProviderPausedError; a `patient` one waits instead.
        """
        made = self._made.get((plan.hash, agent))
        if made is None:
            made = self._made[plan.hash, agent] = self._runtimes.create(plan.agents[agent])
        provider = provider_of(plan.agents[agent])
        if self._providers is None or provider is None:
            return made
        return self._providers.gated(made, provider, patient=patient)

    def toolbox(self, plan: Plan) -> Toolbox:
        """The tools that the plan's agents can use."""
        toolbox = self._toolboxes.get(plan.hash)
        if toolbox is None:
            mcp = McpTools(self._mcp, plan.mcp_servers, pool=self._pool)
            toolbox = self._toolboxes[plan.hash] = Toolbox(plan.tools, self._tools, pool=self._pool, mcp=mcp)
        return toolbox

    def function(self, implementation: str) -> Callable[..., Any]:
        """The function behind an import path, imported right here. Raises InvalidRequestError."""
        function = self._functions.get(implementation)
        if function is None:
            function = self._functions[implementation] = load_callable(implementation)
        return function

    async def imported(self, implementation: str, *, timeout: float | None) -> Callable[..., Any]:
        """The function, imported in a thread, since what a module does at import may take its time."""
        if implementation not in self._functions:
            self._functions[implementation] = await self._pool.run(
                load_callable, implementation, timeout=timeout, name=f"Importing {implementation!r}"
            )
        return self._functions[implementation]

    async def close(self) -> None:
        """Lets go of connections."""
        await self._mcp.close()
        for runtime in self._made.values():
            await runtime.aclose()
        self._made.clear()
