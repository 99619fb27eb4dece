"""Documents from texts: what is read, what is refused, and where the fault is said to be."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kneo_serv.errors import SpecParseError
from kneo_serv.spec.node import Limits, SourceMap
from kneo_serv.spec.reader import dump_yaml, read_data, read_file, read_text


def refusal(text: str | bytes, *, json: bool = False, limits: Limits | None = None) -> SpecParseError:
    with pytest.raises(SpecParseError) as caught:
        read_text(text, source="spec.yaml", json=json, limits=limits)
    return caught.value


@pytest.mark.parametrize(
    ("text", "words", "line", "column"),
    [
        ("", "empty", 1, 1),
        ("# only a comment\n", "empty", 1, 1),
        ("- a\n- b\n", "this is a list", 1, 1),
        ("just words", "this is a single value", 1, 1),
        ("a: 1\n---\nb: 2\n", "a second one begins here", 2, 1),
        ("a: 1\nb: 2\na: 3\n", "stands here and in line 1 already", 3, 1),
        ("a: [1, 2\nb: 3\n", "Not valid YAML", 2, 2),
        ("a:\n  b: 1\n c: 2\n", "Not valid YAML", 3, 2),
        ("on: true\n", "the truth value true; write it in quotes", 1, 1),
        ("a: 1\n5: b\n", "a number; write it in quotes", 2, 1),
        ("~: b\n", "nothing (null); write it in quotes", 1, 1),
        ("? [a, b]\n: c\n", "cannot be a key", 1, 3),
        ("a: !!python/object/apply:os.system [x]\n", "`!!python/object/apply:os.system` is not allowed", 1, 4),
        ("a: !mine x\n", "`!mine` is not allowed", 1, 4),
        ("a: !!binary aGk=\n", "`!!binary` is not allowed", 1, 4),
        ("a: &x [*x]\n", "holds itself", 1, 8),
        ("a: *nobody\n", "marked `&nobody`", 1, 4),
        ("a: .inf\n", "no finite number", 1, 4),
        ("a: .nan\n", "no finite number", 1, 4),
        ("a: b\x00c\n", "U+0000", 1, 5),
        ("a: 1\nb: \x1b[31m\n", "U+001B", 2, 4),
        ("a: \ud800\n", "lone surrogate", 1, 4),
        ("a: 1\n<<: 5\n", "`<<` takes a mapping", 2, 5),
        ("%YAML 9.0\n---\na: 1\n", "Not valid YAML", 1, 1),
    ],
)
def test_a_text_that_is_no_spec_is_refused_with_its_place(text: str, words: str, line: int, column: int) -> None:
    error = refusal(text)
    assert words in str(error)
    assert (error.source, error.line, error.column) == ("spec.yaml", line, column)


@pytest.mark.parametrize(
    ("content", "words", "line", "column"),
    [
        ("a: é".encode("latin-1"), "0xe9 is no UTF-8", 1, 4),
        ("a: 1\nb: é".encode("latin-1"), "0xe9 is no UTF-8", 2, 4),
        ("a: 1".encode("utf-16"), "UTF-16; save it as UTF-8", 1, 1),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "no UTF-8", 1, 1),
        (b"a: 1\x00", "U+0000", 1, 5),
    ],
)
def test_bytes_that_are_no_text_are_refused(content: bytes, words: str, line: int, column: int) -> None:
    error = refusal(content)
    assert words in str(error)
    assert (error.line, error.column) == (line, column)


def test_a_utf8_mark_at_the_start_does_no_harm() -> None:
    assert read_text(b"\xef\xbb\xbfa: 1").data() == {"a": 1}


def test_an_alias_bomb_is_refused_fast() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)]
    begun = time.perf_counter()
    error = refusal("\n".join(lines))
    assert "with aliases written out" in str(error)
    assert time.perf_counter() - begun < 1


def test_an_alias_bomb_of_merge_keys_is_refused_fast() -> None:
    lines = ["a0: &a0 {" + ", ".join(f"k{n}: x" for n in range(50)) + "}"]
    lines += [f"a{n}: &a{n} {{c: {{<<: *a{n - 1}}}, d: {{<<: *a{n - 1}}}, e: *a{n - 1}}}" for n in range(1, 12)]
    assert "with aliases written out" in str(refusal("\n".join(lines)))


def test_a_chain_of_aliases_cannot_pass_the_depth() -> None:
    lines = ["a0: &a0 x"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 100)]
    assert "Nested deeper than 64 levels" in str(refusal("\n".join(lines)))


def test_deep_nesting_is_refused_in_both_languages() -> None:
    assert "Nested deeper than 64" in str(refusal("a: " + "[" * 100_000))
    assert "Nested deeper than 64" in str(refusal("[" * 100_000, json=True))
    assert "Nested deeper than 64" in str(refusal("\n".join(" " * n + "a:" for n in range(100))))


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: " + "[" * 70, 1, 67),
        ("a:\n  b: " + "{c: " * 70, 2, 254),
        ("\n".join(" " * n + "a:" for n in range(100)), 65, 65),
    ],
)
def test_what_is_nested_too_deep_is_refused_where_it_begins(text: str, line: int, column: int) -> None:
    error = refusal(text)
    assert str(error).endswith("Nested deeper than 64 levels.")
    assert (error.line, error.column) == (line, column)


def test_what_is_nested_far_too_deep_is_refused_with_a_place_inside() -> None:
    # Some versions of the library look far ahead, and refuse this by themselves in words of their own.
    for deep in ("[" * 100_000, "{a: " * 100_000, "- " * 100_000):
        error = refusal("b: 1\na:\n  " + deep)
        assert str(error).endswith("Nested deeper than 64 levels.")
        assert error.line == 3
        assert error.column is not None
        assert error.column > 64


def test_limits_are_kept() -> None:
    assert "more than 10 bytes" in str(refusal("a: 1234567890", limits=Limits(max_bytes=10)))
    assert "More than 5 values" in str(refusal("a: [1, 2, 3, 4, 5, 6]", limits=Limits(max_nodes=5)))
    assert "More than 5 values" in str(refusal('{"a": [1, 2, 3, 4, 5, 6]}', json=True, limits=Limits(max_nodes=5)))
    assert "more than 4 characters" in str(refusal("a: 12345x", limits=Limits(max_scalar=4)))
    assert "More than 2 aliases" in str(refusal("a: &a 1\nb: [*a, *a, *a]", limits=Limits(max_aliases=2)))


def test_a_file_is_never_read_beyond_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"a: x\n" * 300_000)
    with pytest.raises(SpecParseError, match="more than 1048576 bytes"):
        read_file(path)


def test_scalars_are_read_as_yaml_does_and_odd_ones_stay_text() -> None:
    document = read_text("a: 1\nb: yes\nc: ~\nd: 1.5\ne: 2026-05-01\nf: 2026-99-99\ng: '5'\nh: 0x1F\ni: 1_000\nj:\n")
    assert document.data() == {
        "a": 1,
        "b": True,
        "c": None,
        "d": 1.5,
        "e": "2026-05-01",
        "f": "2026-99-99",
        "g": "5",
        "h": 31,
        "i": 1000,
        "j": None,
    }


def test_a_number_too_long_for_a_number_stays_text() -> None:
    digits = "9" * 5000
    assert read_text(f"a: {digits}").data() == {"a": digits}


def test_merge_keys_fill_what_is_not_written() -> None:
    document = read_text("base: &base {x: 1, y: 2}\nmore: &more {z: 3}\nboth: {<<: [*base, *more], y: 9}\n")
    assert document.data()["both"] == {"y": 9, "x": 1, "z": 3}


def test_aliases_give_copies_and_not_shared_values() -> None:
    data = read_text("a: &x [1]\nb: *x\n").data()
    data["a"].append(2)
    assert data["b"] == [1]


def test_every_path_has_its_place() -> None:
    document = read_text("agent:\n  name: a\n  tools: [x, y]\nworkflow:\n  steps:\n    - id: one\n")
    source = SourceMap([document])
    places = {
        ("agent",): (1, 1),
        ("agent", "name"): (2, 9),
        ("agent", "tools"): (3, 3),
        ("agent", "tools", 1): (3, 14),
        ("workflow", "steps", 0, "id"): (6, 11),
        ("workflow", "steps", 0, "ref"): (6, 7),
        ("nothing",): (1, 1),
    }
    found = {path: (source.locate(path).line, source.locate(path).column) for path in places}
    assert found == places


def test_the_key_of_an_alias_points_at_its_use() -> None:
    source = SourceMap([read_text("a: &x {b: 1}\nc: *x\n")])
    assert source.locate(("c",)).line == 2
    assert source.locate(("c", "b")).line == 1


def test_json_is_read_with_places() -> None:
    document = read_text('{"a": [1, 2.5e3, {"b": "x\\n\\ud83d\\ude00"}, [], {}],\n "c": null, "d": -0.5}', json=True)
    assert document.data() == {"a": [1, 2500.0, {"b": "x\n😀"}, [], {}], "c": None, "d": -0.5}
    assert SourceMap([document]).locate(("c",)).line == 2


@pytest.mark.parametrize(
    ("text", "words", "line", "column"),
    [
        ("", "empty", 1, 1),
        ('{"a": 1,\n "a": 2}', "stands here and in line 1 already", 2, 2),
        ('{"a": 1,}', "a key in double quotes", 1, 9),
        ('{"a" 1}', "a colon", 1, 6),
        ('{"a": [1 2]}', "`,` or `]`", 1, 10),
        ('{"a": [1,]}', "a value was expected", 1, 10),
        ('{"a": nul}', "a value was expected", 1, 7),
        ('{"a": NaN}', "a value was expected", 1, 7),
        ('{"a": 1e999}', "too large", 1, 7),
        ('{"a": "b', "unterminated string", 1, 7),
        ('{"a": "\\ud800"}', "lone surrogate", 1, 7),
        ('{"a": 1} {', "follows the end", 1, 10),
        ("{", "a key in double quotes", 1, 2),
        ("{'a': 1}", "a key in double quotes", 1, 2),
        ("[1]", "this is a list", 1, 1),
    ],
)
def test_a_text_that_is_no_json_spec_is_refused_with_its_place(text: str, words: str, line: int, column: int) -> None:
    error = refusal(text, json=True)
    assert words in str(error)
    assert (error.line, error.column) == (line, column)


def test_the_suffix_says_which_language_a_file_is_in(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1e2}')
    (tmp_path / "a.yaml").write_text("a: [x]")
    assert read_file(tmp_path / "a.json").data() == {"a": 100.0}
    assert read_file(tmp_path / "a.yaml").data() == {"a": ["x"]}
    (tmp_path / "b.json").write_text("a: 1")
    with pytest.raises(SpecParseError, match="Not valid JSON"):
        read_file(tmp_path / "b.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no spec file .*nowhere\.yaml"):
        read_file(tmp_path / "nowhere.yaml")
    with pytest.raises(SpecParseError, match="cannot be read"):
        read_file(tmp_path)


def test_plain_mappings_have_the_same_bounds() -> None:
    endless: dict[str, object] = {}
    endless["a"] = endless
    for bad in (endless, {"a": object()}, {1: "a"}, {"a": float("nan")}, {"a": "\ud800"}, {"a": [b"x"]}):
        with pytest.raises(SpecParseError):
            read_data(bad)  # type: ignore[arg-type]
    assert read_data({"a": (1, 2)}) == {"a": [1, 2]}


def test_what_is_dumped_reads_back() -> None:
    data = {"version": "v1", "b": ["yes", "1", "é", "a: b", None, 1.5], "a": {"x": "2026-01-01"}}
    assert read_text(dump_yaml(data)).data() == data


_YAML_BITS = st.lists(
    st.sampled_from(
        ["a", "b: ", "- ", "[", "]", "{", "}", "&x ", "*x", "<<: ", "\n", "  ", "!!int ", "'", '"', "1", "|", ">"]
    )
    | st.text(max_size=5)
).map("".join)


@settings(max_examples=300, deadline=None)
@given(_YAML_BITS | st.text() | st.binary())
def test_garbage_is_read_or_refused_and_nothing_else(text: str | bytes) -> None:
    for json in (False, True):
        try:
            data = read_text(text, json=json).data()
        except SpecParseError:
            continue
        assert isinstance(data, dict)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda child: st.lists(child) | st.dictionaries(st.text(st.characters(codec="utf-8")), child),
    max_leaves=20,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), _JSON))
def test_json_is_read_as_the_standard_library_does(data: dict[str, object]) -> None:
    import json

    text = json.dumps(data)
    assert read_text(text, json=True).data() == json.loads(text)
