"""Reading and writing small files so that a kill at any instant leaves the previous state readable."""

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import DiskError, InputError

PATIENCE = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between attempts to replace a file that another program holds."""


@contextmanager
def replacing(path: Path | str, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; replace ``path`` by it when the block succeeds.

    The temporary name keeps the suffix of ``path`` (writers choose the format by it). After an error the temporary
    file is removed and ``path`` is untouched.

    Args:
        path: to write.
        durable: also survive a power failure; what is not must be given to ``make_durable`` before it is relied on.

    Raises:
        DiskError: the folder cannot be made or the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            make_durable([temporary])
        _replace(temporary, path)
    except OSError as error:
        raise DiskError(
            f"Cannot write {path}: {error.strerror or error}.",
            "Free some disk space or choose a folder that you may write to.",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def make_durable(paths: Iterable[Path]) -> None:
    """Wait until files are on the disk; of many at once that takes little longer than of one.

    Raises:
        OSError: they cannot be written.
    """
    for path in paths:
        with open(path, "rb+") as file:
            os.fsync(file.fileno())


def _replace(source: Path, target: Path) -> None:
    """os.replace that waits for a virus scanner, a synchronised folder or a reader to let go (on Windows)."""
    for seconds in (*PATIENCE, None):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if seconds is None:
                raise
            time.sleep(seconds)


def write_text(path: Path | str, text: str, durable: bool = True) -> None:
    """Write ``text`` as UTF-8, replacing ``path`` in one step."""
    with replacing(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, content: Any, durable: bool = True) -> None:
    """Write ``content`` as indented JSON, replacing ``path`` in one step; ``durable`` as in ``replacing``."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n", durable)


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing, unreadable or not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.", "Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not valid JSON: {error}.", "Make the file again or correct it in an editor."
        ) from error
