#!/bin/sh
# Runs the suite with every direct requirement at the lowest version that pyproject.toml declares.
# The arguments go to pytest. KNEO_LOWEST says where the environment goes (default: .kneo-lowest in the checkout).
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
lowest=${KNEO_LOWEST:-$root/.kneo-lowest}

KNEO_VENV=$root/.kneo-venv scripts/bootstrap.sh dev
tools=$root/.kneo-venv/bin

# Only uv can resolve downward; it comes from the index when the machine has none.
uv=$(command -v uv 2>/dev/null) || uv=""
if [ -z "$uv" ] || ! "$uv" --version >/dev/null 2>&1; then
    [ -x "$tools/uv" ] || "$tools/python" -m pip install --quiet --disable-pip-version-check uv
    uv=$tools/uv
fi

rm -rf "$lowest"
"$uv" venv --quiet --python "$tools/python" "$lowest"
wheel=$(ls "$root"/.kneo-venv/wheel/*.whl)
# The test tools stay as pinned: the promise is about what the product needs, not about the linters.
extras=""
for extra in anthropic bedrock cel google google-adk groq langchain mcp mistral oidc ollama openai-agents postgres telemetry; do
    extras="$extras --extra $extra"
done
# shellcheck disable=SC2086  # one word per option
"$uv" pip compile --quiet --python "$lowest/bin/python" --resolution lowest-direct $extras \
    --no-header --no-annotate pyproject.toml -o "$lowest/requirements.txt" >/dev/null
"$uv" pip install --quiet --python "$lowest/bin/python" -r "$lowest/requirements.txt"
"$uv" pip install --quiet --python "$lowest/bin/python" --no-deps "$wheel"
pins=$(sed -n -E 's/^((pytest|pytest-xdist|hypothesis|kneo-client|langgraph|langchain-openai)==[^ ;]*).*/\1/p' constraints.txt)
# shellcheck disable=SC2086  # one word per pin
"$uv" pip install --quiet --python "$lowest/bin/python" $pins
"$uv" pip list --quiet --python "$lowest/bin/python"
exec "$lowest/bin/python" -P -m pytest -n auto --dist worksteal -p no:cacheprovider "$@"
