import json
from dataclasses import asdict

from metassl import ROLES, Case, Dataset, InputError, SegmentClass, unique_names
from slicer.i18n import tr as _

from .CaseLabels import annotate, hasAnnotation
from .CaseNodes import segmentsOf
from .CaseRow import SEVERITIES, CaseRow, SavedCases, readCases
from .Channels import inWords, requireOneGrid, volumeRoles
from .Contradiction import contradiction
from .ScenePaths import followFiles, withNumbers
from .Words import problemText


class CaseList:
    """The cases and classes that a model is trained on, kept in the parameter node and so with the scene.

    Args:
        node: the module's vtkMRMLScriptedModuleNode.
    """

    PARAMETER = "cases"

    def __init__(self, node):
        self.node = node
        self._take(readCases(node.GetParameter(self.PARAMETER)))
        for row in self.rows:
            followFiles(node, row)
        if self.rows:
            self.save()

    def _take(self, saved):
        self.rows, self.classes, self.labelValues = saved.rows, saved.classes, saved.labelValues
        self.channels, self.intensities = saved.channels, saved.intensities
        self.ignoreValue, self.name = saved.ignoreValue, saved.name

    def __len__(self):
        return len(self.rows)

    def clear(self):
        """Forget every case and class."""
        for row in self.rows:
            self._dropNodes(row)
        self._take(SavedCases())
        self.save()

    def addDataset(self, path):
        """Add the cases of a dataset.json; classes with the same name become one.

        Returns:
            Number of added cases; those that are in the list already are left out.

        Raises:
            InputError: its channels or class values contradict those of the cases that are here already.
        """
        dataset = Dataset.load(path)
        problem = contradiction(self, dataset)
        if problem:
            raise InputError(problem, _("Clear the table first, or choose another folder."))
        known = self.segmentValues()
        self.classes += [{**asdict(new), "segments": [new.name]} for new in dataset.classes if new.name not in known]
        self.channels = self.channels or list(dataset.channels)
        told = dataset.intensities or ["auto"] * len(self.channels)
        here = self.intensities or ["auto"] * len(self.channels)
        self.intensities = [new if old == "auto" else old for old, new in zip(here, told)]
        self.ignoreValue = dataset.ignore_value if self.ignoreValue is None else self.ignoreValue
        self.labelValues |= dataset.label_values
        self.name = self.name or dataset.name
        known = {tuple(row.images) for row in self.rows if row.images}
        added = [case for case in dataset.cases if case.images not in known]
        ids = unique_names([case.id for case in added], [row.id for row in self.rows])
        self.rows += [CaseRow(ID, case.role, list(case.images), case.label) for ID, case in zip(ids, added)]
        self.save()
        return len(added)

    def addNodes(self, volumeNode, segmentationNode=None, further=()):
        """Add a volume of the scene, labelled when there are segments.

        Args:
            volumeNode: the volume, or that of the first channel.
            segmentationNode: its annotation, or None.
            further: volume nodes of the other channels.

        Raises:
            InputError: a volume is in the list already, the other cases have more or fewer channels, the channels do
                not lie on one grid, or there are too many classes.
        """
        volumes = [volumeNode, *further]
        if self.channels and len(self.channels) != len(volumes):
            raise InputError(
                _("The cases in the table have {old}, the new one has {new}.").format(
                    old=inWords(len(self.channels)), new=inWords(len(volumes))
                ),
                _("Choose a volume for each channel, with Next channel; or clear the table first."),
            )
        known = [volume for row in self.rows if row.nodes is not None for volume in self.volumesOf(row)]
        for volume in volumes:
            if volume in known:
                raise InputError(_("{name} is in the table already.").format(name=volume.GetName()))
        requireOneGrid(volumes)
        number = 1 + max((row.nodes for row in self.rows if row.nodes is not None), default=0)
        (ID,) = unique_names([volumeNode.GetName() or ""], [row.id for row in self.rows])
        row = CaseRow(ID, "unlabelled", nodes=number)
        if segmentationNode is not None and segmentsOf(segmentationNode):
            annotate(self, row, segmentationNode)
        for role, volume in zip(volumeRoles(number, len(volumes)), volumes):
            self.node.SetNodeReferenceID(role, volume.GetID())
        row.size = list(volumeNode.GetImageData().GetDimensions()) if volumeNode.GetImageData() else []
        row.spacing = list(volumeNode.GetSpacing())
        self.rows.append(row)
        names = ["image"] if len(volumes) == 1 else [f"channel {n}" for n in range(1, 1 + len(volumes))]
        self.channels, self.intensities = self.channels or names, self.intensities or ["auto"] * len(names)
        self.name = self.name or "scene"
        self.save()
        return row

    def nodesOf(self, row):
        """Volume and segmentation node of a case of the scene; None for a node that is gone."""
        segmentation = self._referenced(f"caseSegmentation{row.nodes}", "vtkMRMLSegmentationNode")
        return self.volumesOf(row)[0], segmentation

    def volumesOf(self, row):
        """The volume node of every channel of a case of the scene; None for a node that is gone."""
        roles = volumeRoles(row.nodes, max(1, len(self.channels)))
        return [self._referenced(role, "vtkMRMLScalarVolumeNode") for role in roles]

    def _referenced(self, role, kind):
        node = self.node.GetNodeReference(role)
        return node if node is not None and node.IsA(kind) else None

    def setRole(self, ids, role):
        """Give cases another role.

        Raises:
            InputError: a case without an annotation cannot be labelled or hold-out; the others get the role.
        """
        if role not in ROLES:
            raise ValueError(f"unknown role {role!r}")
        without = []
        for row in self.rows:
            if row.id not in ids:
                continue
            if role in ("labelled", "hold-out") and not hasAnnotation(self, row):
                without.append(row.id)
                continue
            row.role, row.severity, row.status = role, "", ""
        self.save()
        if without:
            raise InputError(
                _("No annotation: {cases}.").format(cases=", ".join(without[:5]) + (" ..." if without[5:] else "")),
                _("Only cases with an annotation can be labelled or hold-out."),
            )

    def remove(self, ids):
        """Remove cases from the list; files and nodes are kept. Classes that only these cases had go with them."""
        for row in self.rows:
            if row.id in ids:
                self._dropNodes(row)
        self.rows = [row for row in self.rows if row.id not in ids]
        if not self.rows:
            self.clear()
        if all(row.nodes is not None for row in self.rows):  # of label files only the engine knows the classes
            drawn = [self.nodesOf(row)[1] for row in self.rows]
            found = {name for node in drawn if node is not None for _ID, name in segmentsOf(node)}
            self.classes = [c for c in self.classes if found & {c["name"], *c["segments"]}]
            self.labelValues = {}
        self.save()

    def renameClass(self, value, name):
        """Give a class another name; segments with its first name still belong to it.

        Raises:
            InputError: the name is empty or taken.
        """
        name = name.strip()
        if not name or any(c["name"] == name and c["value"] != value for c in self.classes):
            raise InputError(_("'{name}' is not a new class name.").format(name=name), _("Choose another name."))
        for c in self.classes:
            if c["value"] == value:
                for row in self.rows:
                    row.labels = [name if label == c["name"] else label for label in row.labels]
                c["name"] = name
        self.save()

    def setColour(self, value, colour):
        """Give a class another colour (RGB, 0-255)."""
        for c in self.classes:
            if c["value"] == value:
                c["colour"] = list(colour)
        self.save()

    def setIntensities(self, channel, kind):
        """Say what the voxels of a channel (its place) are, of ``metassl.INTENSITIES``."""
        self.intensities[channel] = kind
        self.save()

    def setIgnoreValue(self, value):
        """Choose the value of voxels in label files that no loss and no metric counts."""
        self.ignoreValue = value
        self.save()

    def setSlicesOnly(self, ids, isSo):
        """Say of cases of the scene whether only the slices with a segment are annotated."""
        for row in self.rows:
            if row.id in ids and row.nodes is not None:
                row.slicesOnly = isSo
        self.save()

    def segmentValues(self):
        """Segment name -> voxel value in exported label files; a renamed class is known by both names."""
        names = {c["name"]: c["value"] for c in self.classes}
        return names | {segment: c["value"] for c in self.classes for segment in c["segments"]}

    def counts(self):
        """Role -> number of cases."""
        return {role: sum(row.role == role for row in self.rows) for role in ROLES}

    def applyReport(self, report):
        """Fill size, spacing, labels and status from the engine's report."""
        names = {c["value"]: c["name"] for c in self.classes}
        findings = {}
        for problem in report.get("problems", []):
            findings.setdefault(problem.get("case_id"), []).append(problem)
        for row in self.rows:
            facts = report.get("measured", {}).get(row.id)
            if facts:
                row.size, row.spacing = facts["size"], facts["spacing"]
                if facts["labels"] is not None:
                    row.labels = [names.get(value, str(value)) for value in facts["labels"]]
            found = findings.get(row.id, [])
            row.severity = max((p["severity"] for p in found), key=SEVERITIES.index, default="")
            texts = [problemText(p) for p in found]
            row.status = "\n".join(texts) if texts else (_("ready") if row.role != "ignored" else "")
        self.save()

    def dataset(self, exported, partly=()):
        """The data set for the engine.

        Args:
            exported: id -> (image paths, one per channel; label path or None) of the cases of the scene.
            partly: ids of those that are annotated in parts only; they teach as unlabelled cases too.

        Raises:
            InputError: the cases contradict each other.
        """
        cases = []
        for row in self.rows:
            images, label = row.images, row.label
            if row.nodes is not None:
                if row.id not in exported:
                    continue
                images, label = exported[row.id]
                images = [str(image) for image in images]
                label = None if label is None else str(label)
            cases.append(Case(row.id, tuple(images), label, row.role))
            if row.id in partly and row.role == "labelled":
                (rest,) = unique_names([f"{row.id} rest"], [known.id for known in self.rows])
                cases.append(Case(rest, tuple(images)))
        classes = [SegmentClass(c["name"], c["value"], tuple(c["colour"]), c.get("terminology")) for c in self.classes]
        if not classes:
            raise InputError(
                _("No case has an annotation, so there is nothing to learn from."),
                _("Add at least one case with a label file or a segmentation."),
            )
        told = tuple(self.intensities) if set(self.intensities) - {"auto"} else ()
        meanings = {"ignore_value": self.ignoreValue, "label_values": self.labelValues, "intensities": told}
        return Dataset(self.name, tuple(self.channels), tuple(classes), tuple(cases), **meanings)

    def isSameAs(self, other):
        """Whether another CaseList, or None, lists the same of the same node."""
        return other is not None and other.node is self.node and other._content() == self._content()

    def _content(self):
        meanings = self.ignoreValue, self.name, self.labelValues
        return asdict(SavedCases(self.rows, self.classes, self.channels, self.intensities, *meanings))

    def _dropNodes(self, row):
        if row.nodes is not None:
            for role in volumeRoles(row.nodes, max(1, len(self.channels))):
                self.node.RemoveNodeReferenceIDs(role)
            self.node.RemoveNodeReferenceIDs(f"caseSegmentation{row.nodes}")

    def save(self):
        """Keep what is listed in the parameter node."""
        content = self._content()
        content["rows"] = withNumbers(self.node, content["rows"])
        self.node.SetParameter(self.PARAMETER, json.dumps(content))


def isDataset(path):
    """Whether a file is a dataset.json of this extension; other programs have files of that name too."""
    try:
        Dataset.load(path)
    except InputError:
        return False
    return True
