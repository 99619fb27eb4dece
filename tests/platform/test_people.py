import asyncio
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import (
    DecisionNotAllowedError,
    HumanTaskExpiredError,
    LockAcquisitionError,
    NotFoundError,
    RequestIdMismatchError,
)
from kneo_serv.model.run import Phase
from kneo_serv.model.task import HumanResponse, TaskStatus
from tests.platform.functions import GATES, calls
from tests.platform.worlds import PATIENCE, answer, kinds, opened, person, plan, run, step, task_of, without_legs


def test_a_run_rests_at_its_person_and_goes_on_after_the_answer(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(step("upper"), person(), step("exclaim"))
            record = await run(platform, flow)
            assert (record.status, record.phase, record.lease_owner) == ("blocked", Phase.WAITING_HUMAN, None)
            result = await platform.result(record.id)
            task = await task_of(platform, record.id)
            assert (result.status, result.output_text, result.continuation_id) == ("paused", None, task.continuation_id)
            assert (task.input_text, task.step_id) == ("TEA", "ask")
            record = await answer(platform, record.id)
            assert (record.status, record.output_text) == ("completed", "TEA!")
            assert (calls("upper", record.id), calls("exclaim", record.id)) == (1, 1)
            assert without_legs(await kinds(platform, record.id)) == [
                "run_created", "step_started", "step_completed", "human_asked", "human_answered", "step_completed",
                "step_started", "step_completed", "run_completed",
            ]  # fmt: skip

    asyncio.run(story())


@pytest.mark.parametrize(
    ("human", "response", "output"),
    [
        ({}, {"decision": "approved", "content": "ignored"}, "tea!"),
        ({}, {"decision": "rejected", "content": "too hot"}, "Rejected by human reviewer: too hot!"),
        ({"request_type": "review"}, {"decision": "edited", "content": "coffee"}, "coffee!"),
        ({"request_type": "freeform"}, {"decision": "provided", "content": "milk"}, "milk!"),
        (
            {"request_type": "selection", "options": ["black", "green"]},
            {"decision": "selected", "selected_option": "green"},
            "green!",
        ),
    ],
)
def test_each_decision_hands_its_text_to_the_next_step(
    tmp_path: Path, human: dict[str, Any], response: dict[str, Any], output: str
) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(person(**human), step("exclaim")))
            assert (await answer(platform, record.id, **response)).output_text == output

    asyncio.run(story())


@pytest.mark.parametrize(
    ("human", "response"),
    [
        ({}, {"decision": "shrug"}),
        ({}, {"decision": "provided", "content": "x"}),
        ({"request_type": "review"}, {"decision": "edited", "content": " "}),
        ({"request_type": "review"}, {"decision": "edited"}),
        ({"request_type": "selection", "options": ["a"]}, {"decision": "selected", "selected_option": "b"}),
        ({"request_type": "review"}, {"decision": "edited", "content": "write to [REDACTED_EMAIL]"}),
    ],
)
def test_an_answer_that_the_task_does_not_take_changes_nothing(
    tmp_path: Path, human: dict[str, Any], response: dict[str, Any]
) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(person(**human), step("exclaim")))
            with pytest.raises(DecisionNotAllowedError):
                await answer(platform, record.id, **response)
            assert (await platform.record(record.id)).seq == record.seq
            assert (await task_of(platform, record.id)).status is TaskStatus.OPEN

    asyncio.run(story())


def test_a_placeholder_that_stands_in_the_real_text_may_stay_in_the_edit(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(person(request_type="review"), step("exclaim")), "see [REDACTED_EMAIL]")
            record = await answer(platform, record.id, "edited", "look at [REDACTED_EMAIL]")
            assert record.output_text == "look at [REDACTED_EMAIL]!"

    asyncio.run(story())


def test_an_answer_to_another_request_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(person(), step("exclaim")))
            task = await task_of(platform, record.id)
            with pytest.raises(RequestIdMismatchError):
                await platform.answer(task.continuation_id, HumanResponse("req_other", "approved"))
            assert calls("exclaim", record.id) == 0

    asyncio.run(story())


def test_of_many_answers_at_once_one_counts_and_the_others_are_told_who_was_first(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform, opened(tmp_path) as other:
            record = await run(platform, plan(person(), step("gated")), "many answers")
            task = await task_of(platform, record.id)
            response = HumanResponse(task.request.id, "approved")
            answers = await asyncio.gather(
                *(side.answer(task.continuation_id, response) for side in (platform, other) * 4),
                return_exceptions=True,
            )
            assert [one for one in answers if isinstance(one, str)] == [record.id]
            assert sum(isinstance(one, LockAcquisitionError) for one in answers) == 7
            leg = asyncio.create_task(platform.run_to_rest(record.id, patience=PATIENCE))
            await GATES["many answers"].wait()
            with pytest.raises(LockAcquisitionError):
                await other.answer(task.continuation_id, response)
            GATES["many answers"].passable.set()
            assert (await leg).status == "completed"
            for side in (platform, other):
                with pytest.raises(NotFoundError):
                    await side.answer(task.continuation_id, response)
            assert calls("gated", record.id) == 1
            assert (await kinds(platform, record.id)).count("human_answered") == 1

    asyncio.run(story())


def test_an_answer_is_taken_while_a_sibling_branch_is_at_work(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(step("gated"), person(), order="concurrent")
            started = asyncio.create_task(run(platform, flow, "a busy sibling"))
            await GATES["a busy sibling"].wait()
            (task,) = await platform.store.list_tasks()
            assert (await platform.record(task.run_id)).status == "running"
            await platform.answer(task.continuation_id, HumanResponse(task.request.id, "approved"))
            assert "human_answered" in await kinds(platform, task.run_id)
            GATES["a busy sibling"].passable.set()
            assert (await started).status == "completed"
            assert calls("gated", task.run_id) == 1

    asyncio.run(story())


def test_an_answer_after_the_deadline_is_refused_even_before_anybody_prunes(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(person(timeout_seconds=0.001), step("exclaim")))
            await asyncio.sleep(0.005)
            with pytest.raises(HumanTaskExpiredError):
                await answer(platform, record.id)

    asyncio.run(story())


def test_an_unknown_task_is_not_found(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            with pytest.raises(NotFoundError):
                await platform.answer("cont_nothing", HumanResponse("req_x", "approved"))  # type: ignore[arg-type]

    asyncio.run(story())
