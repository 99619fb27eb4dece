"""What answers for an agent, and what makes such a thing."""

from collections.abc import Mapping
from typing import Protocol

from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.model.plan import ModelPlan, RuntimePreferences


class Runtime(Protocol):
    """One agent's way to its model. Made on any thread, used from one event loop, closed on the same loop."""

    async def turn(self, request: TurnRequest) -> Turn:
        """The model's next answer to the conversation.

        Raises:
            ProviderError: The model could not answer; `transient` says whether asking again may help.
            MissingSecretError: The provider needs a key that has no value.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections. Closing twice does nothing; a later turn opens new ones."""
        ...


class RuntimeFactory(Protocol):
    """Makes the runtime of one mode. It opens nothing: that is left to the first turn."""

    def __call__(self, *, model: ModelPlan | None, preferences: RuntimePreferences) -> Runtime:
        """The runtime for this model. Raises ProviderError when the mode cannot serve it."""
        ...


class ProblemProbe(Protocol):
    """Says beforehand, without importing anything heavy, why a mode cannot serve a model."""

    def __call__(self, *, model: ModelPlan | None, preferences: RuntimePreferences) -> str | None:
        """The reason, with the mend; None when there is none."""
        ...


class ProviderFactory(Protocol):
    """Makes the runtime of one agent whose model a provider serves. It opens nothing: that is left to the first turn.

    An attribute `problem`, a `ProviderProbe`, is asked beforehand where there is one.
    """

    def __call__(
        self, *, model: ModelPlan | None, preferences: RuntimePreferences, environ: Mapping[str, str]
    ) -> Runtime:
        """The runtime for this model, with keys from `environ`. Raises ProviderError when it cannot be served."""
        ...


class ProviderProbe(Protocol):
    """Says beforehand, without importing anything heavy, why a provider cannot serve a model."""

    def __call__(
        self, *, model: ModelPlan | None, preferences: RuntimePreferences, environ: Mapping[str, str]
    ) -> str | None:
        """The reason, with the mend; None when there is none."""
        ...
