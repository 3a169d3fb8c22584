"""The cases that files, folders and data sets name."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..data.dataset import ROLES, Case, Dataset, unique_names
from ..data.images import dicom_series, is_image_file, stem
from ..errors import InputError

CHANNEL_ENDING = re.compile(r"_(\d{4})$")


def find_cases(inputs: Sequence[Path | str], channels: int, roles: Sequence[str] = ROLES) -> list[Case]:
    """The cases that the inputs name, each with a name of its own.

    Args:
        inputs: see ``predict_files``.
        channels: image channels that the model needs; with several, files ``NAME_0000``, ``NAME_0001`` and so on
            belong together.
        roles: which cases of a dataset.json to take.

    Raises:
        InputError: an input does not exist or holds no volume, or there is nothing to segment.
    """
    found: list[tuple[str, tuple[str, ...]]] = []
    loose: list[Path] = []
    for path in map(Path, inputs):
        if not path.exists():
            raise InputError(f"{path} does not exist.", "Check the path.")
        if path.suffix == ".json":
            found += [(case.id, case.images) for case in Dataset.load(path).with_role(*roles)]
        elif not path.is_dir():
            loose.append(path)
        elif files := sorted(p for p in path.iterdir() if is_image_file(p)):
            loose += files
        else:
            found += _dicom_cases(path)
    found += _group_channels(loose, channels)
    if not found:
        raise InputError("There is nothing to segment.", f"No case has one of the roles {', '.join(roles)}.")
    # summary.json is about all cases; 200: evaluate looks for these names, so only what no disk takes is shortened
    names = unique_names((name for name, _ in found), taken=["summary"], longest=200)
    return [Case(name, images) for name, (_, images) in zip(names, found)]


def _dicom_cases(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The series that the folder, or else its sub-folders hold, each named like its folder."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    series = [folder] if dicom_series(folder) else [path for path in inner if dicom_series(path)]
    if not series:
        raise InputError(f"{folder} holds no volume.", "Give image files, or folders of images or DICOM series.")
    return [(Path(os.path.abspath(p)).name, (str(p.absolute()),)) for p in series]


def _group_channels(files: Sequence[Path], channels: int) -> list[tuple[str, tuple[str, ...]]]:
    """Name and files of each case; one file is one case unless the model needs several channels."""
    if channels == 1:
        return [(stem(file), (str(file.absolute()),)) for file in files]
    groups: dict[tuple[Path, str], list[str]] = {}
    for file in files:
        name = CHANNEL_ENDING.sub("", stem(file))
        groups.setdefault((file.absolute().parent, name), []).append(str(file.absolute()))
    # one file may hold all channels
    return [(name, tuple(p * channels if len(p) == 1 else sorted(p))) for (_, name), p in groups.items()]
