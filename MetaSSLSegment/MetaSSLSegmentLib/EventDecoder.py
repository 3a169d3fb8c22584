import codecs
import json


class EventDecoder:
    """Turns the bytes of the engine's standard output into events, whatever the pieces in which they arrive."""

    def __init__(self):
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def feed(self, data):
        """Events (dictionaries) and other lines (strings) that are complete with these bytes, in order."""
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        return [self._parsed(line) for line in lines if line.strip()]

    def finish(self):
        """What is left when the output has ended: a last line without its end."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        return [self._parsed(rest)] if rest.strip() else []

    @staticmethod
    def _parsed(line):
        line = line.rstrip("\r")
        try:
            event = json.loads(line)
        except ValueError:
            return line
        return event if isinstance(event, dict) and isinstance(event.get("event"), str) else line
