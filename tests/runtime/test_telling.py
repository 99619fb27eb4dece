from kneo_serv.runtime.telling import Telling


def test_a_first_attempt_needs_no_word_about_earlier_ones() -> None:
    heard: list[str] = []
    telling = Telling(heard.append)
    telling.begin()
    telling.tell("Tea")
    telling.tell("")
    telling.tell(" is hot.")
    telling.finish("Tea is hot.")

    assert heard == ["Tea", " is hot."]


def test_an_attempt_after_another_makes_void_what_came_of_it() -> None:
    heard: list[str] = []
    telling = Telling(heard.append)
    telling.tell("Te")
    telling.begin()
    telling.begin()
    telling.tell("Milk")
    telling.finish("Milk")

    assert heard == ["Te", "", "Milk"]


def test_what_no_piece_brought_is_told_in_the_end() -> None:
    heard: list[str] = []
    telling = Telling(heard.append)
    telling.tell("I ")
    telling.finish("I will not.")

    assert heard == ["I ", "will not."]


def test_an_answer_that_turns_out_differently_is_told_anew() -> None:
    heard: list[str] = []
    telling = Telling(heard.append)
    telling.tell("<think>hm</think>")
    telling.finish("Tea.")

    assert heard == ["<think>hm</think>", "", "Tea."]
