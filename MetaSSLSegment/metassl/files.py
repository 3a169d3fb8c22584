"""Reading and writing files so that a kill at any instant leaves the previous state readable, and a file that somebody
else made does no harm."""

import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import DiskError, InputError

PATIENCE = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between attempts to replace a file that another program holds."""
PARTIAL = ".partial-"
"""How the names of files begin that are not finished."""
MOST_BYTES = 32 * 2**20
"""Larger JSON files are refused; in memory they take some twenty times as much."""
DEEPEST = 40
"""Objects and lists may lie so deep inside each other."""
NIFTI_HEADER = 352
JUNCTION = 0xA0000003
"""Windows' tag of a folder that leads to another one."""

_unfinished: set[Path] = set()


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
    temporary = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)  # a link with that name would lead the writer elsewhere
        _unfinished.add(temporary)
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
        _unfinished.discard(temporary)


def remove_unfinished() -> None:
    """Remove what is being written, before the process ends in the midst of it."""
    for temporary in list(_unfinished):
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Remove what killed processes left half written in a folder that nobody else writes to."""
    with suppress(OSError):
        for partial in folder.glob(f"{PARTIAL}*"):
            partial.unlink()


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


def require_whole(path: Path | str, voxel_bytes: int) -> None:
    """Make sure that an array just written is all there: onto a full disk, ITK and numpy lose its end without a word.

    Args:
        path: of a .nii.gz, .nii, .nrrd or .npy file; the writers of other formats say it themselves.
        voxel_bytes: of the array in memory.

    Raises:
        OSError: its end is missing.
    """
    with open(path, "rb") as file:
        head = file.read(2**16)
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - 4))
        last = file.read()
    name = Path(path).name.lower()
    header, packed = NIFTI_HEADER, name.endswith(".gz")
    content = NIFTI_HEADER + voxel_bytes
    if name.endswith(".nrrd"):
        header, packed = head.find(b"\n\n") + 2, b"\nencoding: gzip" in head
        content = voxel_bytes
    elif name.endswith(".npy"):
        header = 10 + int.from_bytes(head[8:10], "little")
    elif not name.endswith((".nii", ".nii.gz")):
        return
    # gzip ends with the length of its content
    if last != (content % 2**32).to_bytes(4, "little") if packed else length != header + voxel_bytes:
        raise OSError("its end is missing, probably because the disk is full")


def refuse_links(*paths: Path) -> None:
    """Make sure that files and folders, and all in them, are what they seem: a link may lead to anybody's files.

    Args:
        paths: that need not exist.

    Raises:
        InputError: one is a link, a pipe or a device; names it.
    """
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        with suppress(FileNotFoundError, NotADirectoryError):
            state = os.lstat(path)
            is_folder = stat.S_ISDIR(state.st_mode) and getattr(state, "st_reparse_tag", 0) != JUNCTION
            if not is_folder and not stat.S_ISREG(state.st_mode):
                raise InputError(
                    f"{path} is a link or no plain file; inside run and model folders these are not followed.",
                    "Put the file or folder itself in its place, or remove it.",
                )
            if is_folder:
                waiting += (Path(entry.path) for entry in os.scandir(path))


def write_text(path: Path | str, text: str, durable: bool = True) -> None:
    """Write ``text`` as UTF-8, replacing ``path`` in one step."""
    with replacing(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_text(path: Path, text: str) -> None:
    """Append ``text`` as UTF-8; raises OSError also where the file is a link."""
    no_links = getattr(os, "O_NOFOLLOW", 0)
    with open(
        path,
        "a",
        encoding="utf-8",
        errors="backslashreplace",
        opener=lambda p, flags: os.open(p, flags | no_links, 0o666),
    ) as file:
        file.write(text)


def write_json(path: Path | str, content: Any, durable: bool = True) -> None:
    """Write ``content`` as indented JSON, replacing ``path`` in one step; ``durable`` as in ``replacing``."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    with suppress(UnicodeEncodeError):  # file names that are no text
        text.encode()
        return write_text(path, text + "\n", durable)
    write_text(path, json.dumps(content, indent=2) + "\n", durable)


def read_json(path: Path | str) -> Any:
    """Read a JSON file that anybody may have written; ``validation`` checks what is in it.

    Raises:
        InputError: the file is missing, unreadable, no plain file, not JSON, or too large or too deep.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise InputError(
                f"{path} is not a file." if path.exists() else f"{path} does not exist.", "Check the path."
            )
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise InputError(f"{path} is larger than {MOST_BYTES // 2**20} MB, which no file of MetaSSL is.")
        content = json.loads(data.decode("utf-8-sig"))
        _require_shallow(content)
        return content
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.", "Check the path and whether you may read it.") from error
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
        raise InputError(
            f"{path} is not valid JSON: {error}.", "Make the file again or correct it in an editor."
        ) from error


def _require_shallow(content: Any) -> None:
    level = [content]
    for _ in range(DEEPEST):
        inner = [part for part in level if isinstance(part, (dict, list))]
        level = [value for part in inner for value in (part.values() if isinstance(part, dict) else part)]
        if not level:
            return
    raise ValueError(f"objects and lists lie more than {DEEPEST} deep inside each other")
