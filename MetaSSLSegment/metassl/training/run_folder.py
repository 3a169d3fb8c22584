"""The run folder: where a training run keeps its job, data, plan, events, checkpoint, cache and model."""

from pathlib import Path

from ..data.dataset import Dataset
from ..errors import InputError
from ..files import read_json, write_json
from ..job import Job
from ..planning.fingerprint import Fingerprint
from ..planning.plan import Plan


class RunFolder:
    """Paths and contents of one run.

    Args:
        path: the folder; it need not exist yet.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.job_file = self.path / "job.json"
        self.dataset_file = self.path / "dataset.json"
        self.fingerprint_file = self.path / "fingerprint.json"
        self.plan_file = self.path / "plan.json"
        self.events_file = self.path / "events.jsonl"
        self.checkpoint_file = self.path / "checkpoint.pt"
        self.cache = self.path / "cache"
        self.model = self.path / "model"

    def create(self, job: Job, dataset: Dataset) -> None:
        """Start a new run. job.json is written last: where it exists, the run can be resumed.

        The folder may hold dataset.json and the volumes that a program exported for it, in ``cases``.

        Raises:
            InputError: the folder holds a run already, or other files.
        """
        if self.job_file.exists():
            raise InputError(
                f"{self.path} holds a training run already.",
                f"Continue it with: metassl train --resume {self.path}\nor choose another folder with --out.",
            )
        others = {p.name for p in self.path.iterdir()} - {"dataset.json", "cases"} if self.path.exists() else set()
        if any(not name.startswith(".partial-") for name in others):
            raise InputError(f"{self.path} is not empty and not a training run.", "Choose another folder with --out.")
        dataset.save(self.dataset_file)
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

    def save_fingerprint(self, fingerprint: Fingerprint) -> None:
        """Write fingerprint.json."""
        write_json(self.fingerprint_file, fingerprint.to_dict())

    def fingerprint(self) -> Fingerprint | None:
        """The fingerprint of the data, None in runs that an older version planned.

        Raises:
            InputError: it is damaged.
        """
        if not self.fingerprint_file.exists():
            return None
        try:
            return Fingerprint.from_dict(read_json(self.fingerprint_file))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.fingerprint_file} is damaged: {type(error).__name__} {error}.") from error
