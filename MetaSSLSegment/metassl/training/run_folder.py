"""The run folder: where a training run keeps its job, data, plan, events, checkpoint, cache and model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.dataset import Dataset
from ..errors import InputError
from ..files import PARTIAL, read_json, refuse_links, remove_partial, write_json
from ..job import Job
from ..planning.fingerprint import Fingerprint
from ..planning.plan import Plan
from .run_lock import LOCK_FILE, run_lock

if TYPE_CHECKING:  # it needs torch, for which a command that only looks at a run need not wait
    from .warm_start import WarmStart


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
        self.log_file = self.path / "log.txt"
        self.checkpoint_file = self.path / "checkpoint.pt"
        self.earlier_checkpoint_file = self.path / "checkpoint-before.pt"
        self.start_file = self.path / "start.pt"
        self.lock_file = self.path / LOCK_FILE
        self.cache = self.path / "cache"
        self.model = self.path / "model"
        self._held = False

    @contextmanager
    def held(self, new: bool = False) -> Iterator[None]:
        """Be the only process that writes here; what a killed one left half written is removed.

        Args:
            new: whether the run is yet to be created.

        Raises:
            InputError: another process holds it, it is no run (or is one already), or it holds links.
            DiskError: it cannot be written to.
        """
        if self._held:
            yield
            return
        (self._require_new if new else self._require_run)()
        with run_lock(self.lock_file):
            for folder in (self.path, self.cache, self.model / "configs", self.model / "models"):
                remove_partial(folder)
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def create(self, job: Job, dataset: Dataset, start: "WarmStart | None" = None) -> None:
        """Start a new run. job.json is written last: where it exists, the run can be resumed.

        The folder may hold dataset.json and the volumes that a program exported for it, in ``cases``.

        Args:
            job, dataset: settings and cases.
            start: what the training begins with; None: random weights.

        Raises:
            InputError: the folder holds a run already, or other files.
        """
        self._require_new()
        dataset.save(self.dataset_file)
        if start is None:
            self.start_file.unlink(missing_ok=True)  # left by a start that was cut off
        else:
            start.save(self.start_file)
        job.save(self.job_file)

    def load(self) -> tuple[Job, Dataset]:
        """Job and data set of a run to resume.

        Raises:
            InputError: no run was started here, or what is here is damaged or a link.
        """
        self._require_run()
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
        return Fingerprint.from_dict(read_json(self.fingerprint_file), f"{self.fingerprint_file} is damaged:")

    def checkpoints(self) -> list[Path]:
        """The checkpoints that there are, the newest first."""
        return [file for file in (self.checkpoint_file, self.earlier_checkpoint_file) if file.exists()]

    def _require_new(self) -> None:
        if self.job_file.exists():
            raise InputError(
                f"{self.path} holds a training run already.",
                f"Continue it with: metassl train --resume {self.path}\nor choose another folder with --out.",
            )
        ours = {self.dataset_file.name, "cases", self.start_file.name, self.lock_file.name}
        others = {p.name for p in self.path.iterdir()} - ours if self.path.exists() else set()
        if any(not name.startswith(PARTIAL) for name in others):
            raise InputError(f"{self.path} is not empty and not a training run.", "Choose another folder with --out.")

    def _require_run(self) -> None:
        files = (path for path in vars(self).values() if isinstance(path, Path) and path != self.path)
        refuse_links(*files)
        if not self.job_file.is_file():
            raise InputError(
                f"{self.path} holds no training run (no job.json).", "Start one with: metassl train DATASET --out RUN"
            )
