"""What is read as JSON, checked in one place: type, range and length of every field.

Data sets, run folders and models may come from anybody. ``files.read_json`` bounds the size and depth of a file; here
every value is checked when it is taken, and the error names file and field.
"""

import math
import reprlib
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

from .errors import CONTROL, InputError, visible

HUGE = 1e9
"""No number is larger, unless its field says so."""
LONGEST_TEXT = 4096

T = TypeVar("T")


def number(value: Any, name: str, low: float | None = None, high: float | None = None) -> float:
    """A finite number within its range.

    Args:
        value: as read.
        name: of the field, for the message.
        low, high: smallest and largest allowed value; ``high`` needs ``low``, without both ``HUGE`` is the largest.

    Raises:
        InputError: anything else.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or value != value or abs(value) == math.inf:
        raise _refused(value, name, "a number")
    if low is not None and value < low:
        raise _refused(value, name, f"at least {low:g}")
    if value > (HUGE if high is None else high):
        raise _refused(value, name, f"at most {HUGE:g}" if high is None else f"{low:g} to {high:g}")
    return float(value)


def whole(value: Any, name: str, low: int | None = None, high: int | None = None) -> int:
    """A whole number within its range; see ``number``."""
    number(value, name, low, high)
    if not isinstance(value, Integral):
        raise _refused(value, name, "a whole number")
    return int(value)


def flag(value: Any, name: str) -> bool:
    """True or false.

    Raises:
        InputError: anything else.
    """
    if not isinstance(value, bool):
        raise _refused(value, name, "true or false")
    return value


def text(value: Any, name: str, choices: Sequence[str] = (), longest: int = LONGEST_TEXT) -> str:
    """A text without line breaks or other control characters, one of the choices where there are some.

    Raises:
        InputError: anything else.
    """
    if choices and value not in choices:
        raise InputError(f"{name} is {reprlib.repr(value)}; use one of {', '.join(choices)}.")
    if not isinstance(value, str) or len(value) > longest or CONTROL.search(value):
        raise _refused(value, name, f"a text of at most {longest} characters without line breaks")
    return value


def items(value: Any, name: str, check: Callable[..., T], *limits: Any, count: int | None = None) -> tuple[T, ...]:
    """A list, of ``count`` items where that is given, each of which passes ``check(item, name, *limits)``.

    Raises:
        InputError: anything else.
    """
    if not isinstance(value, (list, tuple)) or count not in (None, len(value)):
        raise _refused(value, name, "a list" if count is None else f"a list of {count} items")
    return tuple(check(item, f"{name}[{place}]", *limits) for place, item in enumerate(value))


def triple(value: Any, name: str, check: Callable[..., T], *limits: Any) -> tuple[T, T, T]:
    """A list of three items; see ``items``."""
    return items(value, name, check, *limits, count=3)


def mapping(value: Any, name: str) -> dict[str, Any]:
    """An object, whatever its fields are.

    Raises:
        InputError: anything else.
    """
    if not isinstance(value, dict):
        raise _refused(value, name, "an object with fields")
    return value


class Fields:
    """The fields of one JSON object.

    Args:
        content: as read.
        name: what messages call the object: "FILE is damaged:", or that and its place in the file.

    Raises:
        InputError: it is no object.
    """

    def __init__(self, content: Any, name: str):
        self.content = mapping(content, name)
        self._prefix = name + (" " if name.endswith(":") else ".")

    def take(self, key: str, check: Callable[..., T], *limits: Any) -> T:
        """The value of a field, as ``check(value, name, *limits)`` gives it.

        Raises:
            InputError: it is missing, or does not pass.
        """
        try:
            if key not in self.content:
                raise InputError(f"{self._prefix}{key} is missing.")
            return check(self.content[key], self._prefix + key, *limits)
        except InputError as error:
            hint = "Get the file again from where it came from, or correct it in an editor."
            named = str(error).startswith(visible(self._prefix))
            raise InputError(f"{'' if named else f'{self._prefix}{key}: '}{error}", error.hint or hint) from None

    def optional(self, key: str, check: Callable[..., T], *limits: Any) -> T | None:
        """As ``take``, but None where the field is missing or null."""
        return None if self.content.get(key) is None else self.take(key, check, *limits)


def _refused(value: Any, name: str, allowed: str) -> InputError:
    return InputError(f"{name} is {reprlib.repr(value)}; it must be {allowed}.")
