import shutil
import time
from pathlib import Path

import slicer
from metassl import Dataset
from slicer.i18n import tr as _

from .CaseList import isDataset

NAME = "MetaSSLSample"
MAKING = []
"""Who is making the sample now: a second one would take the folder away from the first."""
SECONDS_BETWEEN_LOOKS = 0.02
"""While somebody else is making it."""


def sampleDataset():
    """Where the dataset.json of the synthetic data set is, or will be."""
    return Path(slicer.app.cachePath) / "MetaSSL sample" / "dataset.json"


def sampleIsMade():
    """Whether it is there; dataset.json is written last, and one of another version does not count."""
    return isDataset(sampleDataset())


def discardUnfinished():
    """Remove a sample whose making was interrupted."""
    if not sampleIsMade():
        shutil.rmtree(sampleDataset().parent, ignore_errors=True)


def registerSampleData(iconFile):
    """Offer the synthetic data set in the module Sample Data. Nothing is made or downloaded before it is chosen."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="MetaSSL",
        sampleName=NAME,
        uris=[],  # lists of one length, although the downloader needs none of them
        fileNames=[],
        nodeNames=[],
        customDownloader=makeAndLoad,
        thumbnailFileName=str(iconFile),
    )


def makeAndLoad(source=None):
    """Make the data set when it is not there yet, and load one of its unlabelled volumes to segment.

    Returns:
        The volume node, in a list.
    """
    from metassl import make_sample

    def progress(done=0, total=0, name=""):
        slicer.app.processEvents()

    while MAKING:
        progress()
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if not sampleIsMade():
        MAKING.append(NAME)
        try:
            discardUnfinished()
            make_sample(sampleDataset().parent, progress=progress)
        finally:
            MAKING.remove(NAME)
    case = Dataset.load(sampleDataset()).with_role("ignored")[0]  # a test case: no training ever sees it
    node = slicer.util.loadVolume(case.images[0], {"name": _("MetaSSL sample")})
    return [node]
