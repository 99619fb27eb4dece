"""Which platform a command talks to: the one in this process, or a service, and by which key."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from kneo_serv.cli.address import checked_address
from kneo_serv.cli.directions import Directions
from kneo_serv.cli.profiles import Profile, ProfileFile
from kneo_serv.errors import InvalidRequestError

URL_VARIABLE = "KNEO_SERV_URL"
KEY_VARIABLE = "KNEO_SERV_API_KEY"


@dataclass(frozen=True, slots=True)
class Destination:
    """A service. The sources say in words where its address and its key were found."""

    url: str
    source: str
    api_key: str | None = field(default=None, repr=False)
    key_source: str | None = None


def choose(
    directions: Directions,
    profiles: ProfileFile,
    *,
    environ: Mapping[str, str] = os.environ,
    configured: str | None = None,
    config: str = "the project's config",
) -> Destination | None:
    """The service that is meant, None for the platform in this process.

    The first of these decides: `--local`; `--service-url`; `--profile`; KNEO_SERV_URL; `configured`, which the file
    `config` says; the active profile. Profiles are read only where one is named or nothing before them decides.

    Args:
        directions: What the command line says.
        profiles: The profiles of this user.
        environ: The variables.
        configured: `service.default_url` of the project.
        config: How the file that says so is called.

    Raises:
        InvalidRequestError: an address or a key cannot be used.
        ProfileUnknownError: no profile has the name.
        ProfileFileError: the profiles are needed and cannot be read.
    """
    if directions.local:
        return None
    named = None if directions.profile is None else profiles.read().named(directions.profile)
    if directions.service_url is not None:
        return _at(directions.service_url, "the option --service-url", named, profiles, environ)
    if named is not None:
        return _at(named.service_url, named.told(profiles.path), named, profiles, environ)
    if from_environment := environ.get(URL_VARIABLE, "").strip():
        return _at(from_environment, f"the variable {URL_VARIABLE}", None, profiles, environ)
    if configured:
        return _at(configured, f"service.default_url in {config}", None, profiles, environ)
    active = profiles.read().current
    if active is not None:
        return _at(active.service_url, f"the active {active.told(profiles.path)}", active, profiles, environ)
    return None


def checked_key(key: str, *, source: str) -> str:
    """The key without blanks around it. Raises InvalidRequestError, which never quotes it, where no header takes it."""
    stripped = key.strip()
    if not all("!" <= sign <= "~" for sign in stripped):
        raise InvalidRequestError(
            f"The API key from {source} cannot be sent: a key is made of visible ASCII letters, digits and signs."
        )
    return stripped


def _at(
    url: str, source: str, profile: Profile | None, profiles: ProfileFile, environ: Mapping[str, str]
) -> Destination:
    address = checked_address(url, source=source)
    if profile is not None and profile.api_key:
        key_source = profile.told(profiles.path)
        return Destination(address, source, checked_key(profile.api_key, source=key_source), key_source)
    key_source = f"the variable {KEY_VARIABLE}"
    key = checked_key(environ.get(KEY_VARIABLE, ""), source=key_source)
    return Destination(address, source, key, key_source) if key else Destination(address, source)
