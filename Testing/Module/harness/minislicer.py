"""Sets up `qt`, `ctk` and `slicer` for a test session: `slicer = minislicer.bootstrap()`."""

import atexit
import os
import sys
import tempfile
import types

_kept = []


def bootstrap():
    """Make `qt`, `ctk` and `slicer` importable as in Slicer, with a scene; calling again returns the same `slicer`.

    Call it before anything imports `qt`, `ctk` or `slicer`.
    """
    if _kept:
        return sys.modules["slicer"]
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    temporaryFolder = tempfile.TemporaryDirectory(prefix="minislicer-", ignore_cleanup_errors=True)
    application = _startQt(temporaryFolder.name)
    slicer = _importSlicer()
    scene = slicer.mrmlScene = slicer.vtkMRMLScene()
    cache = _prepareBundles(slicer, scene, temporaryFolder.name)

    from . import application as applicationModule
    from . import files, sample_data

    applicationLogic = slicer.vtkSlicerApplicationLogic()
    applicationLogic.SetMRMLScene(scene)
    applicationLogic.SetTemporaryPath(temporaryFolder.name)
    slicer.app = applicationModule.Application(scene, applicationLogic, temporaryFolder.name)
    logics = applicationModule.addModuleLogics(scene, applicationLogic)
    applicationModule.keepSubjectHierarchy(scene)
    slicer.app.layoutManager().addViews(scene, applicationLogic)
    files.replaceFileFunctions()
    sys.modules["SampleData"] = sample_data
    _kept.extend([application, temporaryFolder, applicationLogic, logics, cache])
    atexit.register(_shutDown)
    return slicer


def _startQt(settingsFolder):
    """One QApplication, with settings in a temporary folder instead of the user's."""
    from . import ctk_widgets, mrml_widgets, pythonqt_bridge, widgets  # noqa: F401 (they register themselves)
    from .ui_files import UiLoader

    qt = pythonqt_bridge.install()
    qt.QUiLoader = UiLoader
    ctk = types.ModuleType("ctk", "Stand-ins of ctk's widgets.")
    for name, widgetClass in widgets.STAND_INS.items():
        if name.startswith("ctk"):
            setattr(ctk, name, widgetClass)
    sys.modules["ctk"] = ctk
    qt.QCoreApplication.setOrganizationName("MetaSSL tests")
    qt.QCoreApplication.setApplicationName("Slicer")
    qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
    qt.QSettings.setPath(qt.QSettings.IniFormat, qt.QSettings.UserScope, settingsFolder)
    return qt.QApplication.instance() or qt.QApplication(["Slicer"])


def _importSlicer():
    """slicer-core's `slicer`, plus the stand-ins of what only the application has."""
    import slicer
    import slicer.util

    from . import widgets

    for name, widgetClass in widgets.STAND_INS.items():
        if not name.startswith("ctk"):
            setattr(slicer, name, widgetClass)
    slicer.modules = types.ModuleType("slicer.modules")
    slicer.moduleNames = types.SimpleNamespace()
    sys.modules["slicer.modules"] = slicer.modules

    from . import module_loading

    for name in ("qSlicerScriptedLoadableModule", "qSlicerScriptedLoadableModuleWidget"):
        setattr(slicer, name, getattr(module_loading, name))

    from . import packages, parameter_node_wrapper, translation

    standInModules = {
        "i18n": translation,
        "packaging": packages,
        "parameterNodeWrapper": parameter_node_wrapper,
    }
    for name, module in standInModules.items():
        setattr(slicer, name, module)
        sys.modules[f"slicer.{name}"] = module

    from . import scripted_module

    slicer.ScriptedLoadableModule = scripted_module
    sys.modules["slicer.ScriptedLoadableModule"] = scripted_module
    return slicer


def _prepareBundles(slicer, scene, folder):
    """Reading .mrb files needs a cache folder."""
    cache = slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(folder)
    manager = slicer.vtkDataIOManager()
    manager.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(manager)
    return cache, manager


def _shutDown():
    """Let go of VTK and Qt in an order that does not crash at the interpreter's end."""
    import slicer

    slicer.mrmlScene.RemoveAllObservers()
    slicer.mrmlScene.Clear(True)
    for widget in _kept[0].topLevelWidgets():
        widget.close()
