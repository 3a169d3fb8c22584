import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from metassl import run_holder, unique_names

FINISHED, UNFINISHED = "finished", "unfinished"
TAIL = 65536
"""Bytes at the end of events.jsonl in which its last event is looked for: there may be thousands of runs."""


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
        (name,) = unique_names([name.strip(". ") or "run"], longest=40)
        stamp = time.strftime("%Y-%m-%d %H.%M.%S")
        path, number = self.folder / f"{name} {stamp}", 2
        while os.path.exists(path):
            path, number = self.folder / f"{name} {stamp} ({number})", number + 1
        return path

    def unfinished(self):
        """Runs that can be resumed, newest first; not those that another process works on."""
        return [run for run in self.all() if stateOf(run) == UNFINISHED and not run_holder(run)]

    def models(self):
        """Models of the runs, newest first, and those copied into the runs folder."""
        found = [self.folder, *_folders(self.folder)]
        models = {model.path: model for model in map(modelIn, found) if model is not None}.values()
        return sorted(models, key=lambda model: _modified(model.path / "configs" / "metadata.json"), reverse=True)

    def stepsPerMinute(self, method):
        """The pace of the newest training with a method that was not cut off, or None."""
        for run in self.all():
            try:
                if _jobOf(run)["method"] == method and (last := _lastEvent(run))["event"] == "done":
                    return 60 * float(last["iterations"]) / float(last["seconds"])
            except (OSError, ValueError, TypeError, KeyError, ZeroDivisionError, RecursionError):
                continue
        return None

    def all(self):
        """All runs, newest first."""
        runs = [folder for folder in _folders(self.folder) if os.path.isfile(folder / "job.json")]
        return sorted(runs, key=lambda run: _modified(run / "job.json"), reverse=True)


def stateOf(run):
    """Whether a run has used up its budget: then its last event says so."""
    last = _lastEvent(run)
    return FINISHED if last.get("event") == "done" and not last.get("stopped") else UNFINISHED


def warmUpOf(run):
    """The share of a run's budget in which the labelled cases teach alone; 0 when unknown, or nothing else teaches."""
    try:
        job = _jobOf(run)
        return 0.0 if job["method"] == "supervised" else float(job["warm_up"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return 0.0


def _jobOf(run):
    return json.loads((Path(run) / "job.json").read_text(encoding="utf-8"))


def _lastEvent(run):
    """The last event that a run has kept; empty when there is none."""
    try:
        with open(Path(run) / "events.jsonl", "rb") as file:
            file.seek(max(0, os.path.getsize(file.name) - TAIL))
            lines = file.read().split(b"\n")
    except (OSError, ValueError):
        lines = []
    return next(_parsed(reversed(lines)), {})


def eventsOf(run):
    """The events that a run has kept; cut or damaged lines are left out."""
    try:
        return list(_parsed((Path(run) / "events.jsonl").read_bytes().split(b"\n")))
    except (OSError, ValueError):
        return []


def _parsed(lines):
    """The events among lines, one after the other."""
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event


def modelIn(folder):
    """The model of a run folder, or of a model folder itself; None when there is none."""
    folder = Path(folder)
    for path in (folder / "model", folder):
        if os.path.isfile(path / "models" / "model.pt") and _isOurs(path / "configs" / "metadata.json"):
            return ModelFolder(path, folder.name)
    return None


def _isOurs(metadata):
    """Whether a MONAI bundle is a model of MetaSSL, by its description; other bundles have the same layout."""
    try:
        return b'"metassl"' in metadata.read_bytes()
    except (OSError, ValueError):
        return False


def classesOf(model):
    """Classes of a model folder: list of dictionaries with name, value, colour and terminology.

    Raises:
        ValueError: metadata.json does not describe a MetaSSL model.
    """
    path = Path(model) / "configs" / "metadata.json"
    try:
        classes = json.loads(path.read_text(encoding="utf-8"))["metassl"]["classes"]
        return [_classOf(described) for described in classes]
    except KeyError as error:
        raise ValueError(f"{path}: {error} is missing") from error
    except (OSError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error


def _classOf(described):
    red, green, blue = (int(part) for part in described["colour"])
    return {
        "name": str(described["name"]),
        "value": int(described["value"]),
        "colour": (red, green, blue),
        "terminology": described.get("terminology"),
    }


def _folders(folder):
    try:
        with os.scandir(folder) as found:
            return [Path(entry.path) for entry in found if os.path.isdir(entry.path)]
    except (OSError, ValueError):
        return []


def _modified(path):
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
