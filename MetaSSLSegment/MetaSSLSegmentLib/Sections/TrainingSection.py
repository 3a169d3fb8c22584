import shutil
from pathlib import Path

import qt
import slicer
from metassl import Job, duration
from slicer.i18n import tr as _

from ..Engine.Runs import eventsOf, modelIn, warmUpOf
from ..Scene.ParameterNode import improvementSettings, trainingSettings
from ..Scene.Words import methodName
from .Budget import budgetInWords, learntLittle, rounded, tooLittle
from .HoldOutCase import HoldOutCase
from .HoldOutTable import HoldOutTable, distancesOf, scoresOf
from .Section import Section, allow, fill, say
from .Task import Task
from .WorkLine import WorkLine

RUNS_SETTING = "MetaSSL/RunsFolder"
MAXIMUM_LOG_LINES = 5000


def methodChoices():
    """Key -> text of the methods, in the engine's order; supervised only, the baseline, comes last."""
    keys = Job.__dataclass_fields__["method"].metadata["choices"]
    return {key: methodName(key) for key in sorted(keys, key=lambda key: key == "supervised")}


class TrainingSection(Section):
    """Start, watch, stop and resume a training."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self.status = ui.trainingStatus
        self.task = Task(logic, WorkLine(ui), self.status, ended=self._onEnded)
        self.task.stopText, self.task.onStop = _("Stop"), self.onStop
        self._run = None
        self._isNew = False
        self._doubted = []
        self._spent = 0.0
        self.trainedModel = None
        self.begun = self.trained = lambda *model: None
        """Called when a training begins, and with the model folder when one has made a model."""
        self.showCase = lambda caseID: None
        """Called with the id of a hold-out case that a person wants to see; returns the ShownCase, or None."""
        self.holdOutTable = HoldOutTable(ui.holdOutTable, ui.showHoldOutButton, self.onShowHoldOut)
        self._holdOutCase = HoldOutCase(logic, WorkLine(ui))
        self._scores, self._distances = {}, {}
        self.runsChanged = lambda: None
        """Called when another runs folder was chosen, or a training has ended."""
        self._flushTimer = qt.QTimer()
        self._flushTimer.setInterval(300)
        self._flushTimer.connect("timeout()", self.logic.curves.flushOne)
        self._choices = {
            "method": (ui.methodBox, methodChoices()),
            "budgetKind": (ui.budgetBox, {"minutes": _("minutes"), "iterations": _("steps")}),
            "network": (
                ui.networkBox,
                {"auto": _("automatic"), "small": _("small"), "standard": _("standard"), "large": _("large")},
            ),
            "device": (
                ui.deviceBox,
                {"auto": _("automatic"), "cpu": _("CPU"), "cuda": _("NVIDIA GPU"), "mps": _("Apple GPU")},
            ),
            "regionWeights": (
                ui.regionWeightsBox,
                {"mild": _("mild"), "paper": _("as in the article"), "released-code": _("as in the released code")},
            ),
        }
        self._paces = {}
        for name, (box, choices) in self._choices.items():
            fill(box, choices.items())
            box.connect("currentIndexChanged(int)", lambda index, name=name: self.onChoice(name))
        fill(ui.chartBox, [("losses", _("losses")), ("regions", _("regions")), ("hold-out", _("hold-out Dice"))])
        ui.runsFolderButton.directory = str(self.logic.runs.folder)
        ui.runsFolderButton.connect("directoryChanged(QString)", self.onRunsFolder)
        ui.startButton.connect("clicked(bool)", self.onStart)
        ui.resumeButton.connect("clicked(bool)", self.onResume)
        ui.chartButton.connect("clicked(bool)", self.onChart)
        ui.chartBox.connect("currentIndexChanged(int)", self.onChart)
        ui.logText.setMaximumBlockCount(MAXIMUM_LOG_LINES)
        self.refreshRuns()

    def setParameterNode(self, parameters, cases):
        super().setParameterNode(parameters, cases)
        self.showParameters()

    def showParameters(self):
        """Bring the parameter node's choices into the combo boxes."""
        for name, (box, choices) in self._choices.items():
            keys, value = list(choices), getattr(self.parameters, name)
            blocked = box.blockSignals(True)
            box.setCurrentIndex(keys.index(value) if value in keys else 0)
            box.blockSignals(blocked)
        minutes = self.ui.budgetBox.currentData == "minutes"
        self.ui.minutesSpin.visible = minutes
        self.ui.iterationsSpin.visible = not minutes
        say(self.ui.budgetText, self._budgetInWords())
        supervised = self.ui.methodBox.currentData == "supervised"
        self.ui.metasslBox.enabled = not supervised
        for widget in (self.ui.regionWeightsBox, self.ui.thresholdMemorySpin, self.ui.thresholdCapSpin):
            widget.enabled = not supervised and self.parameters.metasslLoss

    def _budgetInWords(self):
        method = self.parameters.method
        if method not in self._paces:  # reading the runs would take long at every change of a parameter
            self._paces[method] = self.logic.runs.stepsPerMinute(method)
        return budgetInWords(self.parameters, self._paces[method])

    def onChoice(self, name):
        if self.parameters is not None:
            setattr(self.parameters, name, self._choices[name][0].currentData)
            self.showParameters()
            self.logic.tellSections()

    def onRunsFolder(self, path):
        self.logic.setRunsFolder(str(path))
        self.runsChanged()

    def refreshRuns(self):
        """Offer the trainings that can be resumed, and learn from those that have ended."""
        self._paces.clear()
        if self.parameters is not None:
            say(self.ui.budgetText, self._budgetInWords())
        fill(self.ui.resumeBox, [(str(run), run.name) for run in self.logic.runs.unfinished()])

    def updateButtons(self):
        ui, busy = self.ui, self.logic.busy() or self.logic.notReady()
        allow(ui.startButton, busy or self.missing(ui.methodBox.currentData))
        resumable = "" if ui.resumeBox.count else _("There is no training to resume.")
        allow(ui.resumeButton, busy or resumable)
        ui.resumeBox.visible = ui.resumeButton.visible = not resumable

    def missing(self, method):
        """What the cases lack for a training with a method; "" when nothing."""
        if self.cases is None or not len(self.cases):
            return _("Add cases in section 2 first.")
        if not self.cases.counts()["labelled"]:
            return _("At least one case must be labelled.")
        if not self.cases.counts()["unlabelled"] and method != "supervised":
            return _("This method needs unlabelled cases. Add some, or choose Supervised only.")
        return ""

    # Starting

    def onStart(self, _checked=False):
        self._train(trainingSettings(self.parameters))

    def improve(self, model):
        """Go on from a model folder, with the cases as they are now and a part of the budget."""
        self._train(["--from", model, *improvementSettings(self.parameters)])

    def _train(self, settings):
        run = self.logic.runs.newFolder(self.cases.name)
        self._begin(run, isNew=True)
        self.task.export(self.cases, run, lambda dataset: self._start(["train", dataset, "--out", run, *settings]))

    def onResume(self, _checked=False):
        run = Path(self.ui.resumeBox.currentData)
        self._begin(run, isNew=False)
        for event in eventsOf(run):
            self._remember(event)
        self._start(["train", "--resume", run])

    def _begin(self, run, isNew):
        self._run, self._isNew, self.trainedModel, self._doubted = run, isNew, None, []
        self._spent, self._scores, self._distances = 0.0, {}, {}
        self.holdOutTable.fill({})
        self.ui.logText.clear()
        slicer.mrmlScene.SaveStateForUndo()  # the curves of the training before are replaced
        self.logic.curves.clear()
        self.onChart()  # now that the person is here: later another module, with another layout, may be open
        self._flushTimer.start()
        self.task.begin(_("A training is running."))
        self.begun()

    def _start(self, arguments):
        listening = {"event": self._onEvent, "log": self._log, "cancelled": self._onCancelled}
        self.task.run(arguments, self._onDone, survives=True, **listening)

    # Watching

    def _log(self, line):
        self.ui.logText.appendPlainText(line)
        self.logic.log(line)

    def _onEvent(self, event):
        self._remember(event)
        steps = event.get("steps")
        if event["event"] == "plan" and isinstance(steps, int | float):  # the first that is known of this budget
            little = tooLittle(steps, warmUpOf(self._run))
            if little:
                text = _("This budget holds about {steps} steps.").format(steps=rounded(steps))
                say(self.status, f"{text} {little}", wrong=True)

    def _remember(self, event):
        """Take what the curves, and the words at the end, need of an event."""
        self.logic.curves.add(event)
        kind = event.get("event")
        if kind == "annotations":
            self._doubted = [str(case) for case in event.get("doubted") or ()]
        elif kind == "hold-out":
            self._scores, self._distances = scoresOf(event), distancesOf(event)
        elif kind == "metrics":
            fraction = event.get("fraction")
            self._spent = fraction if isinstance(fraction, int | float) else 0.0

    def onChart(self, _index=0):
        """Show the chosen curves in the plot view."""
        self.logic.curves.show(self.ui.chartBox.currentData)

    def onShowHoldOut(self, ID):
        """Show image and annotation at once, and the prediction when it is there."""
        shown = self.showCase(ID)
        if shown is not None:
            row = next(row for row in self.cases.rows if row.id == ID)
            self._holdOutCase.show(self._run, row, shown, self.parameters.device)

    # Ending

    def onStop(self):
        """Ask the engine to save and stop; asked again, end it at once: the last checkpoint is kept."""
        if self.task.isStopping:
            self.logic.engine.kill()
        else:
            self.task.cancel(120, _("Stopping: finishing the step and saving the model..."), kill=_("Stop at once"))

    def _onDone(self, event):
        text = _("Finished: {steps} steps in {time}.").format(
            steps=event.get("iterations"), time=duration(event.get("seconds"))
        )
        self.task.finish(text + self._outcome(event))

    def _onCancelled(self, event):
        if event is None or event.get("event") != "done":
            self.task.finish(_("Stopped. The training can be resumed from its last checkpoint."))
            return
        text = _("Stopped after {steps} steps; the model is saved and the training can be resumed.")
        self.task.finish(text.format(steps=event.get("iterations")) + self._outcome(event))

    def _outcome(self, event):
        """What is worth knowing of the trained model: hold-out Dice, doubted cases."""
        text = learntLittle(event.get("iterations"), self._spent, warmUpOf(self._run))
        text = text and f" {text}"
        holdOut = event.get("hold_out")
        if holdOut:
            text += " " + _("Hold-out Dice {mean:.3f} over {cases} case(s).").format(
                mean=holdOut["mean_dice"], cases=holdOut["cases"]
            )
        if self._doubted:
            text += " " + _("Doubted: {cases}. The model contradicts their annotations; check them.").format(
                cases=", ".join(self._doubted)
            )
        return text

    def _onEnded(self):
        self._flushTimer.stop()
        self.logic.curves.flush()
        self.holdOutTable.fill(self._scores, self._distances)
        model = modelIn(self._run)
        self.trainedModel = None if model is None else model.path
        if self._isNew and not (self._run / "job.json").exists():  # the engine refused the data: nothing was learnt
            shutil.rmtree(self._run, ignore_errors=True)
        self.runsChanged()
        if self.trainedModel is not None:
            self.trained(self.trainedModel)

    def cleanup(self):
        self._flushTimer.stop()
        self._holdOutCase.task.abandon()
        super().cleanup()
