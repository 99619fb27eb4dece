"""A provider of models that says what a script says: no network, no key, no cost, no chance."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from kneo_serv.errors import ProviderError
from kneo_serv.model.message import Message, Role, ToolCall, Turn, TurnRequest
from kneo_serv.model.plan import ModelPlan, RuntimeMode, RuntimePreferences
from kneo_serv.observe import preview
from kneo_serv.runtime import RetryPolicy, Runtime, RuntimeRegistry, default_registry
from kneo_serv.runtime.attempts import Pace, Setback, attempted
from kneo_serv.testing.scripted.script import ANYBODY, Fault, Per, ScriptedTurn, ScriptSource, as_script
from kneo_serv.tools import load_object

PROVIDER = "scripted"
"""What `model.provider` of a spec says to get it."""

type Sleep = Callable[[float], Awaitable[None]]

_WORDS = re.compile(r"\s*\S+\s*|\s+")


async def no_waiting(seconds: float) -> None:
    """Lets time pass at once: delays of a script cost none, and others have their turn."""
    await asyncio.sleep(0)


class ScriptedProvider:
    """Answers for the agents of a script, and notes what it was asked.

    It is what `RuntimeRegistry.register_provider` and `RuntimeRegistry.register` take. Used from one event loop; what
    it noted may be read from anywhere.

    Args:
        script: What is said.
        retries: How often a transient fault is tried again, as with a real provider.
        sleep: How delays are waited for; `no_waiting` lets them cost nothing.
    """

    def __init__(self, script: ScriptSource, *, retries: int = 2, sleep: Sleep = asyncio.sleep) -> None:
        self.script = as_script(script)
        self.requests: list[TurnRequest] = []
        """Every question, oldest first; a turn that was tried again counts once."""
        self.complaints: list[str] = []
        """Questions that the script has no answer to, in words."""
        self._policy = RetryPolicy(max_retries=retries)
        self._pace = Pace(sleep=sleep)
        self._used: Counter[tuple[str, int]] = Counter()
        self._failed: Counter[tuple[str, str, int]] = Counter()

    def __call__(
        self,
        *,
        model: ModelPlan | None,
        preferences: RuntimePreferences,
        environ: Mapping[str, str] | None = None,
    ) -> Runtime:
        """The runtime of one agent."""
        return _ScriptedRuntime(self, model.name if model else None)

    def asked(self, agent: str) -> list[TurnRequest]:
        """What one agent was asked, oldest first."""
        return [request for request in self.requests if request.agent_name == agent]

    @property
    def unused(self) -> list[str]:
        """The turns that were not said (often enough), in words. Not told for scripts that go by conversation."""
        if self.script.per is Per.CONVERSATION:
            return []
        return [
            f"{agent}[{place}]: {_show(turn)}"
            for agent, turns in self.script.agents.items()
            for place, turn in enumerate(turns)
            if self._used[agent, place] < (turn.times or 0)
        ]

    def check(self, *, used_up: bool = False) -> None:
        """Passes when the script had an answer to every question, and with `used_up` when all of it was said.

        Raises:
            AssertionError: what was missing, or what is left.
        """
        if self.complaints:
            raise AssertionError("\n".join(self.complaints))
        if used_up and (left := self.unused):
            raise AssertionError("Turns of the script that nobody asked for:\n" + "\n".join(left))

    async def answer(self, request: TurnRequest, model_name: str | None) -> Turn:
        """The turn that the script has for a question. Raises ProviderError."""
        self.requests.append(request)
        return await attempted(
            lambda: self._attempt(request, model_name), policy=self._policy, provider=PROVIDER, pace=self._pace
        )

    async def _attempt(self, request: TurnRequest, model_name: str | None) -> Turn:
        turn = self._next(request)
        if turn.delay_seconds:
            await self._pace.sleep(turn.delay_seconds)
        match turn.fault:
            case None:
                pass
            case Fault.TRANSIENT:
                raise Setback(turn.message or "Provider 'scripted' is busy (as the script says).")
            case Fault.PERMANENT:
                text = turn.message or "Provider 'scripted' refused the request (as the script says)."
                raise ProviderError(text, provider=PROVIDER)
            case Fault.TIMEOUT:
                text = turn.message or "Provider 'scripted' did not answer in time (as the script says)."
                raise ProviderError(text, provider=PROVIDER, transient=True)
            case Fault.SILENCE:
                await asyncio.Event().wait()
        if request.on_text is not None:
            for piece in turn.pieces or _WORDS.findall(turn.text):
                request.on_text(piece)
                await asyncio.sleep(0)
        calls = tuple(
            ToolCall(f"call_{number}", wish.tool, wish.arguments)
            if isinstance(wish.arguments, Mapping)
            else ToolCall(f"call_{number}", wish.tool, invalid_arguments=wish.arguments)
            for number, wish in enumerate(turn.calls, start=1)
        )
        return Turn(turn.text, calls, turn.usage, model_name or PROVIDER)

    def _next(self, request: TurnRequest) -> ScriptedTurn:
        agent = request.agent_name
        found = self.script.of(agent)
        if found is None:
            there = ", ".join(sorted(self.script.agents)) or "nobody"
            raise self._complaint(f"The script has no turns for agent {agent!r} (it has turns for: {there}).", request)
        name, turns = found
        if self.script.per is Per.CONVERSATION:
            place = self._of_conversation(name, turns, request)
        else:
            place = self._of_script(name, turns, request)
        if place is None:
            used = sum(self._used[name, place] for place in range(len(turns)))
            whose = f"agent {agent!r}" + (f" (those of {ANYBODY!r})" if name == ANYBODY else "")
            raise self._complaint(
                f"The script has no turn left for {whose}: {used} said, {len(turns)} written.", request
            )
        self._used[name, place] += 1
        return turns[place]

    def _of_script(self, name: str, turns: Sequence[ScriptedTurn], request: TurnRequest) -> int | None:
        for place, turn in enumerate(turns):
            if (turn.times is None or self._used[name, place] < turn.times) and _fits(turn, request):
                return place
        return None

    def _of_conversation(self, name: str, turns: Sequence[ScriptedTurn], request: TurnRequest) -> int | None:
        """The turn for a conversation of so many answers; a fault before it comes as often as it says."""
        answers = sum(message.role is Role.ASSISTANT for message in request.messages)
        # The attempt and the turn at the end of the key are left out: a step that is tried again met its fault.
        step = request.idempotency_key.rsplit(":", 2)[0]
        said = 0
        for place, turn in enumerate(turns):
            if not _fits(turn, request):
                continue
            if turn.fault is None:
                if turn.times is None or answers < said + turn.times:
                    return place
                said += turn.times
            elif said == answers and (turn.times is None or self._failed[step, name, place] < turn.times):
                self._failed[step, name, place] += 1
                return place
        return None

    def _complaint(self, text: str, request: TurnRequest) -> ProviderError:
        question = next((one.content for one in reversed(request.messages) if one.role is not Role.ASSISTANT), "")
        complaint = f"{text} It was asked: {preview(question, 200)!r}"
        self.complaints.append(complaint)
        return ProviderError(complaint, provider=PROVIDER)


def scripted_registry(
    script: ScriptSource | ScriptedProvider, *, replace_models: bool = False, environ: Mapping[str, str] | None = None
) -> RuntimeRegistry:
    """A registry in which the provider `scripted` follows a script; with `replace_models`, every model does.

    `environ` is what the other providers see. Give a `ScriptedProvider` to look at what was asked afterwards.
    """
    provider = script if isinstance(script, ScriptedProvider) else ScriptedProvider(script)
    registry = default_registry(environ=environ or {}, load_object=load_object)
    registry.register_provider(PROVIDER, provider)
    if replace_models:
        for mode in RuntimeMode:
            registry.register(mode, provider)
    return registry


class _ScriptedRuntime:
    def __init__(self, provider: ScriptedProvider, model_name: str | None) -> None:
        self._provider = provider
        self._model_name = model_name

    async def turn(self, request: TurnRequest) -> Turn:
        return await self._provider.answer(request, self._model_name)

    async def aclose(self) -> None:
        return


def _fits(turn: ScriptedTurn, request: TurnRequest) -> bool:
    return turn.when is None or any(turn.when.casefold() in text.casefold() for text in _asked(request.messages))


def _asked(messages: Sequence[Message]) -> list[str]:
    """The newest question, and what tools answered since."""
    texts: list[str] = []
    for message in reversed(messages):
        if message.role is Role.TOOL:
            texts.append(message.content)
        if message.role is Role.USER:
            return [*texts, message.content]
    return texts


def _show(turn: ScriptedTurn) -> str:
    if turn.fault is not None:
        return f"fault {turn.fault.value}"
    wishes = [f"{wish.tool}({json.dumps(wish.arguments, default=str)})" for wish in turn.calls]
    return "; ".join([preview(turn.text, 100), *wishes] if turn.text else wishes) or "(empty)"
