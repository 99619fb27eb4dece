"""Which providers of models there are, and what each of them needs. Light: no model library is imported here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec

DUMMY = "dummy"


@dataclass(frozen=True, slots=True)
class Provider:
    """One way to reach models over a network."""

    name: str
    """As `model.provider` of a spec says it."""
    opener: str
    """`module:function` that opens a model of this provider; imported at the first question."""
    libraries: tuple[str, ...]
    """Modules that must be there. They are looked for, and not imported, before the first question."""
    install: str
    """The command that installs them."""
    default_url: str
    """Its own address; empty where the address follows from other settings (a region)."""
    url_variable: str
    """The environment variable that names another address for all models of this provider."""
    own_hosts: str
    """Regular expression of the hosts that belong to the provider: its default key goes there."""
    key_variables: tuple[str, ...] = ()
    """Where its default key is looked for, in this order; the first one is named when none is set."""
    key_needed: bool = True
    credentials_needed: bool = True
    """It can be asked with credentials of some kind only; without `key_needed`, they are found elsewhere."""
    other_secrets: tuple[str, ...] = ()
    """Variables whose values must not be shown either."""
    also_needed: tuple[str, ...] = ()
    """Variables of which one must be set beside the key."""
    free: bool = False
    """It costs nothing by the token."""
    other_names: tuple[str, ...] = ()
    """Names that mean it as well."""
    hints: tuple[str, ...] = ()
    """Words that people write when they mean it; told as a suggestion, never taken."""
    filled_in: tuple[str, ...] = ()
    """Fields of a request that the platform fills in itself, so that `model.extra` must not hold them."""
    schema_beside_tools: bool = True
    """Its API takes a schema of the answer also where tools are on offer."""
    extra_fields: tuple[str, ...] | None = None
    """The only fields that `model.extra` may hold; None where the API's own fields are sent as they are."""

    @property
    def missing_libraries(self) -> str | None:
        """Says how to install the libraries when they are missing. Does not import them."""
        if all(_is_there(name) for name in self.libraries):
            return None
        return f"the libraries of provider {self.name!r} are not installed. Install them with: {self.install}"

    def owns(self, host: str) -> bool:
        """Whether a host is the provider's own."""
        return re.fullmatch(self.own_hosts, host) is not None


_CHAT_FIELDS = ("messages", "model", "n", "stream", "stream_options", "tools")

