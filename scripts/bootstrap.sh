#!/bin/sh
# Makes a private virtual environment and installs our own wheel into it.
#
#   scripts/bootstrap.sh run     what `kneo` needs
#   scripts/bootstrap.sh dev     that, the development tools and every extra
#   scripts/bootstrap.sh find    nothing; prints the Python that would be used
#
# KNEO_VENV     where the environment goes (default: .kneo-venv in the checkout)
# KNEO_PYTHON   the Python to use; without it one >= 3.12 is looked for
#
# Doing it twice costs nothing: stamps tell whether the requirements or the sources have changed.
set -eu

mode=${1:-dev}
case $mode in
    run | find) extras="" ;;
    dev) extras="[dev,deploy,cel]" ;;
    *) echo "bootstrap: unknown mode '$mode'; use run, dev or find" >&2; exit 2 ;;
esac

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
venv=${KNEO_VENV:-$root/.kneo-venv}
tried=""

say() { printf 'bootstrap: %s\n' "$*" >&2; }

digest() {  # of standard input
    if command -v sha256sum >/dev/null 2>&1; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1
}

# A name on PATH proves nothing: shims of version managers exist for versions that are not there. So every candidate runs.
is_good() {
    "$1" -c 'import sys; sys.exit(0 if sys.version_info >= (3, 12) else 1)' >/dev/null 2>&1 </dev/null
}

# Without uv the environment needs venv and ensurepip, which some distributions package apart.
can_make_venv() {
    "$1" -c 'import venv, ensurepip' >/dev/null 2>&1 </dev/null
}

consider() {  # candidate; sets $found
    if ! is_good "$1"; then
        version=$("$1" -c 'import sys; print("Python " + sys.version.split()[0])' 2>/dev/null </dev/null) || version="does not run"
        tried="$tried
  - $1: $version"
        return 1
    fi
    if [ -z "$uv" ] && ! can_make_venv "$1"; then
        tried="$tried
  - $1: new enough, but without the venv module (on Debian and Ubuntu: apt-get install python3-venv)"
        return 1
    fi
    found=$("$1" -c 'import sys; print(sys.executable)' </dev/null)
}

find_python() {
    found=""
    if [ -n "${KNEO_PYTHON:-}" ]; then
        consider "$KNEO_PYTHON" && return 0
        return 1
    fi
    for name in python3.13 python3.12 python3.14 python3 python; do
        path=$(command -v "$name" 2>/dev/null) || continue
        consider "$path" && return 0
    done
    for path in \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3 \
        "${ASDF_DATA_DIR:-$HOME/.asdf}"/installs/python/*/bin/python3 \
        "${MISE_DATA_DIR:-$HOME/.local/share/mise}"/installs/python/*/bin/python3 \
        "${CONDA_PREFIX:-$HOME/miniconda3}"/bin/python3 \
        "$HOME"/miniconda3/envs/*/bin/python3 \
        "$HOME"/miniforge3/bin/python3 "$HOME"/miniforge3/envs/*/bin/python3 \
        "$HOME"/anaconda3/bin/python3; do
        [ -x "$path" ] || continue
        consider "$path" && return 0
    done
    return 1
}

complain() {
    say "no usable Python >= 3.12 found. Looked at:${tried:-
  (no python3.13, python3.12, python3.14, python3 or python on PATH, and no version manager)}"
    say "mend it in one of these ways, then run the command again:"
    say "  - install uv (https://docs.astral.sh/uv/), which brings a Python along"
    say "  - install one: apt-get install python3.12 python3.12-venv / brew install python@3.13 / pyenv install 3.13"
    say "  - name one: KNEO_PYTHON=/path/to/python3.12 make ..."
    exit 1
}

uv=$(command -v uv 2>/dev/null) || uv=""
if [ -n "$uv" ] && ! "$uv" --version >/dev/null 2>&1 </dev/null; then uv=""; fi

if [ "$mode" = find ]; then
    find_python || complain
    echo "$found"
    exit 0
fi

python=$venv/bin/python
if [ -x "$python" ] && ! is_good "$python"; then
    say "the environment in $venv has no working Python >= 3.12; making it again"
    rm -rf "$venv"
fi
if [ ! -x "$python" ]; then
    if find_python; then
        say "using $found ($("$found" -c 'import sys; print(sys.version.split()[0])'))"
        if [ -n "$uv" ]; then
            "$uv" venv --quiet --python "$found" "$venv"
        else
            "$found" -m venv "$venv"
        fi
    elif [ -n "$uv" ] && [ -z "${KNEO_PYTHON:-}" ] && "$uv" venv --quiet --python '>=3.12' "$venv"; then
        say "uv brought a Python of its own"
    else
        complain
    fi
fi

install() {
    if [ -n "$uv" ]; then
        "$uv" pip install --quiet --compile-bytecode --python "$python" "$@"
    else
        "$python" -m pip install --quiet --disable-pip-version-check --no-input "$@"
    fi
}

needs=$({ echo "$mode"; cat pyproject.toml constraints.txt scripts/bootstrap.sh; "$python" --version; } | digest)
sources=$({ cat pyproject.toml README.md LICENSE; find src -type f ! -name '*.pyc' | LC_ALL=C sort | while read -r file; do echo "$file"; cat "$file"; done; } | digest)
# What dev installs serves run too.
for have in "$mode" dev; do
    stamp=$venv/.stamp-needs-$have
    wanted=$({ echo "$have"; cat pyproject.toml constraints.txt scripts/bootstrap.sh; "$python" --version; } | digest)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then needs=""; fi
done
if [ -z "$needs" ] && [ "$(cat "$venv/.stamp-wheel" 2>/dev/null)" = "$sources" ]; then exit 0; fi

# The public index has another product under our name, so the name is never asked for: the wheel is built from this checkout.
rm -rf "$venv/wheel"
mkdir -p "$venv/wheel"
hatchling=$(sed -n 's/^\(hatchling==[^ ;]*\).*/\1/p' constraints.txt)
if ! "$python" -c 'import hatchling' >/dev/null 2>&1; then install -c constraints.txt "$hatchling"; fi
if [ -n "$uv" ]; then
    "$uv" build --quiet --wheel --no-build-isolation --python "$python" --out-dir "$venv/wheel" .
else
    "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir "$venv/wheel" .
fi
wheel=$(ls "$venv"/wheel/*.whl)

if [ -n "$needs" ]; then
    say "installing the requirements ($mode) into $venv"
    install -c constraints.txt "$wheel$extras"
    echo "$needs" >"$venv/.stamp-needs-$mode"
fi
if [ -n "$uv" ]; then
    install --no-deps --reinstall "$wheel"
else
    install --no-deps --force-reinstall "$wheel"
fi
echo "$sources" >"$venv/.stamp-wheel"
say "ready: $venv/bin/kneo"
