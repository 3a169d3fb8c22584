"""Label files that a person has made or accepted. They lie in the runs folder: no file of the person is touched."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from metassl import unique_names
from slicer.i18n import tr as _

from .CaseExporter import ExportError
from .Pieces import inThread

FOLDER = "labels"
"""In the runs folder."""


def newLabelPath(runsFolder, name):
    """A path for a label file; no file of that name is there."""
    folder = Path(runsFolder) / FOLDER
    taken = [path.name.partition(".nrrd")[0] for path in folder.glob("*.nrrd")] if folder.is_dir() else []
    (name,) = unique_names([name], taken)
    return folder / f"{name}.nrrd"


def copyPrediction(cases, prediction, classes, path):
    """Pieces that write a predicted labelmap as label file, each class with its value in the table.

    Args:
        cases: the CaseList; it has all of the classes.
        prediction: the labelmap file.
        classes: class name -> value there.
        path: the file to write.

    Raises:
        ExportError: it cannot be read or written.
    """
    known, table = cases.segmentValues(), np.zeros(256, np.uint8)
    for name, value in classes.items():
        table[value] = known[name]

    def copy():
        image = sitk.ReadImage(str(prediction))
        label = sitk.GetImageFromArray(table[sitk.GetArrayViewFromImage(image)])
        label.CopyInformation(image)
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(label, str(path), useCompression=True)

    try:
        yield from inThread(copy)
    except (RuntimeError, OSError, IndexError) as error:
        raise ExportError(
            _("{file} cannot become a label: {error}").format(file=Path(prediction).name, error=error)
        ) from error
