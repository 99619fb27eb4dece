"""Passing an answer on while it comes."""

from kneo_serv.model.message import TextListener


class Telling:
    """Passes the pieces of an answer on, so that what the listener has heard is always what it should have."""

    def __init__(self, listener: TextListener) -> None:
        self._listener = listener
        self._told = ""

    def begin(self) -> None:
        """A new attempt: what came of an earlier one is void."""
        if self._told:
            self._told = ""
            self._listener("")

    def tell(self, piece: str) -> None:
        """The next piece."""
        if piece:
            self._told += piece
            self._listener(piece)

    def finish(self, text: str) -> None:
        """The whole answer: what is still missing of it is told."""
        if not text.startswith(self._told):
            self.begin()
        self.tell(text[len(self._told) :])
