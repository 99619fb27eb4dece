"""Quick records behave as the frozen dataclasses that they are."""

import dataclasses
from dataclasses import dataclass, field

import pytest

from kneo_serv.model.quick import quick, replace


@quick
@dataclass(frozen=True, slots=True)
class Parcel:
    name: str
    weight: float = 1.5
    marks: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plain:
    name: str
    weight: float = 1.5
    marks: dict[str, int] = field(default_factory=dict)


def test_a_quick_record_takes_its_fields_by_place_and_by_name() -> None:
    assert Parcel("a", 2.0, {"x": 1}) == Parcel(marks={"x": 1}, weight=2.0, name="a")
    assert repr(Parcel("a")) == "Parcel(name='a', weight=1.5, marks={})"


def test_each_quick_record_has_defaults_of_its_own() -> None:
    assert Parcel("a").marks is not Parcel("b").marks


def test_a_missing_or_unknown_field_is_refused_as_in_any_dataclass() -> None:
    with pytest.raises(TypeError, match="name"):
        Parcel()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="colour"):
        Parcel("a", colour="red")  # type: ignore[call-arg]


def test_a_replaced_record_leaves_the_old_one_as_it_was() -> None:
    parcel = Parcel("a", marks={"x": 1})
    other = replace(parcel, weight=3.0)
    assert (parcel.weight, other.weight) == (1.5, 3.0)
    assert other.marks is parcel.marks
    assert other == dataclasses.replace(parcel, weight=3.0)


def test_no_field_can_be_replaced_that_is_not_there() -> None:
    with pytest.raises((AttributeError, TypeError), match="colour"):
        replace(Parcel("a"), colour="red")  # type: ignore[call-arg]
    with pytest.raises((AttributeError, TypeError), match="colour"):
        replace(Plain("a"), colour="red")  # type: ignore[call-arg]


def test_records_that_are_not_quick_are_replaced_all_the_same() -> None:
    assert replace(Plain("a"), weight=2.0) == Plain("a", 2.0)


def test_only_frozen_records_that_do_nothing_else_are_made_quick() -> None:
    @dataclass(slots=True)
    class Open:
        name: str

    @dataclass(frozen=True, slots=True)
    class Busy:
        name: str

        def __post_init__(self) -> None:
            print(self.name)

    with pytest.raises(TypeError, match="no frozen dataclass"):
        quick(Open)
    with pytest.raises(TypeError, match="more than to set its fields"):
        quick(Busy)
