import json
import re
import time
from pathlib import Path
from typing import NamedTuple

FINISHED, UNFINISHED = "finished", "unfinished"


class ModelFolder(NamedTuple):
    """A trained model that can be chosen.

    Attributes:
        path: the model folder.
        name: for people.
    """

    path: Path
    name: str


class Runs:
    """The training runs below one folder.

    Args:
        folder: where runs are made; it need not exist yet.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def newFolder(self, name):
        """A path for a new run, named after data set and time."""
        name = re.sub(r"[\\/:*?\"<>|\x00-\x1f]+", "_", name).strip(". ")[:40] or "run"
        stamp = time.strftime("%Y-%m-%d %H.%M.%S")
        path, number = self.folder / f"{name} {stamp}", 2
        while path.exists():
            path, number = self.folder / f"{name} {stamp} ({number})", number + 1
        return path

    def unfinished(self):
        """Runs that can be resumed, newest first."""
        return [run for run in self._runs() if stateOf(run) == UNFINISHED]

    def models(self):
        """Models of the runs, newest first, and those copied into the runs folder."""
        found = [self.folder, *_folders(self.folder)]
        models = [model for folder in found for model in (modelIn(folder),) if model is not None]
        return sorted(models, key=lambda model: _modified(model.path / "configs" / "metadata.json"), reverse=True)

    def _runs(self):
        runs = [folder for folder in _folders(self.folder) if (folder / "job.json").exists()]
        return sorted(runs, key=lambda run: _modified(run / "job.json"), reverse=True)


def stateOf(run):
    """Whether a run reached the end of its budget."""
    last = next(
        (event for event in reversed(eventsOf(run)) if event.get("event") in ("start", "done", "error")),
        {},
    )
    return FINISHED if last.get("event") == "done" and not last.get("stopped") else UNFINISHED


def eventsOf(run):
    """The events that a run has kept; cut or damaged lines are left out."""
    try:
        lines = (Path(run) / "events.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def modelIn(folder):
    """The model of a run folder, or of a model folder itself; None when there is none."""
    folder = Path(folder)
    for path in (folder / "model", folder):
        if (path / "configs" / "metadata.json").is_file() and (path / "models" / "model.pt").is_file():
            return ModelFolder(path, folder.name)
    return None


def classesOf(model):
    """Classes of a model folder: list of dictionaries with name, value, colour and terminology.

    Raises:
        ValueError: metadata.json is no description of a MetaSSL model.
    """
    path = Path(model) / "configs" / "metadata.json"
    try:
        classes = json.loads(path.read_text(encoding="utf-8"))["metassl"]["classes"]
        return [
            {
                "name": str(c["name"]),
                "value": int(c["value"]),
                "colour": tuple(int(part) for part in c["colour"]),
                "terminology": c.get("terminology"),
            }
            for c in classes
        ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _folders(folder):
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []


def _modified(path):
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
