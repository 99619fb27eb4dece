"""Branches that nobody waits for any more, lists of any length, and values beside the text."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import NotFoundError
from kneo_serv.model.task import HumanResponse, TaskStatus
from kneo_serv.platform.platform import Submission
from tests.platform.functions import GATES, calls
from tests.platform.test_many_people import answer, ask, completed_steps, open_tasks, plan, sequence
from tests.platform.worlds import PATIENCE, opened, run, step


def race(*participants: dict[str, Any], join: Any = "any", **more: Any) -> dict[str, Any]:
    return {"type": "concurrent", "participants": list(participants), "join": join, "aggregation": "concat", **more}


def test_the_first_branch_to_finish_ends_the_race_and_the_others_are_cancelled(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(
                sequence(step("race", "workflow"), step("exclaim")), race=race(step("gated_async"), step("upper"))
            )
            record = await platform.start(Submission(flow, "raced"), hold=True)
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            assert (record.status, record.output_text) == ("completed", "RACED!")
            assert await asyncio.to_thread(GATES["raced"].cancelled.wait, 10)
            assert "gated_async" not in await completed_steps(platform, record.id)

    asyncio.run(story())


def test_a_question_that_nobody_needs_answered_is_withdrawn(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(
                sequence(step("race", "workflow"), ask("later")), race=race(ask("left"), ask("right"), ask("third"))
            )
            record = await run(platform, flow)
            tasks = await open_tasks(platform, record.id)
            record = await answer(platform, tasks["right"], "fastest")
            assert set(await open_tasks(platform, record.id)) == {"later"}
            late = tasks["left"]
            with pytest.raises(NotFoundError):
                await platform.answer(late.continuation_id, HumanResponse(late.request.id, "approved"))
            closed = await platform.store.get_task(tasks["left"].continuation_id)
            assert closed is not None
            assert closed.status is TaskStatus.CANCELLED
            later = (await open_tasks(platform, record.id))["later"]
            assert (await answer(platform, later)).output_text == "fastest"

    asyncio.run(story())


def test_two_of_three_are_enough_where_the_join_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(race(ask("a"), ask("b"), ask("c"), join={"n_of": 2})))
            tasks = await open_tasks(platform, record.id)
            record = await answer(platform, tasks["c"], "C")
            assert record.status == "blocked"
            record = await answer(platform, tasks["a"], "A")
            assert (record.status, record.output_text) == ("completed", "A\n\nC")

    asyncio.run(story())


def test_no_more_branches_are_at_work_at_once_than_allowed(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(race(step("gated", id="one"), step("gated", id="two"), join="all", max_concurrency=1))
            record = await platform.start(Submission(flow, "one by one"), hold=True)
            await GATES["one by one"].wait()
            assert calls("gated", record.id) == 1
            GATES["one by one"].passable.set()
            assert (await platform.run_to_rest(record.id, patience=PATIENCE)).status == "completed"
            assert calls("gated", record.id) == 2

    asyncio.run(story())


def test_a_map_of_two_hundred_items_keeps_their_order(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            mapped = {"id": "each", "kind": "map", "step": {"kind": "function", "ref": "exclaim"}}
            items = [f"item {number}" for number in range(200)]
            record = await run(platform, plan(sequence(mapped)), json.dumps(items))
            assert record.status == "completed"
            assert json.loads(record.output_text or "") == [f"{item}!" for item in items]
            assert calls("exclaim", record.id) == 200

    asyncio.run(story())


def test_a_variable_takes_what_a_step_says_and_fills_the_input_of_a_later_one(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = sequence(
                step("upper", output="loud"),
                step("exclaim"),
                step("exclaim", id="told", input="{{ variables.loud }} or {{ text }} from {{ input }}"),
            )
            record = await run(platform, plan({**flow, "variables": {"loud": {"type": "string"}}}))
            assert record.output_text == "TEA or TEA! from tea!"

    asyncio.run(story())


def test_a_text_that_does_not_fit_its_variable_fails_the_step_by_name(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = sequence(step("upper", output="count"))
            record = await run(platform, plan({**flow, "variables": {"count": {"type": "integer"}}}))
            assert (record.status, record.error_type) == ("failed", "variable_type")
            assert "count" in (record.error_message or "")

    asyncio.run(story())
