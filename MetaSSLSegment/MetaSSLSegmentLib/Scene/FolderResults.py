"""Results of a folder in the scene: one at a time, the next one replaces it unless it was corrected."""

import colorsys
from pathlib import Path

import slicer

from .CaseFiles import loadCase
from .CaseNodes import voxelsOf
from .Correction import correctionOf
from .Result import VOLUME, isInScene, removeNode, resultsInScene

SOURCE = "MetaSSL.source"
"""Attribute of what was loaded from a folder: file of its numbers and their checksum."""
VOXELS = "MetaSSL.voxels"
"""Attribute of segmentations that were loaded from a folder: another text when somebody has drawn in them."""


def sourceOf(folder, case):
    """What tells the result of a FolderCase from all others."""
    return f"{Path(folder) / case.name}.json {case.checksum}"


def resultOf(folder, case):
    """The Result of a FolderCase that is in the scene already, or None."""
    source = sourceOf(folder, case)
    found = (result for result in resultsInScene() if result.first.GetAttribute(SOURCE) == source)
    return next((result for result in found if result.volumeNode is not None), None)


def loadResult(loader, cases, folder, case, classes):
    """Pieces that load the result of a FolderCase with its image, in the place of the one before; they return it.

    Args:
        loader: a ResultLoader.
        cases: the CaseList: volumes of its cases stay.
        folder: with the results.
        case: the FolderCase.
        classes: as ``coloured`` gives them.

    Raises:
        LoadError: image or result cannot be read.
    """
    removeLoaded(cases)
    yield
    known = set(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))
    volume = loadCase(case.images, case.name)
    try:
        yield
        kinds = [kind for kind, ending in ENDINGS.items() if (Path(folder) / f"{case.name}_{ending}.nii.gz").is_file()]
        result = yield from loader.pieces(volume, folder, case.name, classes, kinds, byPlace=True)
    except BaseException:  # GeneratorExit too
        if volume not in known:
            removeNode(volume)
        raise
    for node in (*result.nodes.values(), *([] if volume in known else [volume])):
        node.SetAttribute(SOURCE, sourceOf(folder, case))
    if "segmentation" in result.nodes:
        result.nodes["segmentation"].SetAttribute(VOXELS, voxelsOf(result.nodes["segmentation"]))
    return result


ENDINGS = {"segmentation": "seg", "regions": "regions", "confidence": "confidence"}
"""Kind of a result's node -> ending of its file."""


def removeLoaded(cases):
    """Take the results that were loaded from a folder out of the scene, but for those that a person has corrected or
    drawn in, and their volumes, unless something else needs them."""
    volumes = []
    for result in resultsInScene():
        if result.first.GetAttribute(SOURCE) and correctionOf(result) is None and not _isDrawnIn(result):
            volumes.append(result.volumeNode)
            for node in result.nodes.values():
                removeNode(node)
    needed = {node.GetNodeReferenceID(VOLUME) for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode")}
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    needed |= {node.GetNodeReferenceID(role) for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")}
    ofScene = [volume for row in cases.rows if row.nodes is not None for volume in cases.volumesOf(row)]
    for volume in filter(isInScene, volumes):
        if volume.GetAttribute(SOURCE) and volume.GetID() not in needed and volume not in ofScene:
            removeNode(volume)


def _isDrawnIn(result):
    segmentation = result.nodes.get("segmentation")
    return segmentation is not None and segmentation.GetAttribute(VOXELS) != voxelsOf(segmentation)


def coloured(classes, *known):
    """The classes of a result with colours and terminology.

    Args:
        classes: class name -> voxel value.
        known: lists of dictionaries with name, colour and terminology, the more important ones first; classes that
            none of them has get a colour of their own.
    """
    found = {c["name"]: c for descriptions in known[::-1] for c in descriptions}
    result = []
    for n, (name, value) in enumerate(classes.items()):
        own = [round(255 * part) for part in colorsys.hsv_to_rgb(n / len(classes), 0.7, 0.9)]
        c = found.get(name, {"colour": own, "terminology": None})
        result.append({"name": name, "value": value, "colour": c["colour"], "terminology": c.get("terminology")})
    return result
