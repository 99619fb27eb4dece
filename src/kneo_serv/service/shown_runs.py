"""Runs as they were shown: who asks for one that has not moved since is answered without reading its history again."""

from collections import OrderedDict

from kneo_serv.model.run import RunRecord

_MOST = 1024
_BYTES = 16 * 1024 * 1024
_LARGEST = 256 * 1024

type _Name = tuple[str, int, str, str]


class ShownRuns:
    """Answers about runs as JSON text. A run is another one after each event, so nothing in here grows old."""

    def __init__(self, *, most: int = _MOST, size: int = _BYTES) -> None:
        self._most = most
        self._size = size
        self._held = 0
        self._kept: OrderedDict[_Name, bytes] = OrderedDict()

    def get(self, record: RunRecord) -> bytes | None:
        """The text about the run as this row has it; None where it was not shown."""
        name = _name(record)
        text = self._kept.get(name)
        if text is not None:
            self._kept.move_to_end(name)
        return text

    def put(self, record: RunRecord, text: bytes) -> None:
        """Keeps a text, and lets go of those that nobody has asked for lately."""
        name = _name(record)
        if len(text) > _LARGEST or name in self._kept:
            return
        self._kept[name] = text
        self._held += len(text)
        while len(self._kept) > self._most or self._held > self._size:
            self._held -= len(self._kept.popitem(last=False)[1])


def _name(record: RunRecord) -> _Name:
    return record.id, record.seq, record.status.value, record.phase.value
