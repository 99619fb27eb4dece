"""A small MCP server over standard input and output: the notes of a team, and a search in them.

It needs the extra: pip install 'kneo-serv[mcp]'
"""

from mcp.server import MCPServer

NOTES = {
    "Tea": "The tea is in the left cupboard. Refill it on Mondays.",
    "Deploys": "Deploys happen from Tuesday to Thursday, before noon.",
    "Invoices": "Invoices over 1000 EUR need the approval of two people.",
}

server = MCPServer("notes")


@server.tool()
def search_notes(query: str) -> str:
    """Notes that share a word with the query, or what there is when none does."""
    words = {word.strip(".,;:!?").lower().rstrip("s") for word in query.split()}
    found = [f"{title}: {text}" for title, text in NOTES.items() if title.lower().rstrip("s") in words]
    return "\n".join(found) or f"Nothing found. There are notes about {', '.join(NOTES)}."


if __name__ == "__main__":
    server.run("stdio")
