import json

import slicer

RESULT = "MetaSSL.result"
"""Attribute of result nodes: segmentation, regions or confidence."""
PREVIEW = "MetaSSL.preview"
"""Attribute of nodes that were loaded to look at a case; the next preview replaces them."""
SUMMARY = "MetaSSL.summary"
"""Attribute of a result's first node: the engine's numbers as JSON."""
VOLUME = "MetaSSL.volume"
"""Node reference of a result's first node: the volume that was segmented."""
PART = "MetaSSL.part"
"""Node references of a result's first node: all its nodes."""


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
        """The node that holds the result together."""
        return next(iter(self.nodes.values()), None)

    @property
    def name(self):
        """For people."""
        return self.first.GetName()

    def keep(self, summary):
        """Store the references and the engine's numbers in the first node."""
        if self.first is None:
            return
        self.first.SetAttribute(SUMMARY, json.dumps({key: summary.get(key) for key in ("volume_ml", "regions")}))
        self.first.SetNodeReferenceID(VOLUME, self.volumeNode.GetID())
        for node in self.nodes.values():
            self.first.AddNodeReferenceID(PART, node.GetID())

    def summary(self):
        """The engine's numbers; empty when they are damaged."""
        try:
            found = json.loads(self.first.GetAttribute(SUMMARY) or "{}")
        except ValueError:
            found = {}
        return found if isinstance(found, dict) else {}


def resultsInScene():
    """All results of the scene, newest last."""
    results = []
    for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode"):
        if node.GetAttribute(SUMMARY) is None:
            continue
        parts = [node.GetNthNodeReference(PART, n) for n in range(node.GetNumberOfNodeReferences(PART))]
        nodes = {part.GetAttribute(RESULT): part for part in parts if part is not None}
        results.append(Result({node.GetAttribute(RESULT): node, **nodes}, node.GetNodeReference(VOLUME)))
    return results
