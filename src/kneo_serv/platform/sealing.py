"""Specs that come as signed bundles, and places where nothing else may run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kneo_serv.spec.bundles import KIND, SpecBundleError, verify_spec_bundle
from kneo_serv.spec.reader import read_file


def unsealed(
    spec: Mapping[str, Any] | None, spec_path: str | Path | None, *, key: str | None, required: bool, layered: bool
) -> Mapping[str, Any] | None:
    """The spec inside a bundle, verified with `key`; None when the source is an ordinary spec.

    `required` refuses ordinary specs, and overlays or overrides (`layered`), which would change what was approved.

    Raises:
        SpecBundleError: the bundle was changed or signed with another key, or a bundle is required and this is none.
        SpecParseError, FileNotFoundError: the file cannot be read.
    """
    document: Any = spec
    if spec_path is not None and (required or Path(spec_path).suffix == ".json"):
        document = read_file(Path(spec_path)).data()
    if not isinstance(document, Mapping) or document.get("kind") != KIND:
        if required:
            raise SpecBundleError(
                "Only signed bundles may run here (KNEO_SERV_REQUIRE_SPEC_BUNDLES), and this is an ordinary spec. "
                "`kneo spec bundle sign` makes one."
            )
        return None
    if required and layered:
        raise SpecBundleError("Overlays and overrides would change what was approved; run the bundle as it is.")
    verification = verify_spec_bundle(document, signing_key=key or "")
    if not verification.valid:
        raise SpecBundleError(" ".join(verification.errors))
    inner: Mapping[str, Any] = document["spec"]
    return inner
