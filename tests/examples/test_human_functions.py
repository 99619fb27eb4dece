"""What a person approved is published; what a person rejected is not."""

from examples.human_functions import draft_report, publish_report


def test_the_draft_names_what_it_is_about() -> None:
    assert draft_report("the launch") == "Draft report for: the launch"


def test_what_was_approved_is_published_as_it_was_read() -> None:
    assert publish_report("Draft report for: the launch") == "Published: Draft report for: the launch"


def test_a_rejection_is_never_published() -> None:
    assert publish_report("Rejected by human reviewer: too long") == (
        "Not published. Rejected by human reviewer: too long"
    )
    assert publish_report("Rejected by human reviewer: ") == "Not published. Rejected by human reviewer"
