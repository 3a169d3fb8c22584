from metassl import INTENSITIES
from slicer.i18n import tr as _

from ..Scene.Words import intensitiesName
from .Section import allow, fill


class ChannelChoice:
    """What the voxels of each channel are: a box with the channels, when there are several, and one with the choices.

    Args:
        channelBox, kindBox: the QComboBoxes.
    """

    def __init__(self, channelBox, kindBox):
        self.channelBox = channelBox
        self.kindBox = kindBox
        self._cases = None
        fill(kindBox, [(kind, intensitiesName(kind)) for kind in INTENSITIES])
        channelBox.connect("currentIndexChanged(int)", lambda index: self._showKind())
        kindBox.connect("currentIndexChanged(int)", self.onKind)

    def show(self, cases):
        """Show the channels of a CaseList."""
        self._cases = cases
        fill(self.channelBox, list(enumerate(cases.channels)), self.channelBox.currentData)
        self.channelBox.visible = len(cases.channels) > 1
        self._showKind()

    def allow(self, reason):
        """Let the person choose; or not, for a reason."""
        empty = "" if self._cases is not None and self._cases.channels else _("Add cases first.")
        allow(self.kindBox, reason or empty)

    def _showKind(self):
        channel = self.channelBox.currentData
        kind = "auto" if channel is None else self._cases.intensities[channel]
        blocked = self.kindBox.blockSignals(True)
        self.kindBox.setCurrentIndex(INTENSITIES.index(kind))
        self.kindBox.blockSignals(blocked)

    def onKind(self, _index=0):
        if self.channelBox.currentData is not None:
            self._cases.setIntensities(self.channelBox.currentData, self.kindBox.currentData)
