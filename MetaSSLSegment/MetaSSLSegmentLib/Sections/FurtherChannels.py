from metassl import InputError
from slicer.i18n import tr as _

from ..Scene.Channels import requireOneGrid
from ..Scene.Result import isInScene
from .Section import allow


class FurtherChannels:
    """The volumes that a person has chosen for the first channels of the next case of the scene.

    Args:
        button: the QPushButton that takes the volume of the selector for the next channel.
        selector: the qMRMLNodeComboBox with the volumes.
        tell: called with a text and whether something went wrong.
    """

    def __init__(self, button, selector, tell):
        self.button = button
        self.selector = selector
        self.tell = tell
        self._taken = []
        button.connect("clicked(bool)", self.onNext)

    def clear(self):
        """Forget what was chosen."""
        self._taken = []

    def upTo(self, volume):
        """The volumes of the case whose last channel is this volume."""
        self._taken = [node for node in self._taken if isInScene(node)]
        return [*self._taken, volume]

    def allow(self, reason):
        """Let the person choose another channel; or not, for a reason."""
        allow(self.button, reason)

    def onNext(self, _checked=False):
        volumes = self.upTo(self.selector.currentNode())
        try:
            requireOneGrid(volumes)
        except InputError as error:
            self.tell(f"{error}\n{error.hint}".strip(), True)
            return
        self._taken = volumes
        self.selector.setCurrentNode(None)
        names = ", ".join(node.GetName() for node in volumes)
        text = _("Channels so far: {names}. Choose the volume of the next channel; after the last one press Add.")
        self.tell(text.format(names=names), False)
