"""What stands in the way of opening a path, found out before anything opens it."""

import errno
import os
import stat
from pathlib import Path

from .rules import UnusableCase


def require_access(path: Path | str) -> None:
    """Raise unless the path is a file or a folder that may be read; a pipe would be waited for without end.

    Raises:
        UnusableCase: missing, a link that leads nowhere, a pipe or device, no permission, or a name that is no text.
    """
    try:
        str(path).encode()
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):
            raise UnusableCase("link", f"{path} is a link to {os.readlink(path)}, which does not exist.") from None
        raise UnusableCase("missing-file", f"{path} does not exist.") from None
    except (UnicodeEncodeError, ValueError):
        shown = str(path).encode(errors="backslashreplace").decode()
        raise UnusableCase("file-name", f"{shown} has a name that is no valid text.") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnusableCase("link", f"{path} is a link that leads back to itself.") from None
        if isinstance(error, PermissionError):
            raise _forbidden(path) from None
        raise UnusableCase("not-a-file", f"{path} cannot be opened: {error.strerror or error}.") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UnusableCase("not-a-file", f"{path} is neither a file nor a folder but a pipe or a device.")
    if not os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)):
        raise _forbidden(path)


def _forbidden(path: Path | str) -> UnusableCase:
    return UnusableCase("no-permission", f"{path} may not be read: you have no permission.")
