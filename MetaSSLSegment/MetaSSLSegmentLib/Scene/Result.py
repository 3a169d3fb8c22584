import json

import slicer

from .Findings import agreementInWords, placesIn

RESULT = "MetaSSL.result"
"""Attribute of result nodes: segmentation, regions or confidence."""
PREVIEW = "MetaSSL.preview"
"""Attribute of nodes that were loaded to look at a case; the next preview replaces them."""
SUMMARY = "MetaSSL.summary"
"""Attribute of result nodes: the engine's numbers as JSON."""
VOLUME = "MetaSSL.volume"
"""Node reference of result nodes: the volume that was segmented."""
LOOKED = "MetaSSL.looked"
"""Attribute of result nodes: numbers of the places that were looked at, as JSON."""
PART = "MetaSSL.part"
"""Node references of result nodes: all nodes of the result, so that the others stay together when one is deleted."""


NODE_CLASSES = {
    "segmentation": "vtkMRMLSegmentationNode",
    "regions": "vtkMRMLLabelMapVolumeNode",
    "confidence": "vtkMRMLScalarVolumeNode",
}


class Result:
    """What the engine found in one volume: up to three nodes and the numbers of the regions.

    Everything is kept in node attributes and references, so that results are found again in a saved scene.

    Args:
        nodes: kind -> node.
        volumeNode: the volume that was segmented; None when it is gone.
    """

    def __init__(self, nodes, volumeNode):
        self.nodes = nodes
        self.volumeNode = volumeNode

    @property
    def first(self):
        """The segmentation, or what there is instead."""
        return next(iter(self.nodes.values()), None)

    @property
    def name(self):
        """For people."""
        return self.first.GetName()

    def keep(self, summary):
        """Store the references and the engine's numbers in the nodes.

        Places lie in the world; they are kept where they lie in the volume, which may be moved.
        """
        numbers = {key: summary.get(key) for key in ("volume_ml", "regions", "classes", "agreement")}
        places = [(place, [0.0] * 3) for place in placesIn(summary)]
        for place, position in places:
            self.volumeNode.TransformPointFromWorld(place.position, position)
        numbers["places"] = [
            {"position": position, "classes": place.classes, "volume_ml": place.volume} for place, position in places
        ]
        numbers = json.dumps(numbers)
        for node in self.nodes.values():
            node.SetAttribute(SUMMARY, numbers)
            node.SetNodeReferenceID(VOLUME, self.volumeNode.GetID())
            for part in self.nodes.values():
                node.AddNodeReferenceID(PART, part.GetID())

    def summary(self):
        """The engine's numbers: ``volume_ml`` by class, ``regions`` by class and region; both empty when damaged."""
        try:
            found = json.loads(self.first.GetAttribute(SUMMARY))
            volumes = {name: float(volume) for name, volume in (found["volume_ml"] or {}).items()}
            regions = {
                name: {
                    code: {"share": float(part["share"]), "volume_ml": float(part["volume_ml"])}
                    for code, part in parts.items()
                }
                for name, parts in (found["regions"] or {}).items()
            }
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            volumes, regions = {}, {}
        return {"volume_ml": volumes, "regions": regions}

    def findings(self):
        """What ``Findings`` reads; {} when damaged. Places are those of ``places``."""
        try:
            found = json.loads(self.first.GetAttribute(SUMMARY))
        except (ValueError, TypeError, AttributeError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def places(self):
        """The places to look at, where they lie in the world now."""
        places = []
        for place in placesIn(self.findings()):
            position = [0.0] * 3
            self.first.TransformPointToWorld(place.position, position)
            places.append(place._replace(position=tuple(position)))
        return places

    def inWords(self):
        """What is known of it, a sentence; "" when nothing is."""
        return agreementInWords(self.findings())

    def looked(self):
        """Numbers of the places that were looked at."""
        try:
            return {int(number) for number in json.loads(self.first.GetAttribute(LOOKED) or "[]")}
        except (ValueError, TypeError, RecursionError):
            return set()

    def tickOff(self, number):
        """Remember that a place was looked at."""
        numbers = json.dumps(sorted(self.looked() | {number}))
        for node in self.nodes.values():
            node.SetAttribute(LOOKED, numbers)


def resultsInScene():
    """All results of the scene, newest last."""
    results, found = [], set()
    for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode"):
        if node.GetAttribute(SUMMARY) is None or node.GetID() in found:
            continue
        parts = [node.GetNthNodeReference(PART, n) for n in range(node.GetNumberOfNodeReferences(PART))]
        kinds = {part.GetID(): part.GetAttribute(RESULT) for part in parts if part is not None}
        if node.GetID() not in kinds:  # a copy that somebody made of a result's node
            continue
        nodes = {kind: slicer.mrmlScene.GetNodeByID(ID) for ID, kind in kinds.items() if kind in NODE_CLASSES}
        nodes = {kind: part for kind, part in nodes.items() if part.IsA(NODE_CLASSES[kind])}
        volume = node.GetNodeReference(VOLUME)
        if nodes:
            found |= {part.GetID() for part in nodes.values()}
            results.append(Result(nodes, volume if volume and volume.IsA("vtkMRMLScalarVolumeNode") else None))
    return results


def isInScene(node):
    """Whether a node is in the scene; IDs do not tell, since they start anew when the scene is closed."""
    return node is not None and node.GetScene() is slicer.mrmlScene


def removeNode(node):
    """Take a node out of the scene with its display and storage nodes; a node that is gone already is no error."""
    if not isInScene(node):
        return
    for found in withCompanions(node):
        if isInScene(found):  # Slicer takes the display nodes out with their node
            slicer.mrmlScene.RemoveNode(found)


def withCompanions(node):
    """A node, its display nodes and its storage nodes."""
    companions = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    companions += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    return [node, *(companion for companion in companions if companion is not None)]
