import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kneo_serv.errors import InvalidRequestError
from kneo_serv.tools import load_callable, load_object, unsafe_import


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "kneo_import_sample"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "handlers.py").write_text(
        "from os import system as harmless_name\n"
        "from builtins import open as also_harmless\n"
        "LIMIT = 3\n"
        "shout = str\n"
        "def search(args): return 'found'\n"
    )
    (folder / "broken.py").write_text("import kneo_missing_library\n")
    (folder / "quits.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for module in [each for each in sys.modules if each.startswith(name)]:
        del sys.modules[module]


def test_a_function_is_found_by_its_dotted_path(package: str) -> None:
    assert load_callable(f"{package}.handlers.search")({}) == "found"
    assert load_callable(f"{package}.handlers.shout")(7) == "7"


def test_an_object_need_not_be_callable(package: str) -> None:
    assert load_object(f"{package}.handlers.LIMIT") == 3
    assert load_object(f"{package}.handlers.search")({}) == "found"


@pytest.mark.parametrize("name", ["handlers.harmless_name", "handlers.serch", "broken.search"])
def test_the_rules_for_objects_are_those_for_functions(package: str, name: str) -> None:
    with pytest.raises(InvalidRequestError):
        load_object(f"{package}.{name}")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("{}.handlers.serch", "Did you mean 'search'?"),
        ("{}.handlrs.search", "Did you mean 'handlers'?"),
        ("{}.handlers.search.run", "has a 'search', but only names at the top level"),
        ("{}.handlers.LIMIT", "it is a int, not a function"),
        ("{}.handlers:search", "Write '{}.handlers.search'."),
        ("{}.broken.search", "imports 'kneo_missing_library', which is not installed"),
        ("{}.quits.search", "raised SystemExit: 3"),
        ("kneo_no_such_package.search", "there is no module 'kneo_no_such_package'"),
        ("search", "no dotted import path"),
        ("", "no dotted import path"),
        ("a..b", "no dotted import path"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_with_a_hint(package: str, path: str, said: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        load_callable(path.format(package))
    assert said.format(package) in str(refused.value)


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "os.path.join",
        "subprocess.run",
        "builtins.eval",
        "eval",
        "__import__",
        " os.system",
        "pathlib.Path",
    ],
)
def test_what_reaches_past_the_process_is_refused(path: str) -> None:
    assert unsafe_import(path)
    with pytest.raises(InvalidRequestError, match="may not be called from a spec"):
        load_callable(path)


@pytest.mark.parametrize("path", ["osmosis.run", "my.os.system", "opener", "systems.sys"])
def test_a_name_that_only_resembles_an_unsafe_one_is_fine(path: str) -> None:
    assert not unsafe_import(path)


@pytest.mark.parametrize("name", ["harmless_name", "also_harmless"])
def test_an_unsafe_function_is_refused_under_any_name(package: str, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="may not be called from a spec"):
        load_callable(f"{package}.handlers.{name}")
