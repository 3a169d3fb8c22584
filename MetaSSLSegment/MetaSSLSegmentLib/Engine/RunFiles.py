"""What runs take on the disk, and models as single files."""

import os
import shutil
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

from metassl import run_holder

from .ModelCard import cardOf
from .Runs import FINISHED, modelIn, stateOf


class RunFacts(NamedTuple):
    """What is worth knowing of a run when room is needed.

    Attributes:
        path: the run folder.
        isFinished: whether it has used up its budget.
        size: bytes of all its files.
        cacheSize: bytes of its preprocessed volumes, which only a training needs.
        holdOutDice: of its model; None when nothing was measured.
        date: when it was started or last resumed, as 2026-11-25 17:30.
        cases: number of cases that its model was trained with or measured on; None without a model.
        holder: the process that works on it now, in words; "" for none.
    """

    path: Path
    isFinished: bool
    size: int
    cacheSize: int
    holdOutDice: float | None
    date: str
    cases: int | None
    holder: str


def factsOf(run):
    """The facts of a run folder."""
    run = Path(run)
    card = cardOf(run / "model")
    size, cacheSize = _sizesOf(run)
    used = [count for role, count in card.cases.items() if role != "ignored"]
    return RunFacts(
        run,
        stateOf(run) == FINISHED,
        size,
        cacheSize,
        card.holdOutDice,
        time.strftime("%Y-%m-%d %H:%M", time.localtime((run / "job.json").stat().st_mtime)),
        sum(used) if used else None,
        run_holder(run),
    )


def deleteCache(run):
    """Delete the preprocessed volumes of a run; a training that is resumed makes them anew.

    Raises:
        OSError: a file cannot be deleted.
    """
    shutil.rmtree(Path(run) / "cache")


def deleteRun(run):
    """Delete a run folder with its model.

    Raises:
        OSError: a file cannot be deleted.
    """
    shutil.rmtree(run)


def exportModel(model, path):
    """Write a model folder as one .zip file.

    Raises:
        OSError: the file cannot be written.
    """
    path, temporary = Path(path), Path(f"{path}.part")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(Path(model).rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(model))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def importModel(path, folder):
    """Unpack a model that was exported.

    Args:
        path: the .zip file.
        folder: where to unpack it; a new folder, which is removed when that fails.

    Returns:
        The ModelFolder.

    Raises:
        ValueError: the file holds no model.
        OSError: it cannot be read, or the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)  # never outside of the folder, whatever the names in the archive are
        model = modelIn(folder)
        if model is None:
            raise ValueError(f"{path} holds no MetaSSL model.")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # damaged, or compressed or locked oddly
        shutil.rmtree(folder, ignore_errors=True)
        raise ValueError(f"{path} is damaged or no .zip file: {error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return model


def _sizesOf(run):
    """Bytes of all files of a run, and of those in its cache."""
    total = cache = 0
    for parent, _folders, names in os.walk(run):
        isCache = Path(parent).relative_to(run).parts[:1] == ("cache",)
        for name in names:
            try:
                size = os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
            total, cache = total + size, cache + size * isCache
    return total, cache
