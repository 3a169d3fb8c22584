"""MetaSSL: semi-supervised segmentation of medical volumes that shows where its two predictions agree.

The engine speaks files and torch, never Slicer or Qt. Importing it costs nothing: what is named below is imported when
it is asked for, and torch only by what needs it.

``from metassl import NAME`` works for the names below and keeps working; everything else may move between versions.
"""

from importlib import import_module
from typing import Any

__version__ = "1.0.0"

VOCABULARY = {
    "MetaSSLError": "errors",
    "InputError": "errors",
    "duration": "events",
    "read_events": "events",
    "FEW_STEPS": "job",
    "LEAST_FOR_HALVES": "job",
    "Job": "job",
    "REGIONS": "regions",
    "INTENSITIES": "data.dataset",
    "MOST_CLASSES": "data.dataset",
    "ROLES": "data.dataset",
    "Case": "data.dataset",
    "Dataset": "data.dataset",
    "SegmentClass": "data.dataset",
    "unique_names": "data.dataset",
    "means_ignore": "data.names",
    "GEOMETRY_REMEDIES": "data.geometry",
    "geometry_problem": "data.geometry",
    "run_holder": "training.run_lock",
}
"""Name -> module of what the Slicer side uses: free of torch, SimpleITK and MONAI."""
FUNCTIONS = {
    "make_sample": "data.sample",
    "check_dataset": "data.checking",
    "prepare": "layouts.prepare",
    "RunFolder": "training.run_folder",
    "train": "training.train",
    "load_model": "inference.model",
    "predict_volume": "inference.volume",
    "predict_files": "prediction.predict",
    "rank_cases": "review.next_case",
    "audit_dataset": "review.audit",
    "write_report": "review.report",
    "evaluate_folder": "evaluation.evaluate",
}
"""Name -> module of what every command of ``metassl`` does, for Python programs."""


def __getattr__(name: str) -> Any:
    module = (VOCABULARY | FUNCTIONS).get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
