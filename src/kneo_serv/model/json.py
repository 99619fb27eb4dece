"""JSON as a type: what may stand in free-form fields of a spec, an event or an answer."""

from collections.abc import Mapping, Sequence

type Json = str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None
type JsonObject = Mapping[str, Json]
