import time

import pytest

from kneo_serv.tools.hosts import UNREADABLE, hosts_in, matches


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.com",
        "HTTPS://EVIL.COM/x?y#z",
        "  https://evil.com  ",
        "https://evil.com.",
        "https://evil.com:8443/x",
        "https://good.com@evil.com/",
        "https://good.com:pw@evil.com/",
        "https://evil.com#@good.com",
        "https://evil.com?@good.com",
        "https://evil.com\\@good.com",
        "//evil.com/x",
        "\\\\evil.com\\x",
        "/\\evil.com",
        "https:evil.com",
        "https:/evil.com",
        "https:\\\\evil.com",
        "https:////evil.com",
        "https:// evil.com",
        "ht\ntps://ev\til.com",
        "https://\u200bevil.com",
        "https://\uff45\uff56\uff49\uff4c\u3002com",
        "https://%65vil.com",
        "'https://evil.com'",
        "<https://evil.com>",
        "ftp://evil.com",
        "custom+x://evil.com/",
        "view-source:https://evil.com",
    ],
)
def test_no_spelling_of_an_address_hides_its_host(text: str) -> None:
    assert "evil.com" in hosts_in(text).addressed


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("http://[::1]:80/", "::1"),
        ("http://[0:0:0:0:0:0:0:1]/", "::1"),
        ("http://[::ffff:127.0.0.1]/", "127.0.0.1"),
        ("http://[fe80::1%25eth0]/", "fe80::1"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://0177.0.0.1/", "127.0.0.1"),
        ("https://bücher.example/", "xn--bcher-kva.example"),
        ("file:///etc/passwd", UNREADABLE),
        ("https://[::1", UNREADABLE),
        ("https://evil.c\u2100.good.com/", UNREADABLE),
        ("https://" + "a" * 300, UNREADABLE),
    ],
)
def test_each_host_has_one_spelling(text: str, host: str) -> None:
    assert hosts_in(text).addressed == (host,)


@pytest.mark.parametrize(
    "text", ["", "no address", "// a comment", "a//b.com/c", "mailto:a@b.com", "12:30", "C:\\temp"]
)
def test_other_texts_name_no_host(text: str) -> None:
    assert hosts_in(text).mentioned == ()


def test_prose_mentions_addresses_without_being_one() -> None:
    named = hosts_in("Read https://a.com, (https://b.com) or\nhttps://c.com.")
    assert named.addressed == ()
    assert set(named.mentioned) == {"a.com", "b.com", "c.com"}


def test_every_address_of_a_list_counts() -> None:
    assert hosts_in("https://a.com\nhttps://b.com https://c.com").addressed == ("a.com", "b.com", "c.com")


@pytest.mark.parametrize("separator", [",", ", ", ";", "|", " ", "\t"])
def test_no_separator_of_a_list_hides_a_host(separator: str) -> None:
    assert {"a.com", "b.com"} <= set(hosts_in(f"https://a.com{separator}https://b.com").addressed)
    assert {"a.com", "b.com"} <= set(hosts_in(f"See https://a.com{separator}https://b.com").mentioned)


def test_a_letter_that_standards_spell_differently_is_not_trusted() -> None:
    assert hosts_in("https://stra\u00dfe.example").addressed == (UNREADABLE,)


def test_a_line_break_inside_a_host_does_not_shorten_it() -> None:
    assert hosts_in("https://good.com\n.evil.com/").addressed == ("good.com.evil.com",)


@pytest.mark.parametrize(
    "text", ["https://good.com/?next=https://evil.com", "https://good.com/?u=https%3A%2F%2Fevil.com"]
)
def test_an_address_inside_an_address_is_mentioned_but_is_not_where_the_text_leads(text: str) -> None:
    assert hosts_in(text).addressed == ("good.com",)
    assert "evil.com" in hosts_in(text).mentioned


@pytest.mark.parametrize(
    ("host", "rule", "covered"),
    [
        ("example.com", "example.com", True),
        ("api.example.com", "Example.COM.", True),
        ("api.example.com", "*.example.com", True),
        ("example.com", "https://example.com:443/", True),
        ("notexample.com", "example.com", False),
        ("example.com.evil.com", "example.com", False),
        ("example.com", "api.example.com", False),
        ("::1", "::1", True),
        ("::1", "[0:0::1]", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("anything.example", "*", True),
        (UNREADABLE, "*", False),
        (UNREADABLE, "", False),
    ],
)
def test_a_rule_covers_a_host_and_its_subdomains(host: str, rule: str, covered: bool) -> None:
    assert (matches(host, [rule]) is not None) is covered


@pytest.mark.parametrize(
    "text",
    [
        "a-" * 100_000,
        "\n" * 200_000 + "https:",
        "/" * 200_000,
        "http:/ " * 30_000,
        "//a@" * 50_000,
        "x:\\\\" * 50_000,
        "https://" * 30_000,
    ],
)
def test_hostile_texts_are_read_in_linear_time(text: str) -> None:
    begin = time.process_time()
    hosts_in(text)
    assert time.process_time() - begin < 2
