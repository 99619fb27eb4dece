import asyncio

import pytest

from kneo_serv.observe import current_trace, trace_context, trace_scope

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_context_is_found_under_names_in_any_case() -> None:
    assert trace_context({"TRACEPARENT": PARENT, "TraceState": "a=1,b=2"}) == {
        "traceparent": PARENT,
        "tracestate": "a=1,b=2",
    }


def test_other_headers_and_baggage_are_not_taken_along() -> None:
    assert trace_context({"traceparent": PARENT, "baggage": "user=me", "cookie": "c"}) == {"traceparent": PARENT}


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        PARENT.upper(),
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"\u0660\u0660-{TRACE}-{SPAN}-01",
    ],
)
def test_a_malformed_parent_counts_as_none_and_takes_the_state_with_it(parent: str) -> None:
    assert trace_context({"traceparent": parent, "tracestate": "a=1"}) == {}


@pytest.mark.parametrize("parent", [f"cc-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-comes-later"])
def test_a_parent_of_a_later_version_is_read_as_far_as_this_one_goes(parent: str) -> None:
    assert trace_context({"traceparent": parent}) == {"traceparent": PARENT}


@pytest.mark.parametrize("state", ["", "a=1\nb: 2", "ä=1", "a=" + "x" * 600])
def test_a_state_that_cannot_be_sent_is_left_out(state: str) -> None:
    assert trace_context({"traceparent": PARENT, "tracestate": state}) == {"traceparent": PARENT}


def test_a_context_holds_for_the_tasks_that_are_made_in_its_scope() -> None:
    async def look() -> dict[str, str]:
        await asyncio.sleep(0)
        return dict(current_trace())

    async def story() -> None:
        with trace_scope({"traceparent": PARENT}):
            inside = asyncio.create_task(look())
        outside = asyncio.create_task(look())
        assert await inside == {"traceparent": PARENT}
        assert await outside == {}

    asyncio.run(story())
