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

wheel=$(ls "$root"/.kneo-venv/wheel/*.whl)
# The test tools stay as pinned: the promise is about what the product needs, not about the linters.
pins=$(sed -n -E 's/^((pytest|pytest-xdist|hypothesis|kneo-client|langgraph|langchain-openai)==[^ ;]*).*/\1/p' constraints.txt)

# make_env FOLDER EXTRA...: an environment with the lowest versions that the product and these extras declare.
make_env() {
    env=$1
    shift
    options=""
    for extra in "$@"; do
        options="$options --extra $extra"
    done
    rm -rf "$env"
    "$uv" venv --quiet --python "$tools/python" "$env"
    # shellcheck disable=SC2086  # one word per option
    "$uv" pip compile --quiet --python "$env/bin/python" --resolution lowest-direct $options \
        --no-header --no-annotate pyproject.toml -o "$env/requirements.txt" >/dev/null
    "$uv" pip install --quiet --python "$env/bin/python" -r "$env/requirements.txt"
    "$uv" pip install --quiet --python "$env/bin/python" --no-deps "$wheel"
    # shellcheck disable=SC2086  # one word per pin
    "$uv" pip install --quiet --python "$env/bin/python" $pins
    "$uv" pip list --quiet --python "$env/bin/python"
}

# The tool that makes requests up would lift what the product needs; it runs on the pinned versions.
suite="-n auto --dist worksteal -p no:cacheprovider --ignore tests/service/test_fuzz.py --ignore tests/acceptance/test_fuzz.py"

# google-adk asks for a newer FastAPI than the product does, so that the service is proved without it, on its own lowest.
make_env "$lowest/service" mcp oidc postgres telemetry
# shellcheck disable=SC2086  # one word per option
"$lowest/service/bin/python" -P -m pytest $suite tests/service

make_env "$lowest/all" \
    anthropic bedrock cel google google-adk groq langchain mcp mistral oidc ollama openai-agents postgres telemetry
# shellcheck disable=SC2086  # one word per option
exec "$lowest/all/bin/python" -P -m pytest $suite "$@"
