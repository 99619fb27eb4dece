"""A fork keeps what is finished, byte for byte, and does the rest anew; its parent never notices."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import (
    DecisionNotAllowedError,
    InvalidRequestError,
    NotFoundError,
    QueueFullError,
    RequestIdMismatchError,
    RunStateConflictError,
)
from kneo_serv.model.ids import RunId
from kneo_serv.model.run import RunResult
from kneo_serv.model.task import HumanResponse, HumanTask
from kneo_serv.model.tool import Effect, ToolDefinition
from kneo_serv.platform import PlatformManager, PlatformOptions
from kneo_serv.platform.doctor import check_journals
from kneo_serv.platform.forking import ForkConsentRequiredError
from kneo_serv.runtime import default_registry
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.contract import EventRow
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.tools import ToolRegistry
from tests.platform import forkable
from tests.platform.forkable import called

EFFECTS = {"a": "idempotent", "b": None, "c": "keyed", "fragile": "idempotent", "gated": "once"}


def step(ref: str, kind: str = "function", **more: Any) -> dict[str, Any]:
    return {"id": more.pop("id", ref), "kind": kind, "ref": ref, **more}


ASK = step("person", "human", id="ask")


def spec(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    flow = more.pop("flow", {"type": "sequential", "steps": list(steps)})
    return {
        "version": "v1",
        "agent": {"name": "root", "model": {"provider": "dummy", "name": "first"}, **more.pop("agent", {})},
        "workflow": {"name": "flow", **flow},
        "components": {
            "functions": {
                name: {"implementation": f"{forkable.__name__}.{name}"} | ({"effect": effect} if effect else {})
                for name, effect in EFFECTS.items()
            },
            "humans": {"person": {"description": "Go on?", **more.pop("human", {})}},
            **more.pop("components", {}),
        },
        **more,
    }


@dataclass
class World:
    path: Path
    manager: PlatformManager

    def run(self, *steps: dict[str, Any], text: str = "x", **more: Any) -> RunResult:
        timeout = more.pop("timeout_seconds", None)
        return self.manager.run_from_spec(spec=spec(*steps, **more), input_text=text, timeout_seconds=timeout)

    def ask[T](self, question: Callable[[SQLiteStore], Awaitable[T]]) -> T:
        async def look() -> T:
            store = SQLiteStore(self.path)
            await store.open()
            try:
                return await question(store)
            finally:
                await store.close()

        return asyncio.run(look())

    def rows(self, run_id: str) -> list[EventRow]:
        return list(self.ask(lambda store: store.events(RunId(run_id))))

    def task(self, run_id: str) -> HumanTask:
        (task,) = self.ask(lambda store: store.list_tasks(run_id=RunId(run_id)))
        return task

    def types(self, run_id: str) -> list[str]:
        return [checkpoint.type for checkpoint in self.manager.list_checkpoints(run_id)]

    def answer(self, run_id: str, decision: str = "approved", **more: Any) -> RunResult:
        task = self.task(run_id)
        response = HumanResponse(task.request.id, decision, **more)
        return self.manager.resume_human_task(task.continuation_id, response=response)

    def shares(self, parent: str, child: str) -> int:
        """How many events the child took over from its parent, byte for byte."""
        ours, theirs = self.rows(parent), self.rows(child)
        (cut,) = [row.seq - 1 for row in theirs if row.kind == "run_forked" and parent in row.payload]
        assert theirs[:cut] == ours[:cut]
        assert json.loads(theirs[cut].payload)["parent_seq"] == cut
        return cut


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    tools = ToolRegistry()
    definition = ToolDefinition("web_search", "Search.", {"type": "object"}, effect=Effect.ONCE)
    tools.register(definition, lambda arguments: f"found {arguments['query']}")
    path = tmp_path / "runs.sqlite"
    manager = PlatformManager(
        compiler=SpecCompiler(runtime_registry=default_registry(environ={}), tool_registry=tools),
        run_state_store=SQLiteStore(path),
        options=PlatformOptions(watch_seconds=0.01, idle_poll_seconds=0.01, patience_seconds=10.0),
    )
    world = World(path, manager)
    yield world
    manager.shutdown(timeout=5)
    assert world.ask(check_journals) == []


def test_a_fork_keeps_what_is_finished_and_does_the_rest_anew(world: World) -> None:
    parent = world.run(step("a"), step("b"), step("c"))
    before = world.rows(parent.run_id)
    record = world.manager.get_run(parent.run_id)
    child = world.manager.fork_run(parent.run_id, at_sequence=2, accept_side_effects=True, actor="ann")
    assert (child.status, child.output_text) == ("completed", "xabc")
    assert called(child.run_id) == ["b", "c"]
    assert world.shares(parent.run_id, child.run_id) > 2
    assert world.rows(parent.run_id) == before
    assert world.manager.get_run(parent.run_id) == record
    keys = {key for _, key in forkable.CALLS[child.run_id]}
    assert all(key.startswith(f"{child.run_id}:") for key in keys)
    assert not keys & {key for _, key in forkable.CALLS[parent.run_id]}


@pytest.mark.parametrize("at_sequence", [1, 2, 3, 4, 5, 6])
def test_a_fork_from_anywhere_ends_as_its_parent_did(world: World, at_sequence: int) -> None:
    parent = world.run(step("a"), step("b"), ASK, step("c"))
    done = world.answer(parent.run_id, "edited", content="fine")
    child = world.manager.fork_run(parent.run_id, at_sequence=at_sequence, accept_side_effects=True)
    if child.status == "paused":
        child = world.answer(child.run_id, "edited", content="fine")
    assert (child.status, child.output_text) == (done.status, done.output_text) == ("completed", "finec")


def test_without_a_sequence_a_fork_goes_on_from_the_last_checkpoint_that_is_no_end(world: World) -> None:
    parent = world.run(step("a"), step("b"))
    child = world.manager.fork_run(parent.run_id)
    assert (child.output_text, called(child.run_id)) == ("xab", [])
    assert world.types(child.run_id) == [
        "run_started", "step_completed", "step_completed", "run_forked", "run_completed",
    ]  # fmt: skip


def test_views_and_audit_tell_where_a_fork_comes_from(world: World) -> None:
    parent = world.run(step("a"), step("a", id="again"))
    child = world.manager.fork_run(parent.run_id, at_sequence=2, input_text="y", actor="ann")
    assert world.manager.run_view(child.run_id)["parent_run_id"] == parent.run_id
    assert world.manager.run_view(child.run_id)["visited_steps"] == ["a", "again"]
    trace = world.manager.get_trace(child.run_id)
    (line,) = [line for line in trace if line["type"] == "workflow_forked"]
    assert "workflow_resumed" not in [line["type"] for line in trace]
    assert line["metadata"]["parent_run_id"] == parent.run_id
    assert (line["metadata"]["at_sequence"], line["metadata"]["changed"]) == (2, ["input"])
    assert [event["input_preview"] for event in trace if event["type"] == "step_started"] == ["x", "y"]
    point = world.manager.list_checkpoints(child.run_id)[2]
    assert (point.type, point.metadata["input_text"], point.state["status"]) == ("run_forked", "y", "running")
    replay = world.manager.replay_view(child.run_id)
    assert json.dumps(replay)
    assert [event.event_type for event in reversed(world.manager.list_audit_events(run_id=child.run_id))] == [
        "run.created", "run.forked", "run.rested",
    ]  # fmt: skip
    (event,) = world.manager.list_audit_events(event_type="run.forked")
    assert (event.actor, event.run_id) == ("ann", child.run_id)
    assert event.metadata == {"parent_run_id": parent.run_id, "at_sequence": 2, "changed": ["input"]}


def test_a_new_input_flows_into_the_next_step(world: World) -> None:
    parent = world.run(step("a"), step("a", id="again"))
    later = world.manager.fork_run(parent.run_id, at_sequence=2, input_text="y")
    assert later.output_text == "ya"
    assert world.manager.get_run(later.run_id).input_text == "x"
    first = world.manager.fork_run(parent.run_id, at_sequence=1, input_text="y")
    assert first.output_text == "yaa"
    assert world.manager.get_run(first.run_id).input_text == "y"
    assert world.manager.list_checkpoints(first.run_id)[-1].state["input_text"] == "y"


def test_an_input_where_several_branches_are_open_is_refused(world: World) -> None:
    flow = {"type": "concurrent", "participants": [{**ASK, "id": "one"}, {**ASK, "id": "two"}]}
    parent = world.run(flow=flow)
    with pytest.raises(InvalidRequestError, match="several branches"):
        world.manager.fork_run(parent.run_id, input_text="y")
    child = world.manager.fork_run(parent.run_id, at_sequence=1, input_text="y")
    assert child.status == "paused"
    assert {task.input_text for task in world.ask(lambda store: store.list_tasks(run_id=child.run_id))} == {"y"}


def test_an_open_question_is_asked_anew_under_ids_of_its_own(world: World) -> None:
    parent = world.run(step("a"), ASK, step("fragile"))
    child = world.manager.fork_run(parent.run_id)
    assert (child.status, called(child.run_id)) == ("paused", [])
    ours, theirs = world.task(parent.run_id), world.task(child.run_id)
    assert ours.continuation_id != theirs.continuation_id
    assert ours.request.id != theirs.request.id
    assert (ours.input_text, theirs.input_text) == ("xa", "xa")
    assert world.answer(child.run_id, "edited", content="child").output_text == "child."
    assert world.manager.get_run(parent.run_id).status == "blocked"
    assert world.answer(parent.run_id).output_text == "xa."


@pytest.mark.parametrize("name", ["", "the parent's"])
def test_the_question_at_a_pause_can_be_answered_at_once(world: World, name: str) -> None:
    parent = world.run(step("a"), ASK, step("fragile"))
    request_id = name and world.task(parent.run_id).request.id
    world.answer(parent.run_id, "rejected", content="no")
    answer = HumanResponse(request_id, "edited", "yes")
    child = world.manager.fork_run(parent.run_id, at_sequence=3, answer=answer, actor="ann")
    assert (child.status, child.output_text, called(child.run_id)) == ("completed", "yes.", ["fragile"])
    assert world.types(child.run_id)[2:6] == ["human_pause", "run_forked", "human_pause", "human_resume"]
    (event,) = world.manager.list_audit_events(event_type="human.decision", run_id=child.run_id)
    assert (event.actor, event.metadata["decision"]) == ("ann", "edited")


def test_an_answer_that_fits_no_question_makes_no_fork(world: World) -> None:
    parent = world.run(step("a"), ASK)
    with pytest.raises(RequestIdMismatchError):
        world.manager.fork_run(parent.run_id, answer=HumanResponse("req_other", "approved"))
    with pytest.raises(DecisionNotAllowedError):
        world.manager.fork_run(parent.run_id, answer=HumanResponse("", "selected", selected_option="z"))
    with pytest.raises(InvalidRequestError, match="Nobody is asked"):
        world.manager.fork_run(parent.run_id, at_sequence=2, answer=HumanResponse("", "approved"))
    assert world.manager.count_runs() == 1


def test_another_model_answers_for_all_agents_from_there_on(world: World) -> None:
    flow = {"type": "sequential", "steps": [step("root", "agent", id="one"), step("root", "agent", id="two")]}
    parent = world.run(flow=flow)
    child = world.manager.fork_run(parent.run_id, at_sequence=2, model={"provider": "dummy", "name": "second"})
    assert child.status == "completed"
    trace = world.manager.get_trace(child.run_id)
    models = [line["model_name"] for line in trace if line["type"] == "model_turn_completed"]
    assert models == ["first", "second"]
    ours, theirs = world.manager.get_run(parent.run_id), world.manager.get_run(child.run_id)
    assert ours.plan_hash != theirs.plan_hash
    same = world.manager.fork_run(parent.run_id, at_sequence=2, model={"provider": "dummy", "name": "first"})
    assert world.manager.get_run(same.run_id).plan_hash == ours.plan_hash


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ({"name": "second"}, "needs a provider"),
        ({"provider": "dummy"}, "needs a name"),
        ({"provider": "nobody", "name": "n"}, "'nobody' is not available"),
        ({"provider": "dummy", "name": "n", "mood": 1}, "no mood"),
        ({"provider": "dummy", "name": 7}, "expected str"),
    ],
)
def test_a_model_that_cannot_answer_makes_no_fork(world: World, model: dict[str, Any], problem: str) -> None:
    parent = world.run(flow={"type": "sequential", "steps": [step("root", "agent")]})
    with pytest.raises(InvalidRequestError, match=problem):
        world.manager.fork_run(parent.run_id, at_sequence=1, model=model)
    assert world.manager.count_runs() == 1


def test_side_effects_are_repeated_only_with_consent(world: World) -> None:
    parent = world.run(step("a"), step("b"), step("c"))
    preview = world.manager.preview_fork(parent.run_id, 1)
    assert preview.to_dict() == {
        "run_id": parent.run_id,
        "at_sequence": 1,
        "kept_steps": [],
        "repeated_side_effects": [
            {"step_id": "b", "kind": "function", "ref": "b", "effect": "undeclared"},
            {"step_id": "c", "kind": "function", "ref": "c", "effect": "keyed"},
        ],
    }
    with pytest.raises(ForkConsentRequiredError) as refusal:
        world.manager.fork_run(parent.run_id, at_sequence=1)
    assert refusal.value.code == "fork_consent_required"
    assert refusal.value.facts() == {
        name: preview.to_dict()[name] for name in ("run_id", "at_sequence", "repeated_side_effects")
    }
    assert world.manager.count_runs() == 1
    assert world.manager.preview_fork(parent.run_id, 3).kept_steps == ("a", "b")
    assert world.manager.fork_run(parent.run_id, at_sequence=1, accept_side_effects=True).output_text == "xabc"


def test_what_is_idempotent_needs_no_consent(world: World) -> None:
    parent = world.run(step("a"), step("fragile"))
    assert world.manager.preview_fork(parent.run_id, 1).repeated_side_effects == ()
    assert world.manager.fork_run(parent.run_id, at_sequence=1).output_text == "xa."


def test_tool_calls_of_agents_are_among_the_side_effects(world: World) -> None:
    agent = {"tools": ["web_search"], "strategy": {"type": "react"}}
    parent = world.run(flow={"type": "sequential", "steps": [step("root", "agent")]}, agent=agent, text="search tea")
    assert parent.status == "completed"
    (effect,) = world.manager.preview_fork(parent.run_id, 1).repeated_side_effects
    assert effect.to_dict() == {"step_id": "root", "kind": "tool", "ref": "web_search", "effect": "once"}
    child = world.manager.fork_run(parent.run_id, at_sequence=1, accept_side_effects=True)
    assert child.output_text == parent.output_text


def test_a_running_run_is_forked_without_being_disturbed(world: World) -> None:
    text = "run"
    record = world.manager.start_run_from_spec(
        spec=spec(step("a"), step("gated"), step("a", id="end")), input_text=text
    )
    world.manager.start_worker()
    assert forkable.REACHED[f"{text}a"].wait(10)
    (effect,) = world.manager.preview_fork(record.id).repeated_side_effects
    assert (effect.ref, effect.effect) == ("gated", "once")
    child = world.manager.fork_run(record.id, accept_side_effects=True)
    assert (child.status, child.output_text) == ("completed", "runa!a")
    assert called(child.run_id) == ["gated", "a"]
    assert world.manager.get_run(record.id).status == "running"
    forkable.PASSABLE[f"{text}a"].set()
    assert world.manager.execute_run(record.id).output_text == "runa!a"


def test_branches_in_flight_begin_again_and_finished_ones_stay(world: World) -> None:
    text = "both"
    flow = {"type": "concurrent", "participants": [step("gated"), step("a")]}
    record = world.manager.start_run_from_spec(spec=spec(flow=flow), input_text=text)
    world.manager.start_worker()
    assert forkable.REACHED[text].wait(10)
    ends = time.monotonic() + forkable.SECONDS
    while "step_completed" not in world.types(record.id):
        assert time.monotonic() < ends
    child = world.manager.fork_run(record.id, accept_side_effects=True)
    # The effect "once" is done again without a question: no crash came, and somebody agreed to it.
    assert (child.status, child.output_text, called(child.run_id)) == ("completed", "botha", ["gated"])
    forkable.PASSABLE[text].set()
    assert world.manager.execute_run(record.id).status == "completed"


def test_a_fork_among_concurrent_pauses_asks_only_what_is_open(world: World) -> None:
    flow = {"type": "concurrent", "participants": [step("a"), {**ASK, "id": "one"}, {**ASK, "id": "two"}]}
    parent = world.run(flow=flow)
    first, second = world.ask(lambda store: store.list_tasks(run_id=parent.run_id))
    one, two = (first, second) if first.step_id == "one" else (second, first)
    response = HumanResponse(one.request.id, "edited", "from one")
    assert world.manager.resume_human_task(one.continuation_id, response=response).status == "paused"
    child = world.manager.fork_run(parent.run_id)
    assert (child.status, called(child.run_id), world.task(child.run_id).step_id) == ("paused", [], "two")
    assert world.answer(child.run_id, "edited", content="from two").output_text == "from two"
    pause = world.types(parent.run_id).index("human_pause") + 2
    answered = world.manager.fork_run(
        parent.run_id, at_sequence=pause, answer=HumanResponse(two.request.id, "edited", "at once")
    )
    assert (answered.status, world.task(answered.run_id).step_id) == ("paused", "one")
    assert world.answer(answered.run_id).output_text == "at once"


def test_a_nested_pause_is_forked_in_its_place(world: World) -> None:
    inner = {"name": "inner", "type": "sequential", "steps": [step("a"), ASK, step("fragile")]}
    parent = world.run(step("inner", "workflow"), step("a", id="end"), components={"workflows": {"inner": inner}})
    assert parent.status == "paused"
    child = world.manager.fork_run(parent.run_id, answer=HumanResponse("", "approved"))
    assert (child.output_text, called(child.run_id)) == ("xa.a", ["fragile", "a"])
    other = world.manager.fork_run(parent.run_id, input_text="y", answer=HumanResponse("", "approved"))
    assert other.output_text == "y.a"
    early = world.manager.fork_run(parent.run_id, at_sequence=2, input_text="z")
    assert (early.status, world.task(early.run_id).input_text) == ("paused", "z")


def test_a_text_that_a_guardrail_holds_is_shown_to_a_person_again(world: World) -> None:
    guards = {"output": [{"id": "g", "type": "keyword", "action": "human_review", "config": {"keywords": ["tea"]}}]}
    flow = {"type": "sequential", "steps": [step("root", "agent"), step("fragile")]}
    parent = world.run(flow=flow, agent={"guardrails": guards}, text="tea")
    assert parent.status == "paused"
    child = world.manager.fork_run(parent.run_id)
    assert (child.status, world.task(child.run_id).input_text) == ("paused", world.task(parent.run_id).input_text)
    answered = world.manager.fork_run(parent.run_id, answer=HumanResponse("", "edited", "milk"))
    assert answered.output_text == "milk."
    other = world.manager.fork_run(parent.run_id, input_text="water")
    assert (other.status, other.output_text) == ("completed", "water.")
    still = world.manager.fork_run(parent.run_id, input_text="more tea")
    assert still.status == "paused"


def test_a_graph_goes_on_from_its_node_and_sees_the_new_text(world: World) -> None:
    flow = {
        "type": "graph",
        "start": "a",
        "nodes": {name: step(name) for name in ("a", "b", "fragile")},
        "edges": [
            {"from": "a", "to": "b", "condition": {"type": "output_contains", "value": "y"}},
            {"from": "a", "to": "fragile"},
        ],
    }
    parent = world.run(flow=flow)
    assert parent.output_text == "xa."
    assert world.manager.fork_run(parent.run_id, at_sequence=2).output_text == "xa."
    child = world.manager.fork_run(parent.run_id, at_sequence=2, input_text="y")
    assert (child.output_text, called(child.run_id)) == ("yb", ["b"])
    view = world.manager.run_view(child.run_id)
    assert (view["visited_nodes"], view["parent_run_id"]) == (["a", "b"], parent.run_id)


def test_a_fork_can_be_forked(world: World) -> None:
    parent = world.run(step("a"), step("a", id="again"), step("fragile"))
    child = world.manager.fork_run(parent.run_id, at_sequence=2, input_text="y")
    assert world.types(child.run_id)[2] == "run_forked"
    grandchild = world.manager.fork_run(child.run_id, at_sequence=3)
    assert (grandchild.output_text, called(grandchild.run_id)) == ("ya.", ["a", "fragile"])
    assert world.manager.get_run(grandchild.run_id).parent_run_id == child.run_id
    assert world.shares(child.run_id, grandchild.run_id) == world.shares(parent.run_id, child.run_id) + 1
    before = world.manager.fork_run(child.run_id, at_sequence=2)
    assert before.output_text == "xaa."


def test_a_retry_begins_the_failed_step_anew(world: World) -> None:
    forkable.BROKEN.add("oncea")
    parent = world.run(step("a"), step("fragile", max_retries=1), text="once")
    assert (parent.status, called(parent.run_id)) == ("failed", ["a", "fragile", "fragile"])
    with pytest.raises(InvalidRequestError, match="it is failed"):
        world.manager.fork_run(parent.run_id, at_sequence=4)
    again = world.manager.retry_run(parent.run_id)
    assert (again.status, called(again.run_id)) == ("failed", ["fragile", "fragile"])
    mended = world.manager.retry_run(parent.run_id, input_text="better")
    assert (mended.status, mended.output_text, called(mended.run_id)) == ("completed", "better.", ["fragile"])
    assert world.types(mended.run_id) == [
        "run_started", "step_completed", "run_forked", "step_completed", "run_completed",
    ]  # fmt: skip
    forkable.BROKEN.clear()
    assert world.manager.retry_run(again.run_id).output_text == "oncea."
    assert world.manager.run_view(mended.run_id)["error"] is None
    assert world.manager.recovery_context(mended.run_id)["replay_context"]["failed_step"] is None


def test_a_fork_at_the_failure_itself_tries_the_step_again(world: World) -> None:
    forkable.BROKEN.add("twicea")
    parent = world.run(step("a"), step("fragile"), text="twice")
    forkable.BROKEN.clear()
    child = world.manager.fork_run(parent.run_id)
    assert world.types(child.run_id)[2:4] == ["step_failed", "run_forked"]
    assert (child.output_text, called(child.run_id)) == ("twicea.", ["fragile"])


def test_a_retry_keeps_the_branches_that_were_finished(world: World) -> None:
    forkable.BROKEN.add("y")
    inner = {"name": "inner", "type": "sequential", "steps": [step("a"), step("fragile")]}
    flow = {"type": "concurrent", "participants": [step("inner", "workflow"), {**ASK, "id": "ask"}]}
    forkable.BROKEN.add("ya")
    parent = world.run(flow=flow, components={"workflows": {"inner": inner}}, text="y")
    assert parent.status in ("paused", "failed")
    if parent.status == "paused":
        parent = world.answer(parent.run_id)
    assert parent.status == "failed"
    forkable.BROKEN.clear()
    child = world.manager.retry_run(parent.run_id)
    assert "a" not in called(child.run_id)
    if child.status == "paused":
        child = world.answer(child.run_id)
    assert (child.status, child.output_text) == ("completed", "ya.")


def test_a_cancelled_run_is_retried_from_its_pause(world: World) -> None:
    parent = world.run(step("a"), ASK)
    world.manager.cancel_run(parent.run_id)
    child = world.manager.retry_run(parent.run_id, answer=HumanResponse("", "approved"))
    assert (child.status, child.output_text) == ("completed", "xa")


def test_an_expired_run_is_asked_again_with_a_deadline_of_its_own(world: World) -> None:
    parent = world.run(step("a"), ASK, human={"timeout_seconds": 60})
    old = world.task(parent.run_id)
    assert old.expires_at is not None
    world.manager.prune_expired_human_tasks(now=old.expires_at + 1)
    assert world.manager.get_run(parent.run_id).status == "expired"
    child = world.manager.retry_run(parent.run_id)
    assert child.status == "paused"
    assert (world.task(child.run_id).expires_at or 0) > old.expires_at


def test_a_forked_run_has_its_parents_time_limit_anew(world: World) -> None:
    parent = world.run(step("a"), ASK, timeout_seconds=60)
    child = world.manager.fork_run(parent.run_id)
    ours, theirs = world.manager.get_run(parent.run_id), world.manager.get_run(child.run_id)
    assert ours.deadline_at is not None
    assert theirs.deadline_at is not None
    assert theirs.deadline_at > ours.deadline_at
    assert theirs.started_at is not None
    assert theirs.started_at >= theirs.created_at > ours.created_at


def test_only_what_ended_badly_is_retried(world: World) -> None:
    done, waiting = world.run(step("a")), world.run(ASK)
    with pytest.raises(RunStateConflictError, match="completed: cannot retry"):
        world.manager.retry_run(done.run_id)
    with pytest.raises(RunStateConflictError, match="blocked: cannot retry"):
        world.manager.retry_run(waiting.run_id)
    with pytest.raises(NotFoundError):
        world.manager.retry_run("run_unknown")


@pytest.mark.parametrize(("at_sequence", "problem"), [(0, "has no checkpoint 0"), (9, "1 to 3"), (3, "is completed")])
def test_a_fork_needs_a_checkpoint_that_can_be_gone_on_from(world: World, at_sequence: int, problem: str) -> None:
    parent = world.run(step("a"))
    with pytest.raises(InvalidRequestError, match=problem):
        world.manager.fork_run(parent.run_id, at_sequence=at_sequence)


def test_a_fork_can_be_left_to_a_worker(world: World) -> None:
    parent = world.run(step("a"), ASK, step("fragile"))
    waits = world.manager.fork_run(parent.run_id, at_sequence=2, wait=False)
    answered = world.manager.fork_run(parent.run_id, answer=HumanResponse("", "approved"), wait=False)
    assert (waits.status, answered.status) == ("running", "running")
    assert world.manager.get_run(answered.run_id).lease_owner is None
    world.manager.start_worker()
    assert world.manager.execute_run(waits.run_id).status == "paused"
    assert world.manager.execute_run(answered.run_id).output_text == "xa."


def test_events_after_the_copied_ones_are_told(world: World) -> None:
    parent = world.run(step("a"), step("fragile"))
    kinds: list[str] = []
    world.manager.fork_run(parent.run_id, at_sequence=2, on_event=lambda event: kinds.append(event.event.KIND))
    assert kinds == ["leg_started", "step_started", "step_completed", "run_completed"]


def test_secrets_stay_out_of_the_public_side_of_a_fork(world: World) -> None:
    parent = world.run(step("a"), ASK, text="mail bob@example.com")
    child = world.manager.fork_run(parent.run_id, input_text="mail eve@example.com")
    shown = json.dumps([world.manager.get_trace(child.run_id), world.manager.run_view(child.run_id)])
    assert "bob@example.com" not in shown
    assert "eve@example.com" not in shown
    assert world.task(child.run_id).input_text == "mail eve@example.com"


def test_a_full_queue_takes_no_forks(tmp_path: Path) -> None:
    registry = default_registry(environ={})
    manager = PlatformManager(
        compiler=SpecCompiler(runtime_registry=registry, tool_registry=ToolRegistry()),
        run_state_store=SQLiteStore(tmp_path / "runs.sqlite"),
        options=PlatformOptions(max_queue_depth=1),
    )
    record = manager.start_run_from_spec(spec=spec(step("a")), input_text="x")
    with pytest.raises(QueueFullError):
        manager.fork_run(record.id, wait=False)
    manager.shutdown(timeout=5)
