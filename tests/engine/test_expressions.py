import pytest

from kneo_serv.engine.conditions import Sight, holds
from kneo_serv.engine.expressions import ExpressionError, is_true, listed
from kneo_serv.model.plan import Condition
from kneo_serv.model.task import Decision


def test_an_expression_sees_text_variables_and_decision() -> None:
    sight = Sight("forty", decision=Decision.APPROVED, variables={"amount": 40})
    assert holds(Condition("cel", "variables.amount > 30 && decision == 'approved' && text == 'forty'"), sight)
    assert not holds(Condition("cel", "variables.amount > 50"), sight)


def test_a_decision_is_a_condition_of_its_own() -> None:
    assert holds(Condition("decision_is", "rejected"), Sight("no", decision=Decision.REJECTED))
    assert not holds(Condition("decision_is", "rejected"), Sight("rejected"))


def test_an_expression_that_is_no_answer_is_named_with_its_fault() -> None:
    with pytest.raises(ExpressionError, match="not true or false"):
        is_true("1 + 1", {})
    with pytest.raises(ExpressionError, match="not a list"):
        listed("true", {})
    with pytest.raises(ExpressionError, match="nobody"):
        is_true("nobody > 1", {})


def test_an_expression_makes_a_list() -> None:
    assert listed("variables.items.filter(n, n > 1)", {"variables": {"items": [1, 2, 3]}}) == [2, 3]
