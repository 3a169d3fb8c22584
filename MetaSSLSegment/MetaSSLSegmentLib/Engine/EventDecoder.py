import codecs
import json

LONGEST_LINE = 2**20
"""Characters; what is longer comes in pieces, so that output without line ends cannot fill the memory."""


class EventDecoder:
    """Turns the bytes of the engine's output into events, whatever the pieces in which they arrive."""

    def __init__(self):
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = []
        self._restLength = 0

    def feed(self, data):
        """Events (dictionaries) and other lines (strings) that are complete with these bytes, in order."""
        *lines, rest = self._decoder.decode(data).split("\n")
        if lines:
            lines[0] = self._takeRest() + lines[0]
        self._rest.append(rest)
        self._restLength += len(rest)
        if self._restLength > LONGEST_LINE:
            lines.append(self._takeRest())
        return self._parsed(lines)

    def finish(self):
        """What is left when the output has ended: a last line without its end."""
        self._rest.append(self._decoder.decode(b"", final=True))
        return self._parsed([self._takeRest()])

    def _takeRest(self):
        rest = "".join(self._rest)
        self._rest, self._restLength = [], 0
        return rest

    @staticmethod
    def _parsed(lines):
        return [_eventOrText(line) for line in map(_asOnATerminal, lines) if line.strip()]


def _asOnATerminal(line):
    """The last of what a progress bar wrote over itself on one line."""
    return line.rstrip("\r").rpartition("\r")[2]


def _eventOrText(line):
    if not line.startswith("{"):
        return line
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return line
    return event if isinstance(event.get("event"), str) else line
