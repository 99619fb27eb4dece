from dataclasses import replace

import pytest

from kneo_serv.errors import InvalidRequestError, ToolPolicyViolation
from kneo_serv.middleware import ToolPolicyMiddleware
from kneo_serv.model.tool import ToolPolicy
from tests.middleware.calls import call, done, giving


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (ToolPolicy(deny=("search",)), "deny list"),
        (ToolPolicy(allow=("search",), deny=("search",)), "deny list"),
        (ToolPolicy(allow=("read",)), "not on the allow list"),
        (ToolPolicy(network=False), "needs network, which this platform switches off"),
    ],
)
def test_a_call_against_the_policy_never_reaches_the_tool(policy: ToolPolicy, reason: str) -> None:
    tool, called = giving("42")
    with pytest.raises(ToolPolicyViolation, match=reason) as caught:
        done(
            ToolPolicyMiddleware(policy).wrap_tool_call(replace(call(), metadata={"capabilities": ("network",)}), tool)
        )
    assert caught.value.tool_name == "search"
    assert called == []


@pytest.mark.parametrize("policy", [ToolPolicy(), ToolPolicy(allow=("search",)), ToolPolicy(shell=False, network=True)])
def test_a_call_within_the_policy_is_made(policy: ToolPolicy) -> None:
    tool, _ = giving("42")
    context = replace(call(), metadata={"capabilities": ("network",)})
    assert done(ToolPolicyMiddleware(policy).wrap_tool_call(context, tool)).output == "42"


def test_rules_that_it_cannot_keep_are_refused_rather_than_passed_over() -> None:
    with pytest.raises(InvalidRequestError, match=r"tools\.permissions"):
        ToolPolicyMiddleware(ToolPolicy(denied_domains=("example.com",)))
