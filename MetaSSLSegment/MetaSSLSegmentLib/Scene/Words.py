"""What the engine's words are called in the language of the application."""

from metassl import REGIONS
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


def regionNames():
    """Code -> full name of all regions."""
    return {region.code: regionName(region) for region in REGIONS}
