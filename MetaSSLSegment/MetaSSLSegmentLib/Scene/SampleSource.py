import shutil
from pathlib import Path

import slicer
from metassl import Dataset
from slicer.i18n import tr as _

from .CaseList import isDataset

NAME = "MetaSSLSample"


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

    def progress(done, total, name=""):
        slicer.app.processEvents()

    if not sampleIsMade():
        discardUnfinished()
        make_sample(sampleDataset().parent, progress=progress)
    case = Dataset.load(sampleDataset()).with_role("ignored")[0]  # a test case: no training ever sees it
    node = slicer.util.loadVolume(case.images[0], {"name": _("MetaSSL sample")})
    return [node]
