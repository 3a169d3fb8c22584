"""Cases of a CaseList get a label: a segmentation of the scene, and for cases of files a label file too."""

from metassl import InputError, unique_names
from slicer.i18n import tr as _

from .CaseNodes import segmentsOf
from .CaseRow import CaseRow
from .Channels import inWords
from .SegmentClasses import addClasses, exportValues


def addFiles(cases, name, images, channels):
    """Add an unlabelled case of files.

    Args:
        cases: the CaseList.
        name: of the case; another one when it is taken.
        images: paths of its channels.
        channels: their names, when there is no case yet; without as many, they are numbered.

    Raises:
        InputError: the other cases have another number of channels.
    """
    fitting = len(channels) == len(images)
    known = cases.channels or (list(channels) if fitting else [f"channel {n}" for n in range(1, len(images) + 1)])
    if len(known) != len(images):
        raise InputError(
            _("The cases in the table have {n}, {name} has {other}.").format(
                n=inWords(len(known)), name=name, other=inWords(len(images))
            ),
            _("Clear the table first."),
        )
    cases.channels, cases.intensities = known, cases.intensities or ["auto"] * len(known)
    cases.name = cases.name or "review"
    (ID,) = unique_names([name], [row.id for row in cases.rows])
    cases.rows.append(CaseRow(ID, "unlabelled", list(images)))
    cases.save()
    return cases.rows[-1]


def annotate(cases, row, segmentationNode, label=None):
    """Make a case a labelled one.

    Args:
        cases: the CaseList.
        row: its CaseRow.
        segmentationNode: its annotation.
        label: the file that the annotation was written into, of a case of files.

    Raises:
        InputError: there are too many classes.
    """
    addClasses(cases, segmentationNode)
    values = exportValues(cases, segmentationNode)
    if row.nodes is not None:
        cases.node.SetNodeReferenceID(f"caseSegmentation{row.nodes}", segmentationNode.GetID())
    giveLabel(cases, row, label, {values[name] for _ID, name in segmentsOf(segmentationNode)})


def giveLabel(cases, row, label, values):
    """Make a case a labelled one, when its segmentation or file is there and its classes are known; one that is held
    out stays that.

    Args:
        cases: the CaseList.
        row: its CaseRow.
        label: the label file; None for a case of the scene.
        values: of the classes that the label holds.
    """
    row.role = "hold-out" if row.role == "hold-out" else "labelled"
    row.label, row.severity, row.status, row.slicesOnly = label, "", "", False
    row.labels = [c["name"] for c in cases.classes if c["value"] in values]
    cases.save()


def hasAnnotation(cases, row):
    """Whether a case of a CaseList has a label file, or a segmentation in the scene."""
    return row.label is not None or (row.nodes is not None and cases.nodesOf(row)[1] is not None)


def setAgreements(cases, agreements):
    """Remember how far a model's two predictions agree.

    Args:
        cases: the CaseList.
        agreements: id -> 0-1, or None where nothing was found.
    """
    for row in cases.rows:
        row.agreement = agreements.get(row.id, row.agreement)
    cases.save()
