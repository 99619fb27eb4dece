#!/bin/sh
# The main job of the platform, step by step: a workflow runs, stops for a person, is approved and finishes.
# KNEO_BIN names the folder with `kneo` and `python` (default: .kneo-venv/bin). Nothing is written into the checkout.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
bin=${KNEO_BIN:-$root/.kneo-venv/bin}
PATH=$bin:$PATH
export PATH

work=$(mktemp -d "${TMPDIR:-/tmp}/kneo-demo.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cp -R "$root/examples" "$work/examples"
cd "$work"
# A key or a database in the caller's environment must not change what is shown.
for name in $(env | sed -n 's/^\(KNEO_SERV_[A-Z0-9_]*\)=.*/\1/p'); do unset "$name"; done

title() { printf '\n== %s\n' "$*"; }

show() {  # runs a command after showing it; its data stays in answer.json
    printf '\n$'
    for word in "$@"; do
        case $word in
            *[!A-Za-z0-9_./:=@-]*) printf ' "%s"' "$word" ;;
            *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    "$@" >answer.json || { code=$?; cat answer.json; echo "demo: the command above failed with exit code $code" >&2; exit 1; }
    cat answer.json
}

field() {  # dotted path into the last answer
    python -c '
import json, sys
value = json.load(open("answer.json"))
for key in sys.argv[1].split("."):
    if not isinstance(value, dict) or key not in value:
        sys.exit(f"demo: the answer has no {sys.argv[1]}")
    value = value[key]
print(value)' "$1"
}

expect() {  # path, value
    actual=$(field "$1")
    [ "$actual" = "$2" ] || { echo "demo: expected $1 to be $2, but it is $actual" >&2; exit 1; }
}

title "A workflow runs until it needs a person"
show kneo run examples/smoke_human_workflow.yaml --input "hello" --target workflow --json
expect status paused
run=$(field run_id)
continuation=$(field continuation_id)
request=$(field metadata.pending_human_request.request_id)

title "The process is gone, the run is not: a person approves it"
show kneo human resume "$continuation" --request-id "$request" --approve --json
expect status completed

title "The finished run"
show kneo runs get "$run" --json
expect status completed

title "Real work: invoices are checked, a person decides about the large ones"
touch before
show kneo run examples/invoice_approval.yaml --input examples/data/invoices.csv --target workflow --json
expect status paused
run=$(field run_id)
continuation=$(field continuation_id)
request=$(field metadata.pending_human_request.request_id)

title "What the person sees"
show kneo human get "$continuation"

show kneo human resume "$continuation" --request-id "$request" --approve --json
expect status completed

title "The files it wrote"
files=$(find . -type f -newer before ! -path './.kneo/*' ! -path '*/__pycache__/*' ! -name answer.json)
[ -n "$files" ] || { echo "demo: the invoice workflow wrote no file" >&2; exit 1; }
for file in $files; do
    printf '\n--- %s\n' "${file#./}"
    cat "$file"
done

title "Done. State was kept in a temporary folder, which is removed now."
