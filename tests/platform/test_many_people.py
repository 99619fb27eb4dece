"""Many people at once: each test is a defect that engines for workflows have shown, and that must not show here."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import NotFoundError
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId
from kneo_serv.model.plan import Plan
from kneo_serv.model.run import Phase, RunRecord, RunStatus
from kneo_serv.model.task import HumanResponse, HumanTask
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.contract import TimerKind
from kneo_serv.tools import ToolRegistry
from tests.platform.functions import FAILURES, GATES, calls
from tests.platform.worlds import PATIENCE, kinds, opened, run, spec, step

FAR = 1e12
"""A moment at which every deadline has passed."""


def ask(name: str = "ask", ref: str = "person") -> dict[str, Any]:
    return {"id": name, "kind": "human", "ref": ref}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "sequential", "steps": list(steps)}


def at_once(*participants: dict[str, Any]) -> dict[str, Any]:
    return {"type": "concurrent", "participants": list(participants), "aggregation": "concat"}


def plan(workflow: dict[str, Any], humans: dict[str, Any] | None = None, **inner: dict[str, Any]) -> Plan:
    """A plan of this workflow; each of `inner` is a component workflow, and answers for an agent of its name too."""
    document = spec()
    document["workflow"] = {"name": "flow", **workflow}
    document["components"]["workflows"] = inner
    document["components"]["agents"] = {name: {"name": name, "as_agent": name} for name in inner}
    document["components"]["humans"].update(humans or {})
    compiler = SpecCompiler(runtime_registry=RuntimeRegistry(), tool_registry=ToolRegistry())
    return compiler.compile_dict(document).plan


async def open_tasks(platform: Platform, run_id: RunId) -> dict[str, HumanTask]:
    return {task.step_id: task for task in await platform.store.list_tasks(run_id=run_id)}


async def answer(platform: Platform, task: HumanTask, content: str | None = None) -> RunRecord:
    """Answers, and waits until the run rests again."""
    await give(platform, task, content)
    return await platform.run_to_rest(task.run_id, patience=PATIENCE)


async def give(platform: Platform, task: HumanTask, content: str | None = None) -> None:
    decision = "approved" if content is None else "edited"
    await platform.answer(task.continuation_id, HumanResponse(task.request.id, decision, content))


async def completed_steps(platform: Platform, run_id: RunId) -> Sequence[str]:
    return [
        recorded.event.step_id
        for recorded in await platform.events(run_id)
        if isinstance(recorded.event, ev.StepCompleted)
    ]


def test_two_pauses_in_one_step_are_answered_one_by_one(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(sequence(step("both", "workflow")), both=at_once(ask("left"), ask("right")))
            record = await run(platform, flow)
            tasks = await open_tasks(platform, record.id)
            assert set(tasks) == {"left", "right"}
            record = await answer(platform, tasks["left"], "L")
            assert (record.status, set(await open_tasks(platform, record.id))) == ("blocked", {"right"})
            assert (await answer(platform, tasks["right"], "R")).output_text == "L\n\nR"

    asyncio.run(story())


def test_parallel_pauses_have_ids_of_their_own(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(at_once(*(ask(f"ask{number}") for number in range(5)))))
            tasks = (await open_tasks(platform, record.id)).values()
            assert len({task.continuation_id for task in tasks}) == len({task.request.id for task in tasks}) == 5

    asyncio.run(story())


def test_the_second_of_two_different_answers_does_not_count(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(sequence(ask(), step("exclaim"))))
            (task,) = (await open_tasks(platform, record.id)).values()
            await answer(platform, task, "first")
            with pytest.raises(NotFoundError):
                await give(platform, task, "second")
            assert (await platform.record(record.id)).output_text == "first!"

    asyncio.run(story())


def test_a_finished_sibling_never_waits_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(at_once(step("upper"), ask("left"), ask("right"))))
            tasks = await open_tasks(platform, record.id)
            await answer(platform, tasks["left"])
            await answer(platform, tasks["right"])
            assert calls("upper", record.id) == 1
            assert sorted(await completed_steps(platform, record.id)) == ["left", "right", "upper"]

    asyncio.run(story())


def test_one_answer_does_not_end_the_pause_of_the_others(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(at_once(ask("left"), ask("right"))))
            tasks = await open_tasks(platform, record.id)
            record = await answer(platform, tasks["left"])
            assert (record.status, record.phase) == (RunStatus.BLOCKED, Phase.WAITING_HUMAN)
            assert record.continuation_id == tasks["right"].continuation_id

    asyncio.run(story())


def test_a_branch_goes_on_while_its_sibling_is_at_work(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(
                at_once(step("asked", "workflow"), step("gated")), asked=sequence(ask(), step("exclaim", id="after"))
            )
            record = await platform.start(Submission(flow, "sibling at work"), hold=True)
            await GATES["sibling at work"].wait()
            (task,) = (await open_tasks(platform, record.id)).values()
            heard = threading.Event()

            def listen(events: Sequence[ev.Recorded]) -> None:
                if any(_ends(one, "after") for one in events):
                    heard.set()

            platform.listen(record.id, listen)
            await give(platform, task)
            assert await asyncio.to_thread(heard.wait, 10)
            assert not GATES["sibling at work"].left.is_set()
            GATES["sibling at work"].passable.set()
            assert (await platform.run_to_rest(record.id, patience=PATIENCE)).status == "completed"

    asyncio.run(story())


def _ends(recorded: ev.Recorded, step_id: str) -> bool:
    return isinstance(recorded.event, ev.StepCompleted) and recorded.event.step_id == step_id


def test_an_answer_inside_a_nested_workflow_does_not_begin_the_outer_one_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(
                sequence(step("upper"), step("middle", "workflow"), step("exclaim")),
                middle=sequence(step("inner", "workflow")),
                inner=sequence(step("exclaim", id="before"), ask()),
            )
            record = await run(platform, flow)
            (task,) = (await open_tasks(platform, record.id)).values()
            record = await answer(platform, task)
            assert (record.status, record.output_text) == ("completed", "TEA!!")
            assert calls("upper", record.id) == 1
            assert (await kinds(platform, record.id)).count("run_created") == 1

    asyncio.run(story())


def test_recovery_does_not_begin_finished_branches_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            FAILURES["recovered"] = 1
            record = await run(platform, plan(at_once(step("upper"), step("moody"))), "recovered")
            assert record.status == "failed"
            await platform.continue_run(record.id)
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            assert (record.status, record.output_text) == ("completed", "RECOVERED\n\nrecovered at last")
            assert (calls("upper", record.id), calls("moody", record.id)) == (1, 2)

    asyncio.run(story())


def test_the_second_pause_inside_an_agent_made_of_a_workflow_is_reached(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(sequence(step("clerk", "agent"), step("exclaim")), clerk=sequence(ask("first"), ask("second")))
            record = await run(platform, flow)
            await answer(platform, (await open_tasks(platform, record.id))["first"], "one")
            record = await answer(platform, (await open_tasks(platform, record.id))["second"], "two")
            assert (record.status, record.output_text) == ("completed", "two!")

    asyncio.run(story())


def test_a_confirmation_reaches_the_agent_that_asked(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(
                at_once(step("anna", "agent"), step("bert", "agent")),
                anna=sequence(ask("annas"), step("exclaim", id="a")),
                bert=sequence(ask("berts"), step("upper", id="b")),
            )
            record = await run(platform, flow)
            tasks = await open_tasks(platform, record.id)
            await answer(platform, tasks["berts"], "for bert")
            record = await answer(platform, tasks["annas"], "for anna")
            assert record.output_text == "for anna!\n\nFOR BERT"

    asyncio.run(story())


def test_an_approval_needs_no_new_input(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(sequence(step("upper"), ask(), step("exclaim"))))
            (task,) = (await open_tasks(platform, record.id)).values()
            assert (await answer(platform, task)).output_text == "TEA!"

    asyncio.run(story())


def test_what_was_approved_is_done_and_done_once_even_when_it_is_retried(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            FAILURES["approved"] = 1
            flow = plan(sequence(step("upper"), ask(), step("moody", max_retries=1, backoff_seconds=0)))
            record = await run(platform, flow, "approved")
            (task,) = (await open_tasks(platform, record.id)).values()
            record = await answer(platform, task, "approved")
            assert (record.status, record.output_text) == ("completed", "approved at last")
            assert (calls("upper", record.id), calls("moody", record.id)) == (1, 2)
            assert (await kinds(platform, record.id)).count("human_asked") == 1

    asyncio.run(story())


def test_history_is_not_doubled_by_a_continuation(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            FAILURES["CONTINUED!"] = 1
            record = await run(platform, plan(sequence(step("exclaim"), step("upper"), step("moody"))), "continued")
            assert (record.status, await completed_steps(platform, record.id)) == ("failed", ["exclaim", "upper"])
            await platform.continue_run(record.id)
            await platform.run_to_rest(record.id, patience=PATIENCE)
            assert await completed_steps(platform, record.id) == ["exclaim", "upper", "moody"]

    asyncio.run(story())


def test_an_approval_is_not_lost_when_it_comes_with_data(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(sequence(ask(), step("exclaim"))))
            (task,) = (await open_tasks(platform, record.id)).values()
            response = HumanResponse(task.request.id, "approved", metadata={"ticket": {"number": 7}})
            await platform.answer(task.continuation_id, response)
            assert (await platform.run_to_rest(record.id, patience=PATIENCE)).output_text == "tea!"
            (answered,) = [
                one.event for one in await platform.events(record.id) if isinstance(one.event, ev.HumanAnswered)
            ]
            assert answered.metadata == {"ticket": {"number": 7}}

    asyncio.run(story())


def test_a_deadline_that_fires_after_the_answer_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(sequence(ask(ref="hurried"), ask("later")), {"hurried": {"timeout_seconds": 3600}})
            record = await run(platform, flow)
            (timer,) = await platform.store.due_timers(kinds=(TimerKind.HUMAN_DEADLINE,), now=FAR)
            await answer(platform, (await open_tasks(platform, record.id))["ask"])
            assert not await platform.fire(timer)
            assert (await platform.record(record.id)).status == "blocked"
            assert set(await open_tasks(platform, record.id)) == {"later"}

    asyncio.run(story())


def test_the_way_of_a_passed_deadline_is_taken(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            human = {"timeout_seconds": 3600, "on_timeout": "continue"}
            record = await run(platform, plan(sequence(ask(ref="patient"), step("exclaim")), {"patient": human}))
            (timer,) = await platform.store.due_timers(kinds=(TimerKind.HUMAN_DEADLINE,), now=FAR)
            assert await platform.fire(timer)
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            assert (record.status, record.output_text) == ("completed", "tea!")

    asyncio.run(story())


def test_looking_at_a_question_does_not_answer_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(sequence(ask())))
            before = await kinds(platform, record.id)
            for _ in range(3):
                assert len(await open_tasks(platform, record.id)) == 1
                assert (await platform.run_view(record.id))["status"] == "blocked"
                assert (await platform.result(record.id)).status == "paused"
            assert await kinds(platform, record.id) == before

    asyncio.run(story())


def test_a_parent_does_not_go_on_before_its_child_is_answered(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(
                at_once(step("asked", "workflow"), step("upper")),
                asked=sequence(ask(), step("exclaim", id="after")),
            )
            record = await run(platform, flow)
            assert (record.status, list(await completed_steps(platform, record.id))) == ("blocked", ["upper"])

    asyncio.run(story())


def test_counters_outlive_the_process_that_counted(tmp_path: Path) -> None:
    async def story() -> None:
        chat = {"type": "group-chat", "rounds": 3, "participants": [ask("ada"), ask("bob")]}
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(chat))
        asked = []
        for _ in range(6):
            async with opened(tmp_path) as platform:
                ((name, task),) = (await open_tasks(platform, record.id)).items()
                asked.append(name)
                record = await answer(platform, task)
        assert (record.status, asked) == ("completed", ["ada", "bob"] * 3)

    asyncio.run(story())


def test_a_store_that_comes_back_strands_no_run(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            first = await platform.start(Submission(plan(sequence(step("upper"), ask())), "left behind"))
        async with opened(tmp_path) as platform:
            record = await platform.run_to_rest(first.id, patience=PATIENCE)
            (task,) = (await open_tasks(platform, record.id)).values()
            await give(platform, task)
        async with opened(tmp_path) as platform:
            platform.start_worker()
            assert (await platform.run_to_rest(first.id, patience=PATIENCE)).output_text == "LEFT BEHIND"

    asyncio.run(story())


def test_a_platform_that_drains_takes_up_nothing_more(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, sound=False) as draining, opened(tmp_path) as other:
            draining.start_worker()
            record = await draining.start(Submission(plan(sequence(step("gated"), step("exclaim"))), "drained"))
            await GATES["drained"].wait()
            closing = asyncio.create_task(draining.close(timeout=5))
            waiting = await other.start(Submission(plan(sequence(step("upper"))), "not mine"))
            GATES["drained"].passable.set()
            assert await closing
            assert calls("upper", waiting.id) == 0
            assert (await other.run_to_rest(waiting.id, patience=PATIENCE)).output_text == "NOT MINE"
            assert (await other.run_to_rest(record.id, patience=PATIENCE)).output_text == "drained passed!"

    asyncio.run(story())
