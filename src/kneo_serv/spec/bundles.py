"""Bundles: a spec with who approved it, sealed so that a change shows."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.spec.migrations import migrate_spec
from kneo_serv.spec.reader import read_data

KIND = "kneo.spec.bundle"
KEY_VARIABLE = "KNEO_SERV_SPEC_SIGNING_KEY"
_DIGEST = "SHA256"
_SIGNATURE = "HMAC-SHA256"


class SpecBundleError(InvalidRequestError):
    """A bundle cannot be made or read."""


@dataclass(frozen=True, slots=True)
class SpecBundleVerification:
    """What became of a check; valid only when digest and signature both are."""

    valid: bool
    digest_valid: bool
    signature_valid: bool
    errors: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return asdict(self)


def create_spec_bundle(
    spec: Mapping[str, Any],
    *,
    signing_key: str,
    approved_by: str,
    created_at: str,
    environment: str | None = None,
    key_id: str = KEY_VARIABLE,
) -> dict[str, Any]:
    """The signed bundle of a spec, migrated but not validated. `created_at` is an ISO 8601 time.

    Raises:
        SpecBundleError: the key or the approver is empty.
        SpecParseError: the spec is no plain mapping, or of an unknown version.
    """
    if not signing_key:
        raise SpecBundleError(f"There is no key to sign with; set {key_id}.")
    if not approved_by.strip():
        raise SpecBundleError("A bundle names who approved it; `approved_by` is empty.")
    migrated = migrate_spec(read_data(spec)).spec
    bundle: dict[str, Any] = {
        "kind": KIND,
        "version": "v1",
        "metadata": {"approved_by": approved_by, "environment": environment, "created_at": created_at},
        "spec": migrated,
        "digest": {"algorithm": _DIGEST, "value": spec_digest(migrated)},
    }
    signature = _sign(bundle, signing_key)
    return {**bundle, "signature": {"algorithm": _SIGNATURE, "key_id": key_id, "value": signature}}


def verify_spec_bundle(bundle: Mapping[str, Any], *, signing_key: str) -> SpecBundleVerification:
    """Whether the bundle is unchanged and was signed with this key. Never raises for what the bundle holds."""
    errors: list[str] = []
    if bundle.get("kind") != KIND or bundle.get("version") != "v1":
        errors.append(f"This is no {KIND} of version v1.")
    spec = bundle.get("spec")
    digest_valid = False
    if not isinstance(spec, Mapping):
        errors.append("The bundle holds no spec.")
    else:
        digest_valid = _claims(bundle, "digest", _DIGEST, spec_digest(spec))
        if not digest_valid:
            errors.append("The digest does not match: the spec was changed after it was signed.")
    if not signing_key:
        errors.append(f"There is no key to verify with; set {KEY_VARIABLE}.")
        return SpecBundleVerification(False, digest_valid, False, errors)
    unsigned = {key: value for key, value in bundle.items() if key != "signature"}
    signature_valid = _claims(bundle, "signature", _SIGNATURE, _sign(unsigned, signing_key))
    if not signature_valid:
        errors.append("The signature does not match: another key was used, or the bundle was changed.")
    return SpecBundleVerification(not errors, digest_valid, signature_valid, errors)


def spec_digest(spec: Mapping[str, Any]) -> str:
    """Hex SHA-256 of the spec's canonical JSON: sorted keys, no blanks, UTF-8 unescaped."""
    return hashlib.sha256(_canonical(spec)).hexdigest()


def signing_key_from_env(environ: Mapping[str, str], variable: str = KEY_VARIABLE) -> str:
    """The key in an environment variable. Raises SpecBundleError when it is not set."""
    key = environ.get(variable, "")
    if not key:
        raise SpecBundleError(f"{variable} is not set; it holds the key that bundles are signed with.")
    return key


def _claims(bundle: Mapping[str, Any], block: str, algorithm: str, expected: str) -> bool:
    claim = bundle.get(block)
    if not isinstance(claim, Mapping) or claim.get("algorithm") != algorithm:
        return False
    value = claim.get("value")
    return isinstance(value, str) and hmac.compare_digest(value.encode(), expected.encode())


def _sign(bundle: Mapping[str, Any], key: str) -> str:
    return hmac.new(key.encode("utf-8"), _canonical(bundle), hashlib.sha256).hexdigest()


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
