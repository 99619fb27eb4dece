import socket
from pathlib import Path

import pytest

from kneo_serv.errors import SettingsError
from kneo_serv.platform import PlatformManager
from kneo_serv.service.env_file import read_env_file
from kneo_serv.service.serve import ServeError, ServeOptions, serve


def never() -> PlatformManager:
    """Nothing is to be opened where nothing is served."""
    raise AssertionError


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KNEO_SERV_API_KEYS", "KNEO_SERV_ADMIN_API_KEY", "KNEO_SERV_AUTH_ENABLED", "KNEO_SERV_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1"])
def test_others_are_not_let_in_without_a_key_unless_that_is_meant(host: str) -> None:
    with pytest.raises(ServeError, match="--insecure"):
        serve(ServeOptions(host=host), make_manager=never)


def test_more_than_one_process_is_refused_on_sqlite_and_told_what_to_do_instead() -> None:
    with pytest.raises(ServeError, match="KNEO_SERV_WORKER_CONCURRENCY"):
        serve(ServeOptions(workers=2), make_manager=never)


def test_a_key_without_a_certificate_is_no_tls(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match="both"):
        serve(ServeOptions(ssl_keyfile=tmp_path / "key.pem"), make_manager=never)
    options = ServeOptions(ssl_keyfile=tmp_path / "key.pem", ssl_certfile=tmp_path / "cert.pem")
    with pytest.raises(ServeError, match=r"key\.pem cannot be read"):
        serve(options, make_manager=never)


def test_a_busy_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match=f"127.0.0.1:{port}"):
            serve(ServeOptions(port=port), make_manager=never)


def test_a_host_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServeError, match=r"no host 'nowhere\.invalid'"):
        serve(ServeOptions(host="nowhere.invalid", insecure=True), make_manager=never)


def test_auth_without_keys_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNEO_SERV_AUTH_ENABLED", "true")
    with pytest.raises(SettingsError, match="KNEO service auth is enabled but no API keys are configured"):
        serve(ServeOptions(), make_manager=never)


def test_an_env_file_is_read_as_shells_write_it(tmp_path: Path) -> None:
    file = tmp_path / "production.env"
    file.write_text(
        "\ufeff# a remark\n\n"
        "PLAIN=value\n"
        "export EXPORTED = spaced \n"
        "REMARK=value # not this\n"
        "EMPTY=\n"
        "ONLY=# a remark\n"
        "HASH=a#b\n"
        'QUOTED="a # b " # not this\n'
        "SINGLE='$HOME'\n"
        "EQUALS=a=b==\n"
        "KNEO_SERV_API_KEYS='operator:t:operator;viewer:u:viewer'\n"
        "PLAIN=last\r\n",
        encoding="utf-8",
    )
    assert read_env_file(file) == {
        "PLAIN": "last",
        "EXPORTED": "spaced",
        "REMARK": "value",
        "EMPTY": "",
        "ONLY": "",
        "HASH": "a#b",
        "QUOTED": "a # b ",
        "SINGLE": "$HOME",
        "EQUALS": "a=b==",
        "KNEO_SERV_API_KEYS": "operator:t:operator;viewer:u:viewer",
    }


@pytest.mark.parametrize("line", ["no equals sign secret", "9NAME=x", "NAME='open secret", "NAME='a' secret"])
def test_a_line_of_another_form_is_named_by_its_number_and_not_shown(tmp_path: Path, line: str) -> None:
    file = tmp_path / "bad.env"
    file.write_text(f"A=1\n{line}\n")
    with pytest.raises(SettingsError, match="line 2") as caught:
        read_env_file(file)
    assert "secret" not in str(caught.value)


def test_an_env_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.env: the file cannot be read"):
        read_env_file(tmp_path / "nothing.env")
