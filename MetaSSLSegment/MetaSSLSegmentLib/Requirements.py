import importlib.metadata
import re
import sys
import tempfile
from pathlib import Path

import slicer
from slicer.i18n import tr as _

OF_SLICER = ("torch", "SimpleITK", "numpy")
"""Packages that an installation must never replace: of Slicer itself, or of the PyTorch extension."""


class InstallationError(Exception):
    """A package could not be installed; the text says what to do."""


class Requirements:
    """The Python packages that the engine needs, and their installation into Slicer's Python.

    Nothing is imported to find out what is there.

    Args:
        file: requirements.txt with lines "name>=version".
    """

    def __init__(self, file):
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        self.minimums = dict(line.split(">=") for line in map(str.strip, lines) if line and not line.startswith("#"))
        self.needsRestart = False
        self.look()

    def look(self):
        """Find out again what is installed.

        Afterwards ``installed`` has name -> version or None, and ``missing`` the requirements that are not met.
        """
        self.installed = {name: _version(name) for name in self.minimums}
        self.missing = [
            f"{name}>={self.minimums[name]}"
            for name, version in self.installed.items()
            if version is None or _numbers(version) < _numbers(self.minimums[name])
        ]

    def install(self):
        """Install what is missing. Takes minutes and shows its own progress.

        Raises:
            InstallationError: with a sentence for the user.
        """
        before = {name: _version(name) for name in (*self.minimums, *OF_SLICER)}
        missing = self.missing
        torch = [requirement for requirement in missing if requirement.startswith("torch>")]
        if torch:
            self._installTorch(torch[0].removeprefix("torch"))
            if self.needsRestart:
                return
        self._installOthers([requirement for requirement in missing if requirement not in torch])
        self.look()
        imported = {"scikit-image": "skimage"}
        changed = [name for name, version in before.items() if version and version != _version(name)]
        self.needsRestart = self.needsRestart or any(imported.get(name, name) in sys.modules for name in changed)
        if self.missing:
            raise InstallationError(
                _("Still missing after the installation: {names}. Look into the Python console for the reason.").format(
                    names=", ".join(self.missing)
                )
            )

    def _installTorch(self, version):
        """Through the PyTorch extension, which chooses the build that fits the GPU's driver."""
        try:
            import PyTorchUtils
        except ImportError:
            self._installPyTorchExtension()
            return
        try:
            torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=version)
        except Exception as error:
            raise InstallationError(
                _("PyTorch could not be installed: {error}\nCheck the network, then try again.").format(error=error)
            ) from error
        if torch is None:
            raise InstallationError(_("PyTorch was not installed."))

    def _installPyTorchExtension(self):
        question = _(
            "MetaSSL needs the extension PyTorch, which is not installed. Install it now? "
            "Slicer must be restarted afterwards."
        )
        manual = _("Install the extension PyTorch in the Extensions Manager, restart Slicer and come back here.")
        if not slicer.util.confirmOkCancelDisplay(question):
            raise InstallationError(manual)
        manager = slicer.app.extensionsManagerModel()
        manager.interactive = False
        if not manager.installExtensionFromServer("PyTorch", False):
            raise InstallationError(_("The extension PyTorch could not be downloaded.") + " " + manual)
        self.needsRestart = True

    def _installOthers(self, requirements):
        if not requirements:
            return
        try:
            try:
                from slicer.packaging import pip_ensure
            except ImportError:
                self._installWithConstraints(requirements)
            else:
                from packaging.requirements import Requirement

                pip_ensure(
                    [Requirement(requirement) for requirement in requirements],
                    skip_packages=list(OF_SLICER),
                    prompt_install=False,
                    requester="MetaSSL",
                )
        except Exception as error:
            raise InstallationError(
                _("{names} could not be installed: {error}\nCheck the network, then try again.").format(
                    names=", ".join(requirements), error=error
                )
            ) from error

    @staticmethod
    def _installWithConstraints(requirements):
        """Slicer 5.10 has no slicer.packaging: hold Slicer's own packages at their versions."""
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder, "constraints.txt")
            held = [f"{name}=={_version(name)}" for name in OF_SLICER if _version(name)]
            constraints.write_text("\n".join(held), encoding="utf-8")
            slicer.util.pip_install([*requirements, "--constraint", str(constraints)])


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version):
    """(2, 13, 0) of "2.13.0+cpu"."""
    return tuple(int(number) for number in re.match(r"[\d.]*\d|", version).group().split(".") if number)
