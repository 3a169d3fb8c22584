"""Stand-in of Slicer's module `SampleData`: keeps the sources that modules register; nothing is ever downloaded.

As in Slicer, the file fields of a source are lists of one length, also when a custom downloader needs none of them;
None for `uris` raises TypeError. A custom downloader runs by a click on its picture only (`click`), not by
`downloadSample`.
"""

import slicer

_FILE_FIELDS = ("uris", "fileNames", "nodeNames", "loadFiles", "loadFileTypes", "checksums")


class SampleDataSource:
    def __init__(
        self,
        sampleName=None,
        sampleDescription=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        checksums=None,
        loadFiles=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFileProperties=None,
        loadFileType=None,
    ):
        if loadFileType is not None:
            if loadFileTypes is not None:
                raise ValueError("loadFileType and loadFileTypes cannot be given both")
            loadFileTypes = loadFileType
        if isinstance(uris, list | tuple):
            if loadFileTypes is None or isinstance(loadFileTypes, str):
                loadFileTypes = [loadFileTypes] * len(uris)
            empty = [None] * len(uris)
            nodeNames, loadFiles, checksums = (empty if v is None else v for v in (nodeNames, loadFiles, checksums))
        elif isinstance(uris, str):
            uris, fileNames, nodeNames = [uris], [fileNames], [nodeNames]
            loadFiles, loadFileTypes, checksums = [loadFiles], [loadFileTypes], [checksums]
        self.sampleName = sampleName
        self.sampleDescription = sampleName if sampleDescription is None else sampleDescription
        self.customDownloader, self.thumbnailFileName = customDownloader, thumbnailFileName
        self.loadFileProperties = loadFileProperties or {}
        self.uris, self.fileNames, self.nodeNames = uris, fileNames, nodeNames
        self.loadFiles, self.loadFileTypes, self.checksums = loadFiles, loadFileTypes, checksums
        lengths = {name: len(getattr(self, name)) for name in _FILE_FIELDS}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"All fields of a sample data source must have the same length: {lengths}")

    def __eq__(self, other):
        return str(self) == str(other)

    __hash__ = None

    def __str__(self):
        return str(vars(self))


class SampleDataLogic:
    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFiles=None,
        loadFileProperties=None,
        checksums=None,
        loadFileType=None,
    ):
        source = SampleDataSource(
            sampleName,
            None,
            uris,
            fileNames,
            nodeNames,
            checksums,
            loadFiles,
            customDownloader,
            thumbnailFileName,
            loadFileTypes,
            loadFileProperties,
            loadFileType,
        )
        sources = _allSources().setdefault(category, [])
        if source not in sources:
            sources.append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category=None):
        return _allSources() if category is None else _allSources().get(category, [])

    def sourceForSampleName(self, sampleName):
        every = (source for sources in _allSources().values() for source in sources)
        return next((source for source in every if source.sampleName == sampleName), None)

    def downloadSamples(self, sampleName):
        source = self.sourceForSampleName(sampleName)
        if source is not None and source.uris:
            raise NotImplementedError("the harness downloads nothing")
        return []

    def downloadSample(self, sampleName):
        return self.downloadSamples(sampleName)[0]


def click(sampleName):
    """For tests: what a click on a sample's picture in the module Sample Data does."""
    source = SampleDataLogic().sourceForSampleName(sampleName)
    if source.customDownloader is None:
        return SampleDataLogic().downloadSamples(sampleName)
    return source.customDownloader(source)


def _allSources():
    if not hasattr(slicer.modules, "sampleDataSources"):
        slicer.modules.sampleDataSources = {}
    return slicer.modules.sampleDataSources
