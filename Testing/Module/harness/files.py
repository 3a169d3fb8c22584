"""`slicer.util`'s loading and saving, with the same C++ logics, without the application's IO manager."""

import os
from pathlib import Path

import slicer


def replaceFileFunctions():
    """`slicer.util`'s loading and saving needs the application's IO manager; these use the same logics without it."""
    for function in (
        loadNodeFromFile,
        loadVolume,
        loadLabelVolume,
        loadSegmentation,
        loadColorTable,
        loadTable,
        saveNode,
        exportNode,
        saveScene,
        loadScene,
    ):
        setattr(slicer.util, function.__name__, function)


def loadNodeFromFile(filename, filetype=None, properties=None, returnNode=False):
    if returnNode:
        raise NotImplementedError("returnNode is deprecated in Slicer and not imitated")
    loaders = {
        "VolumeFile": _loadVolume,
        "SegmentationFile": _loadSegmentation,
        "ColorTableFile": _loadColorTable,
        "TableFile": _loadTable,
    }
    if filetype not in loaders:
        raise NotImplementedError(f"the harness loads {list(loaders)}, not {filetype!r}")
    node = loaders[filetype](str(filename), properties or {}) if os.path.isfile(filename) else None
    if node is None:
        raise RuntimeError(f"Failed to load node from file: {filename}")
    return node


def loadVolume(filename, properties=None, returnNode=False):
    return loadNodeFromFile(filename, "VolumeFile", properties, returnNode)


def loadLabelVolume(filename, properties=None, returnNode=False):
    return loadNodeFromFile(filename, "VolumeFile", {**(properties or {}), "labelmap": True}, returnNode)


def loadSegmentation(filename, properties=None, returnNode=False):
    return loadNodeFromFile(filename, "SegmentationFile", properties, returnNode)


def loadColorTable(filename, returnNode=False):
    return loadNodeFromFile(filename, "ColorTableFile", {}, returnNode)


def loadTable(filename):
    return loadNodeFromFile(filename, "TableFile")


def _loadVolume(filename, properties):
    labelmap, centred, singleFile, autoWindow = 1, 2, 4, 8  # the logic's option bits
    options = autoWindow * properties.get("autoWindowLevel", True)
    options |= labelmap * properties.get("labelmap", False)
    options |= centred * properties.get("center", False)
    options |= singleFile * properties.get("singleFile", False)
    name = properties.get("name") or Path(filename).name.partition(".")[0]
    node = slicer.modules.volumes.logic().AddArchetypeVolume(filename, name, int(options))
    if node is None:
        return None
    if properties.get("colorNodeID"):
        node.GetDisplayNode().SetAndObserveColorNodeID(properties["colorNodeID"])
    if properties.get("show", True):
        selection = slicer.app.applicationLogic().GetSelectionNode()
        if node.IsA("vtkMRMLLabelMapVolumeNode"):
            selection.SetActiveLabelVolumeID(node.GetID())
        else:
            selection.SetActiveVolumeID(node.GetID())
        slicer.app.applicationLogic().PropagateVolumeSelection(1)
    return node


def _loadSegmentation(filename, properties):
    logic = slicer.modules.segmentations.logic()
    return logic.LoadSegmentationFromFile(filename, properties.get("autoOpacities", True), properties.get("name", ""))


def _loadColorTable(filename, properties):
    return slicer.modules.colors.logic().LoadColorFile(filename)


def _loadTable(filename, properties):
    return slicer.modules.tables.logic().AddTable(filename)


def saveNode(node, filename, properties=None):
    if node.GetStorageNode() is None:
        node.AddDefaultStorageNode()
    storage = node.GetStorageNode()
    storage.SetFileName(str(filename))
    storage.SetUseCompression((properties or {}).get("useCompression", True))
    return bool(storage.WriteData(node))


def exportNode(node, filename, properties=None, world=False):
    """As saveNode, but the node does not remember the file."""
    if world and node.GetParentTransformNode() is not None:
        raise NotImplementedError("export in world coordinates is not imitated")
    storage = node.CreateDefaultStorageNode()
    storage.UnRegister(None)
    storage.SetScene(slicer.mrmlScene)
    storage.SetFileName(str(filename))
    storage.SetUseCompression((properties or {}).get("useCompression", True))
    return bool(storage.WriteData(node))


def saveScene(filename, properties=None):
    filename = str(filename)
    scene = slicer.mrmlScene
    if filename.endswith(".mrb"):
        return bool(scene.WriteToMRB(filename))
    if not filename.endswith(".mrml"):
        raise NotImplementedError("the harness saves .mrml and .mrb")
    scene.SetURL(filename)
    scene.SetRootDirectory(os.path.dirname(filename))
    return bool(scene.Commit(filename))


def loadScene(filename, properties=None):
    """Replaces the scene, except with the property `clear` set to False: then the file is added to it."""
    filename = str(filename)
    scene = slicer.mrmlScene
    clear = (properties or {}).get("clear", True)
    if filename.endswith(".mrb"):
        if clear:
            scene.Clear(False)
        return bool(scene.ReadFromMRB(filename, False))
    scene.SetURL(filename)
    scene.SetRootDirectory(os.path.dirname(filename))
    return bool(scene.Connect() if clear else scene.Import())
