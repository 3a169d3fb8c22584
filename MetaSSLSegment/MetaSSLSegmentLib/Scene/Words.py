"""What the engine's words are called in the language of the application."""

from slicer.i18n import tr as _


def roleName(role):
    """The name of a case's role."""
    names = {
        "labelled": _("labelled"),
        "unlabelled": _("unlabelled"),
        "hold-out": _("hold-out"),
        "ignored": _("ignored"),
    }
    return names.get(role, role)


def decisionName(decision):
    """What a person has decided about a result."""
    names = {
        "accepted": _("accepted"),
        "corrected": _("corrected"),
        "rejected": _("rejected"),
        "labelled": _("used as label"),
    }
    return names.get(decision, decision)


def intensitiesName(kind):
    """What the voxels of a channel are, of ``metassl.INTENSITIES``."""
    names = {"auto": _("automatic"), "ct": _("CT"), "other": _("not CT")}
    return names.get(kind, kind)


def methodName(method):
    """The name of a method that makes two predictions; methods of later versions keep their own."""
    names = {
        "mean-teacher": _("Mean Teacher"),
        "fixmatch": _("FixMatch"),
        "cps": _("CPS (two networks)"),
        "cct": _("CCT (several decoders)"),
        "r-drop": _("R-Drop (dropout)"),
        "supervised": _("Supervised only"),
    }
    return names.get(method, method)


def phaseName(phase):
    """The name of what the engine is doing; phases of later versions keep their own."""
    names = {
        "sample": _("making the sample"),
        "reading": _("reading"),
        "exporting": _("exporting"),
        "checking": _("checking"),
        "planning": _("planning"),
        "preprocessing": _("preprocessing"),
        "training": _("training"),
        "hold-out": _("measuring the hold-out cases"),
        "segmenting": _("segmenting"),
        "comparing": _("comparing the hold-out cases"),
        "ranking": _("ranking the cases"),
        "auditing": _("comparing the annotations"),
        "reporting": _("writing the report"),
        "evaluating": _("evaluating"),
    }
    return names.get(phase, phase)


def regionName(region):
    """The full name of a region of ``metassl.REGIONS``."""
    names = {
        "UC": _("unanimous confident"),
        "US": _("unanimous suspicious"),
        "DC": _("discrepant confident"),
        "DS": _("discrepant suspicious"),
    }
    return names.get(region.code, region.name)


def problemText(problem):
    """What the engine says about a case or the data set, with a remedy that can be followed in the panel."""
    remedy = problem.get("remedy")
    if problem.get("code") == "intensities":  # the engine's own names an option of the command line
        remedy = _("If that is wrong, choose it under Intensities in section 2.")
    return " ".join(filter(None, (problem["message"], remedy)))