_TABLE = (
    Provider(
        "openai",
        opener="kneo_serv.runtime.openers:open_openai",
        libraries=("pydantic_ai", "openai"),
        install="pip install 'pydantic-ai-slim[openai]'",
        default_url="https://api.openai.com/v1",
        url_variable="OPENAI_BASE_URL",
        own_hosts=r"(?:[a-z]{2}\.)?api\.openai\.com",
        key_variables=("OPENAI_API_KEY",),
        other_names=("openai-agents",),
        hints=("chatgpt", "gpt"),
        filled_in=_CHAT_FIELDS,
    ),
    Provider(
        "openai-responses",
        opener="kneo_serv.runtime.openers:open_openai_responses",
        libraries=("pydantic_ai", "openai"),
        install="pip install 'pydantic-ai-slim[openai]'",
        default_url="https://api.openai.com/v1",
        url_variable="OPENAI_BASE_URL",
        own_hosts=r"(?:[a-z]{2}\.)?api\.openai\.com",
        key_variables=("OPENAI_API_KEY",),
        hints=("responses",),
        filled_in=("background", "input", "instructions", "model", "stream", "text", "tools"),
    ),
    Provider(
        "anthropic",
        opener="kneo_serv.runtime.openers:open_anthropic",
        libraries=("pydantic_ai", "anthropic"),
        install="pip install 'kneo-serv[anthropic]'",
        default_url="https://api.anthropic.com",
        url_variable="ANTHROPIC_BASE_URL",
        own_hosts=r"api\.anthropic\.com",
        key_variables=("ANTHROPIC_API_KEY",),
        hints=("claude",),
        filled_in=("messages", "model", "stream", "system", "tools"),
    ),
    Provider(
        "google",
        opener="kneo_serv.runtime.openers:open_google",
        libraries=("pydantic_ai", "google.genai"),
        install="pip install 'kneo-serv[google]'",
        default_url="https://generativelanguage.googleapis.com",
        url_variable="GOOGLE_GEMINI_BASE_URL",
        own_hosts=r"generativelanguage\.googleapis\.com",
        key_variables=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        hints=("gemini", "vertex", "google-gla"),
        filled_in=("contents", "systemInstruction", "tools"),
    ),
    Provider(
        "groq",
        opener="kneo_serv.runtime.openers:open_groq",
        libraries=("pydantic_ai", "groq"),
        install="pip install 'kneo-serv[groq]'",
        default_url="https://api.groq.com",
        url_variable="GROQ_BASE_URL",
        own_hosts=r"api\.groq\.com",
        key_variables=("GROQ_API_KEY",),
        filled_in=_CHAT_FIELDS,
        schema_beside_tools=False,
    ),
    Provider(
        "mistral",
        opener="kneo_serv.runtime.openers:open_mistral",
        libraries=("pydantic_ai", "mistralai"),
        install="pip install 'kneo-serv[mistral]'",
        default_url="https://api.mistral.ai",
        url_variable="MISTRAL_BASE_URL",
        own_hosts=r"api\.(?:[a-z]{2}\.)?mistral\.ai",
        key_variables=("MISTRAL_API_KEY",),
        filled_in=_CHAT_FIELDS,
        extra_fields=("frequency_penalty", "presence_penalty", "prompt_cache_key", "random_seed", "stop", "top_p"),
    ),
    Provider(
        "bedrock",
        opener="kneo_serv.runtime.openers:open_bedrock",
        libraries=("pydantic_ai", "boto3"),
        install="pip install 'kneo-serv[bedrock]'",
        default_url="",
        url_variable="AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        own_hosts=r"bedrock-runtime(?:-fips)?\.[a-z0-9-]+\.(?:amazonaws\.com(?:\.cn)?|api\.aws)",
        key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
        key_needed=False,
        other_secrets=("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        also_needed=("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"),
        hints=("aws", "amazon"),
        filled_in=("messages", "modelId", "system", "toolConfig"),
    ),
    Provider(
        "ollama",
        opener="kneo_serv.runtime.openers:open_ollama",
        libraries=("pydantic_ai", "openai"),
        install="pip install 'kneo-serv[ollama]'",
        default_url="http://localhost:11434/v1",
        url_variable="OLLAMA_BASE_URL",
        own_hosts=r"(?:www\.)?ollama\.com",
        key_variables=("OLLAMA_API_KEY",),
        key_needed=False,
        credentials_needed=False,
        free=True,
        hints=("llama",),
        filled_in=_CHAT_FIELDS,
    ),
)

PROVIDERS: Mapping[str, Provider] = {entry.name: entry for entry in _TABLE}
"""Every provider that is asked over a network, by name."""

AVAILABLE = (DUMMY, *PROVIDERS)
"""What `model.provider` may be."""


def provider_named(name: str) -> Provider | None:
    """The provider of this name, or of a name that means the same; None for the dummy and for anything unknown."""
    found = PROVIDERS.get(name)
    return found or next((entry for entry in _TABLE if name in entry.other_names), None)


def unknown_provider(name: str) -> str:
    """Says that there is no such provider, which ones there are, and which one may be meant."""
    text = f"model provider {name!r} is not available here (available: {', '.join(AVAILABLE)})."
    if name == "default":
        return f"{text} 'default' stands for none: set agent.model.provider."
    meant = [entry.name for entry in _TABLE if name.lower() in entry.hints]
    meant = meant or get_close_matches(name.lower(), AVAILABLE, n=1, cutoff=0.7)
    return f"{text} Did you mean {meant[0]!r}?" if meant else text


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # the parent of a dotted name is missing; a module without a spec
        return False
