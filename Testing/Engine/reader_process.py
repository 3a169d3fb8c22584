"""Check single volumes one after the other, a line of JSON each; a hang ends the process with a traceback.

python reader_process.py JOBS: a JSON list of [path, image]; with an image, the path is its label.
"""

import faulthandler
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from metassl.data.checking import check_dataset
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.data.labels import read_label
from metassl.data.reading import read_images

LONGEST = 30
"""Seconds that reading a file may take."""
CLASSES = (SegmentClass("Liver", 1, (255, 0, 0)), SegmentClass("Tumour", 2, (0, 255, 0)))


def look(path: str, image: str | None) -> dict:
    """Findings of one case; and what was read, when it can be used."""
    case = Case("case", (image or path,), path, "labelled") if image else Case("case", (path,))
    dataset = Dataset("d", ("MR",), CLASSES, (case,))
    problems = [p for p in check_dataset(dataset).problems if p.case_id]
    found = {"said": [f"{p.severity} {p.code}: {p.message}" for p in problems]}
    if not any(p.severity == "excluded" for p in problems):
        (volume,) = read_images(case)
        array = read_label(path, dataset, volume) if image else sitk.GetArrayViewFromImage(volume)
        found["voxels"] = hashlib.sha256(np.ascontiguousarray(array, np.float32)).hexdigest()
        found["grid"] = [list(volume.GetSpacing()), list(volume.GetOrigin()), list(volume.GetDirection())]
    return found


if __name__ == "__main__":
    for job in json.loads(Path(sys.argv[1]).read_text()):
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        print(json.dumps(look(*job)), flush=True)
