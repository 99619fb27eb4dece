"""How large requests may be."""

from dataclasses import asdict

import pytest

from kneo_serv.errors import SettingsError
from kneo_serv.service.limits import RequestLimits


def test_the_bounds_are_those_of_the_contract_unless_they_are_set() -> None:
    assert asdict(RequestLimits.from_env({"KNEO_SERV_MAX_INPUT_CHARS": "", "KNEO_SERV_MAX_PATH_CHARS": " "})) == {
        "max_body_bytes": 1_048_576,
        "max_head_bytes": 65_536,
        "max_input_chars": 20_000,
        "max_human_content_chars": 20_000,
        "max_inline_spec_bytes": 262_144,
        "max_overrides_bytes": 65_536,
        "max_metadata_bytes": 32_768,
        "max_list_items": 100,
        "max_path_chars": 4_096,
    }


@pytest.mark.parametrize("name", list(asdict(RequestLimits())))
def test_each_is_set_by_its_variable(name: str) -> None:
    variable = f"KNEO_SERV_{name.upper()}"
    assert asdict(RequestLimits.from_env({variable: " 7 "}))[name] == 7
    for bad in ("0", "-1", "1.5", "many", "٣", "9" * 40):
        with pytest.raises(SettingsError, match=f"^{variable}: "):
            RequestLimits.from_env({variable: bad})
