"""Which runtime modes there are, and which one answers for an agent."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from kneo_serv.errors import ProviderError
from kneo_serv.model.plan import AgentPlan, ModelPlan, RuntimeMode, RuntimePreferences
from kneo_serv.runtime.protocol import ProblemProbe, ProviderFactory, ProviderProbe, Runtime, RuntimeFactory


@dataclass(frozen=True, slots=True)
class _Entry:
    factory: RuntimeFactory
    probe: ProblemProbe | None


class RuntimeRegistry:
    """The runtime modes of a platform: `bridge`, `native`, `adapter`, or names of your own; and providers of yours.

    `environ` is where the providers that are registered look for keys and addresses; by default nothing is there.
    """

    def __init__(self, *, environ: Mapping[str, str] | None = None) -> None:
        self._entries: dict[str, _Entry] = {}
        self._providers: dict[str, _Entry] = {}
        self._environ: Mapping[str, str] = {} if environ is None else environ

    @property
    def modes(self) -> tuple[str, ...]:
        """The registered modes, sorted."""
        return tuple(sorted(self._entries))

    def register(self, mode: str, factory: RuntimeFactory, *, problem: ProblemProbe | None = None) -> None:
        """Serve a mode from now on; the last registration wins.

        Args:
            mode: The word for `runtime_preferences.preferred_mode`.
            factory: Called as `factory(model=..., preferences=...)` once per agent.
            problem: Says beforehand why the mode cannot serve a model. Without it the mode serves everything.
        """
        self._entries[str(mode)] = _Entry(factory, problem)

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers that were registered here, sorted; those of the modes themselves are not among them."""
        return tuple(sorted(self._providers))

    def register_provider(self, name: str, factory: ProviderFactory, *, problem: ProviderProbe | None = None) -> None:
        """Serve models of a provider in bridge mode from now on; the last registration wins.

        Args:
            name: The word for `model.provider` (or `runtime_preferences.bridge_provider`).
            factory: Called as `factory(model=..., preferences=..., environ=...)` once per agent.
            problem: Says beforehand why a model cannot be served. Without it, `factory.problem` where there is one.
        """
        probe: ProviderProbe | None = problem or getattr(factory, "problem", None)
        self._providers[name] = _Entry(
            partial(factory, environ=self._environ), partial(probe, environ=self._environ) if probe else None
        )

    def try_create(
        self, mode: str, *, model: ModelPlan | None = None, preferences: RuntimePreferences | None = None
    ) -> Runtime | None:
        """A runtime of this mode, or None when the mode is not registered.

        Raises:
            ProviderError: The mode is registered and cannot serve this model.
        """
        wanted = preferences or RuntimePreferences()
        if mode not in self._entries:
            return None
        return self._entry(mode, model, wanted).factory(model=model, preferences=wanted)

    def create(self, agent: AgentPlan) -> Runtime:
        """The runtime that answers for this agent: its preferred mode, or its fallback where that one cannot.

        Where both lack something that may still come (a key, a library), the first one that can be made at all is
        made, and says at its first turn what it lacks.

        Raises:
            ProviderError: Neither can be made; the text is that of `problem`.
        """
        modes = _wanted_modes(agent)
        for mode in modes:
            if self._mode_problem(mode, agent) is None:
                return self._made(mode, agent)
        for mode in modes:
            if self._unserved(mode, agent) is None:
                with suppress(ProviderError):
                    return self._made(mode, agent)
        raise ProviderError(
            self.problem(agent) or f"Agent {agent.name!r} cannot run.",
            provider=agent.model.provider if agent.model else str(agent.runtime.preferred_mode),
        )

    def problem(self, agent: AgentPlan) -> str | None:
        """Why this agent cannot run here, with the mend; None when it can. Cheap: no model library is imported."""
        if agent.as_agent is not None:
            return None  # a workflow answers for it
        reasons = []
        for mode in _wanted_modes(agent):
            reason = self._mode_problem(mode, agent)
            if reason is None:
                return None
            reasons.append(reason)
        return f"Agent {agent.name!r} cannot run: {' '.join(reasons)}"

    def _made(self, mode: str, agent: AgentPlan) -> Runtime:
        entry = self._entry(mode, agent.model, agent.runtime)
        return entry.factory(model=agent.model, preferences=agent.runtime)

    def _entry(self, mode: str, model: ModelPlan | None, preferences: RuntimePreferences) -> _Entry:
        if mode == RuntimeMode.BRIDGE:
            provider = preferences.bridge_provider or (model.provider if model else "")
            if provider in self._providers:
                return self._providers[provider]
        return self._entries[mode]

    def _mode_problem(self, mode: RuntimeMode, agent: AgentPlan) -> str | None:
        if (reason := self._unserved(mode, agent)) is not None:
            return reason
        probe = self._entry(mode, agent.model, agent.runtime).probe
        return probe(model=agent.model, preferences=agent.runtime) if probe else None

    def _unserved(self, mode: RuntimeMode, agent: AgentPlan) -> str | None:
        allowed = agent.runtime.allowed_modes
        if allowed and mode not in allowed:
            return f"runtime mode {mode.value!r} is not among its allowed_modes ({', '.join(allowed)})."
        if mode not in self._entries:
            known = ", ".join(self.modes) or "none"
            return f"runtime mode {mode.value!r} is not available here (available: {known})."
        return None


def _wanted_modes(agent: AgentPlan) -> tuple[RuntimeMode, ...]:
    preferred, fallback = agent.runtime.preferred_mode, agent.runtime.fallback_mode
    return (preferred,) if fallback is None or fallback is preferred else (preferred, fallback)
