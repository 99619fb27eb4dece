from kneo_serv.model.secret import Secrets

SECRETS = Secrets(
    {"TEAM_KEY": " canary \n", "BLANK": "  "}, provider_env={"openai": "TEAM_KEY"}, extra_env={"gateway": "TEAM_KEY"}
)


def test_a_name_stands_for_its_variable_or_for_itself() -> None:
    assert SECRETS.variable("gateway") == "TEAM_KEY"
    assert SECRETS.variable("OTHER") == "OTHER"


def test_a_value_comes_without_surrounding_space_and_blank_counts_as_unset() -> None:
    assert SECRETS.value("TEAM_KEY") == "canary"
    assert (SECRETS.value("BLANK"), SECRETS.value("MISSING")) == ("", "")


def test_no_text_form_of_secrets_holds_a_value() -> None:
    mistaken = Secrets({}, provider_env={"openai": "sk-canary"}, extra_env={"gateway": "sk-canary"})

    assert "canary" not in f"{SECRETS!r} {SECRETS} {mistaken!r}"
    assert repr(SECRETS) == "Secrets(provider_env=['openai'], extra_env=['gateway'])"
