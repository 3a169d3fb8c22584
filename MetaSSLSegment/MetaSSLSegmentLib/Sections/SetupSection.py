import slicer
from slicer.i18n import tr as _

from ..Engine.Requirements import InstallationError
from .Section import Section, allow, say
from .Task import Task
from .WorkLine import WorkLine


class SetupSection(Section):
    """See what is installed, install what is missing, and check the device."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        line = WorkLine(ui)
        self.installation = Task(logic, line, ui.packagesText)
        self.deviceCheck = Task(logic, line, ui.deviceText)
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
            say(self.ui.packagesText, _("Installed. Restart Slicer to continue."))
        elif missing:
            say(self.ui.packagesText, _("Missing: {names}.").format(names=", ".join(missing)), wrong=True)
        else:
            say(self.ui.packagesText, _("Everything is installed: {names}.").format(names=", ".join(lines)))
        if missing or self.logic.requirements.needsRestart:
            self.ui.setupSection.collapsed = False
        self.ui.installButton.visible = bool(missing)

    def updateButtons(self):
        allow(self.ui.installButton, self.logic.busy())
        allow(self.ui.deviceButton, self.logic.busy() or self.logic.notReady())

    def onInstall(self, _checked=False):
        requirements = self.logic.requirements
        question = _(
            "These packages will be downloaded and installed into Slicer's Python: {names}. PyTorch alone can take "
            "several GB on a computer with an NVIDIA GPU. Continue?"
        ).format(names=", ".join(requirements.missing))
        if not slicer.util.confirmOkCancelDisplay(question):
            return
        problem = None
        self.installation.begin(
            _("Packages are being installed."), survives=True
        )  # pip lets the application go on meanwhile
        try:
            requirements.install()
        except InstallationError as error:
            problem = str(error)
        finally:
            self.refresh()
            self.installation.finish(problem, wrong=True)
        if problem is None and requirements.needsRestart and slicer.util.confirmYesNoDisplay(_("Restart Slicer now?")):
            slicer.util.restart()

    def onDevice(self, _checked=False):
        self.deviceCheck.begin(_("Starting the engine to check the device..."), survives=True)
        self.deviceCheck.run(
            ["info"],
            done=lambda facts: self.deviceCheck.finish(_inWords(facts)),
            failed=lambda failure: self.deviceCheck.finish(self._wayOut(failure), wrong=True),
        )

    def _wayOut(self, failure):
        """What to do when the engine cannot use its packages; what is broken counts as installed."""
        self.refresh()
        if self.logic.requirements.missing or failure.exitCode is None:
            return failure.text()
        return (
            failure.message
            + "\n"
            + _(
                "All packages are there, but they do not work, perhaps since an installation was cut off or another "
                "program replaced a part. Open the module PyTorch Utils and press Uninstall PyTorch (other packages: "
                "slicer.util.pip_uninstall('NAME') in the Python console), restart Slicer, and install again here."
            )
        )


def _inWords(facts):
    """What the engine says about the computer."""
    names = ("device", "precision", "python", "torch", "monai")
    return _("Device: {device} ({precision}). Python {python}, torch {torch}, MONAI {monai}.").format(
        **{name: facts.get(name, "?") for name in names}
    )
