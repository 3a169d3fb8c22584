"""The run folder: where a training run keeps its job, data, plan, events, checkpoint, cache and model."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..data.dataset import Dataset
from ..errors import InputError
from ..job import Job
from ..planning.plan import Plan

if TYPE_CHECKING:  # it needs torch, for which a command that only looks at a run need not wait
    from .warm_start import WarmStart

OWN = {"dataset.json", "cases", "start.pt"}
"""What a folder may hold before a run is started in it."""


class RunFolder:
    """Paths and contents of one run.

    Args:
        path: the folder; it need not exist yet.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.job_file = self.path / "job.json"
        self.dataset_file = self.path / "dataset.json"
        self.plan_file = self.path / "plan.json"
        self.events_file = self.path / "events.jsonl"
        self.checkpoint_file = self.path / "checkpoint.pt"
        self.start_file = self.path / "start.pt"
        self.cache = self.path / "cache"
        self.model = self.path / "model"

    def create(self, job: Job, dataset: Dataset, start: "WarmStart | None" = None) -> None:
        """Start a new run. job.json is written last: where it exists, the run can be resumed.

        The folder may hold dataset.json and the volumes that a program exported for it, in ``cases``.

        Args:
            job, dataset: settings and cases.
            start: what the training begins with; None: random weights.

        Raises:
            InputError: the folder holds a run already, or other files.
        """
        if self.job_file.exists():
            raise InputError(
                f"{self.path} holds a training run already.",
                f"Continue it with: metassl train --resume {self.path}\nor choose another folder with --out.",
            )
        names = {p.name for p in self.path.iterdir()} if self.path.exists() else set()
        if any(not name.startswith(".partial-") for name in names - OWN):
            raise InputError(f"{self.path} is not empty and not a training run.", "Choose another folder with --out.")
        dataset.save(self.dataset_file)
        if start is None:
            self.start_file.unlink(missing_ok=True)  # left by a start that was cut off
        else:
            start.save(self.start_file)
        job.save(self.job_file)

    def load(self) -> tuple[Job, Dataset]:
        """Job and data set of a run to resume.

        Raises:
            InputError: no run was started here.
        """
        if not self.job_file.exists():
            raise InputError(
                f"{self.path} holds no training run (no job.json).", "Start one with: metassl train DATASET --out RUN"
            )
        return Job.load(self.job_file), Dataset.load(self.dataset_file)

    def plan(self) -> Plan | None:
        """The plan, or None when the run stopped before planning."""
        return Plan.load(self.plan_file) if self.plan_file.exists() else None
