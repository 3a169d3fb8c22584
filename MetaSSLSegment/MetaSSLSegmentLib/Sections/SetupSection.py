import slicer
from slicer.i18n import tr as _

from ..Engine.EngineProcess import EngineListener
from ..Engine.Requirements import InstallationError
from .Section import Section, allow, say


class SetupSection(Section):
    """What is installed, what is missing, one button, and the device."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        ui.installButton.connect("clicked(bool)", self.onInstall)
        ui.deviceButton.connect("clicked(bool)", self.onDevice)
        ui.setupSection.collapsed = True
        self.refresh()

    def refresh(self):
        """Look again at what is installed; the section opens when there is something to do."""
        self.logic.requirements.look()
        missing = self.logic.requirements.missing
        lines = [f"{name} {version}" for name, version in self.logic.requirements.installed.items()]
        if self.logic.requirements.needsRestart:
            say(self.ui.packagesText, _("Installed. Restart Slicer to go on."))
        elif missing:
            say(self.ui.packagesText, _("Missing: {names}.").format(names=", ".join(missing)), wrong=True)
        else:
            say(self.ui.packagesText, _("Everything is installed: {names}.").format(names=", ".join(lines)))
        if missing or self.logic.requirements.needsRestart:
            self.ui.setupSection.collapsed = False
        self.ui.installButton.visible = bool(missing)

    def updateButtons(self):
        allow(self.ui.installButton, self.logic.busy(), _("Download and install the missing Python packages."))
        allow(
            self.ui.deviceButton,
            self.logic.busy() or self.logic.notReady(),
            _("Start the engine once and say on which device it would compute."),
        )

    def onInstall(self, _checked=False):
        requirements = self.logic.requirements
        question = _(
            "These packages will be downloaded and installed into Slicer's Python: {names}. PyTorch alone can take "
            "several GB on a computer with an NVIDIA GPU. Go on?"
        ).format(names=", ".join(requirements.missing))
        if not slicer.util.confirmOkCancelDisplay(question):
            return
        problem = ""
        self.logic.claim(_("Packages are being installed."))  # pip lets the application go on meanwhile
        say(self.ui.packagesText, _("Installing..."))
        try:
            requirements.install()
        except InstallationError as error:
            problem = str(error)
        finally:
            self.refresh()
            self.logic.release()
        if problem:
            say(self.ui.packagesText, problem, wrong=True)
        elif requirements.needsRestart and slicer.util.confirmYesNoDisplay(_("Restart Slicer now?")):
            slicer.util.restart()

    def onDevice(self, _checked=False):
        say(self.ui.deviceText, _("Starting the engine..."))
        self.logic.engine.start(
            ["info"],
            EngineListener(
                done=lambda facts: say(self.ui.deviceText, _inWords(facts)),
                failed=lambda failure: say(self.ui.deviceText, failure.text(), wrong=True),
                cancelled=lambda event: say(self.ui.deviceText, ""),
            ),
        )


def _inWords(facts):
    """What the engine says about the computer."""
    names = ("device", "precision", "python", "torch", "monai")
    return _("Device: {device} ({precision}). Python {python}, torch {torch}, MONAI {monai}.").format(
        **{name: facts.get(name, "?") for name in names}
    )
