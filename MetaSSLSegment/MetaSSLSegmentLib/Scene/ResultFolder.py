"""The results of a folder of volumes, and what a person has decided about them."""

import csv
import io
import json
import os
import zlib
from pathlib import Path
from typing import NamedTuple

from metassl import unique_names

from .Findings import agreementIn, placesIn

DECISIONS = ("accepted", "corrected", "rejected", "labelled")
"""What a person may decide; "labelled": the result, as it was or corrected, teaches."""
FILE = "review.csv"
"""Beside the results: a line per case with a decision."""
LARGEST = 2**20
"""Bytes of a NAME.json; longer ones say something else."""
COLUMNS = ["case", "decision", "result"]


class FolderCase(NamedTuple):
    """The result of one case.

    Attributes:
        name: of the case; its files begin with it.
        images: paths of its channels.
        classes: class name -> voxel value.
        volumes: class name -> ml.
        agreement: of the two predictions, 0-1; None when it is not told.
        places: number of places to look at.
        checksum: of NAME.json: another one when the case was segmented again.
    """

    name: str
    images: list
    classes: dict
    volumes: dict
    agreement: float | None
    places: int
    checksum: str


def casesIn(folder):
    """The cases whose results lie in a folder, those whose predictions agree least first; what is no result is left
    out."""
    try:
        with os.scandir(folder) as found:
            files = sorted(Path(entry.path) for entry in found if entry.name.endswith(".json"))
    except (OSError, ValueError):
        return []
    cases = [case for case in map(caseOf, files) if case is not None]
    return sorted(cases, key=lambda case: -1 if case.agreement is None else case.agreement)


def caseOf(file):
    """The FolderCase of a NAME.json; None when there is no result that belongs to it."""
    try:
        if file.stat().st_size > LARGEST:
            return None
        text = file.read_bytes()
        told = json.loads(text)
        name, images = told["case"], list(told["images"])
        classes = {str(key): int(value) for key, value in told["classes"].items()}
        volumes = {str(key): float(value) for key, value in told["volume_ml"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None
    isOurs = name == file.stem and file.with_name(f"{name}_seg.nii.gz").is_file()
    if not isOurs or not images or not all(isinstance(image, str) for image in images):
        return None
    if not all(1 <= value <= 255 for value in classes.values()) or not volumes.keys() <= classes.keys():
        return None
    checksum = f"{zlib.crc32(text):08x}"
    return FolderCase(name, images, classes, volumes, agreementIn(told), len(placesIn(told)), checksum)


class Decisions:
    """What a person has decided about the results in a folder, kept in a file beside them.

    A decision about a result that was replaced meanwhile does not count any more.

    Args:
        folder: with the results.
        cases: its FolderCases.
    """

    def __init__(self, folder, cases):
        self.path = Path(folder) / FILE
        self.ignored = 0
        """Number of lines in the file that could not be understood."""
        self._checksums = {case.name: case.checksum for case in cases}
        self._decided = {}
        self._take()

    def _take(self):
        """Take what the file says now: it may be open elsewhere too."""
        self.ignored, self._decided = 0, {}
        for line in self._read():
            name, decision, checksum = (line.get(column) for column in COLUMNS)
            if name not in self._checksums or decision not in DECISIONS or not checksum:
                self.ignored += 1
            elif checksum == self._checksums[name]:
                self._decided[name] = decision

    def of(self, name):
        """The decision about a case; "" when there is none."""
        return self._decided.get(name, "")

    def decide(self, name, decision):
        """Keep a decision about a case. A file with lines that are not understood is kept under another name.

        Raises:
            OSError: the file cannot be written.
        """
        self._take()
        decided, text = {**self._decided, name: decision}, io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows([name, decision, self._checksums[name]] for name, decision in sorted(decided.items()))
        temporary = self.path.with_name(f"{FILE}.part")
        temporary.unlink(missing_ok=True)  # it may be a link
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
        if self.ignored:
            taken = [path.stem for path in self.path.parent.glob("*.csv")]
            (kept,) = unique_names([f"{self.path.stem} kept"], taken)
            os.replace(self.path, self.path.with_name(f"{kept}.csv"))
        os.replace(temporary, self.path)
        self._decided, self.ignored = decided, 0

    def _read(self):
        """The lines of the file, as dictionaries; spreadsheet programs write ; instead of , in some countries."""
        try:
            text = self.path.read_text(encoding="utf-8-sig")
            delimiter = ";" if ";" in text.partition("\n")[0] else ","
            return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, csv.Error):
            self.ignored += 1
            return []
