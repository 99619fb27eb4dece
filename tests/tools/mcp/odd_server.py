"""A server of no library, with the habits of servers in the wild; the first argument says which."""

import json
import sys
import time
from typing import Any

MODE = sys.argv[1]
TOOL: dict[str, Any] = {"name": "large", "inputSchema": {"type": "object"}}
if MODE == "foreign":
    TOOL["inputSchema"]["$schema"] = "https://example.com/dialect-of-its-own"
PAGES = {None: ("one", "next"), "next": ("two", None)}


def say(**message: Any) -> None:
    """Writes a message; `reversed` puts its id last, and `nameless` where nobody looks for it."""
    if MODE == "reversed":
        message = {"result": None, **message, "id": message.pop("id", None)} if "result" in message else message
    if MODE == "nameless" and "result" in message:
        message = {"result": message["result"], "id": message["id"], "padding": "z" * 500}
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def answer(method: str, params: dict[str, Any]) -> Any:
    match method:
        case "initialize":
            version = params["protocolVersion"]
            return {
                "protocolVersion": version,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "odd", "version": "1"},
            }
        case "tools/list" if MODE == "paged":
            name, following = PAGES[params.get("cursor")]
            return {"tools": [{**TOOL, "name": name}], **({"nextCursor": following} if following else {})}
        case "tools/list":
            return {"tools": [TOOL]}
        case "tools/call" if MODE == "failing":
            return None
        case "tools/call":
            return {"content": [{"type": "text", "text": "x" * params.get("arguments", {}).get("size", 0)}]}
        case _:
            return None


print("Odd server 1.0 starts.", flush=True)
print("odd: password=hunter2hunter2", "odd: KEY is s3cr3t-canary-value", sep="\n", file=sys.stderr, flush=True)
if MODE == "silent":
    time.sleep(3600)
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    if MODE == "chatty":
        say(method="notifications/message", params={"level": "info", "data": "y" * 100_000})
        print("odd: working on it", flush=True)
    result = answer(asked["method"], asked.get("params") or {})
    if result is None:
        say(id=asked["id"], error={"code": -32601, "message": "unknown; my token is s3cr3t-canary-value"})
    else:
        say(id=asked["id"], result=result)
