import importlib.metadata
import re
import sys
import tempfile
from pathlib import Path

import slicer
from slicer.i18n import tr as _

HELD = ("torch", "SimpleITK", "numpy")
"""Packages that an installation must not replace: parts of Slicer, and what the PyTorch extension chose."""


class InstallationError(Exception):
    """A package could not be installed; the text says what to do."""


class Requirements:
    """The Python packages that the engine needs, and their installation into Slicer's Python.

    Nothing is imported to find out what is there.

    Args:
        file: requirements.txt.
    """

    def __init__(self, file):
        lines = (line.strip() for line in Path(file).read_text(encoding="utf-8").splitlines())
        self._wanted = [_requirement(line) for line in lines if line and not line.startswith("#")]
        self.needsRestart = False
        self.look()

    def look(self):
        """Find out again what is installed.

        Afterwards ``installed`` has name -> version or None, and ``missing`` the requirements that are not met, those
        of the packages that are there included.
        """
        importlib.invalidate_caches()
        self.installed = {wanted.name: _version(wanted.name) for wanted in self._wanted}
        self.missing = [str(wanted) for wanted in self._wanted if not _isMet(wanted)]
        for wanted in self._wanted:
            if wanted.name not in HELD and _isMet(wanted):
                self.missing += [text for text in _absentNeedsOf(wanted.name) if text not in self.missing]

    def install(self):
        """Install what is missing. Takes minutes and shows its own progress.

        Raises:
            InstallationError: with a sentence for the user.
        """
        before = _allVersions()
        torch = [text for text in self.missing if _requirement(text).name == "torch"]
        others = [text for text in self.missing if text not in torch]
        try:
            if torch and not self._installTorch(_requirement(torch[0])):
                return
            if others:
                self._installOthers(others)
        finally:
            self.look()
            self.needsRestart = self.needsRestart or _loadedPackagesChangedSince(before)
        if self.missing:
            raise InstallationError(
                _("Still missing after the installation: {names}. See the Python console for the reason.").format(
                    names=", ".join(self.missing)
                )
            )

    def _installTorch(self, wanted):
        """Through the PyTorch extension, which chooses the build that fits the GPU's driver.

        Returns:
            Whether the other packages can be installed now; not before Slicer was restarted with the extension.
        """
        try:
            import PyTorchUtils
        except ImportError:
            self._installPyTorchExtension()
            self.needsRestart = True
            return False
        try:
            torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(
                askConfirmation=False, torchVersionRequirement=str(wanted.specifier)
            )
        except Exception as error:
            raise InstallationError(
                _("PyTorch could not be installed: {error}\nCheck the network, then try again.").format(error=error)
            ) from error
        if torch is None:
            raise InstallationError(_("PyTorch was not installed."))
        return True

    @staticmethod
    def _installPyTorchExtension():
        manager = slicer.app.extensionsManagerModel()
        if manager.isExtensionInstalled("PyTorch"):
            return
        question = _(
            "MetaSSL needs the extension PyTorch, which is not installed. Install it now? "
            "Slicer must be restarted afterwards."
        )
        manual = _("Install the extension PyTorch in the Extensions Manager, restart Slicer and come back here.")
        if not slicer.util.confirmOkCancelDisplay(question):
            raise InstallationError(manual)
        interactive, manager.interactive = manager.interactive, False
        try:
            installed = manager.installExtensionFromServer("PyTorch", False)
        finally:
            manager.interactive = interactive
        if not installed:
            raise InstallationError(_("The extension PyTorch could not be downloaded.") + " " + manual)

    @staticmethod
    def _installOthers(requirements):
        """Install versions that fit the torch, numpy and SimpleITK that are there; those are never replaced."""
        held = [f"{name}=={_version(name)}" for name in HELD if _version(name)]
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder, "constraints.txt")
            constraints.write_text("\n".join(held), encoding="utf-8")
            try:
                try:
                    from slicer.packaging import pip_ensure
                except ImportError:  # before Slicer 5.11
                    slicer.util.pip_install([*requirements, "--constraint", str(constraints)])
                else:
                    pip_ensure(
                        list(requirements),
                        constraints=str(constraints),
                        prompt_install=False,
                        prompt_restart=False,
                        requester="MetaSSL",
                    )
            except Exception as error:
                raise InstallationError(
                    _("{names} could not be installed: {error}\nCheck the network, then try again.").format(
                        names=", ".join(requirements), error=error
                    )
                ) from error


def _requirement(text):
    """A requirement with name, specifier and marker."""
    try:
        from packaging.requirements import Requirement
    except ImportError:  # pip, which every Slicer has, brings the same
        from pip._vendor.packaging.requirements import Requirement
    return Requirement(text)


def _version(name):
    """The installed version; None also for what a broken installation left behind."""
    try:
        return importlib.metadata.version(name) or None
    except (importlib.metadata.PackageNotFoundError, KeyError):
        return None


def _isMet(requirement):
    version = _version(requirement.name)
    if version is None:
        return False
    try:
        return requirement.specifier.contains(version, prereleases=True)
    except ValueError:  # not a version
        return False


def _absentNeedsOf(name, seen=None):
    """What a package needs, directly or through others, that is not installed at all."""
    seen = {_plain(held) for held in HELD} if seen is None else seen
    absent = []
    for text in importlib.metadata.requires(name) or []:
        needed = _requirement(text)
        if _plain(needed.name) in seen or (needed.marker and not needed.marker.evaluate({"extra": ""})):
            continue
        seen.add(_plain(needed.name))
        if _version(needed.name) is None:
            absent.append(f"{needed.name}{needed.specifier}")
        else:
            absent += _absentNeedsOf(needed.name, seen)
    return absent


def _plain(name):
    """Package names differ in case, "-", "_" and "." without meaning."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _allVersions():
    importlib.invalidate_caches()
    found = (distribution.metadata for distribution in importlib.metadata.distributions())
    return {_plain(about["Name"]): about["Version"] for about in found if about["Name"]}


def _loadedPackagesChangedSince(before):
    """Whether a package that Slicer has loaded has another version now."""
    now = _allVersions()
    changed = {name for name, version in before.items() if now.get(name) != version}
    return any(
        module in sys.modules and changed & {_plain(name) for name in names}
        for module, names in importlib.metadata.packages_distributions().items()
    )
