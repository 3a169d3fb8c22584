import shutil
from pathlib import Path

import qt
from metassl import Job, duration
from slicer.i18n import tr as _

from ..Engine.Runs import eventsOf, modelIn
from ..Scene.ParameterNode import trainingSettings
from .Section import Section, allow, fill
from .Task import Task

RUNS_SETTING = "MetaSSL/RunsFolder"
MAXIMUM_LOG_LINES = 5000


def methodChoices():
    """Key -> text of the methods, in the engine's order; supervised only, the baseline, comes last."""
    texts = {
        "mean-teacher": _("Mean Teacher"),
        "fixmatch": _("FixMatch"),
        "cps": _("CPS (two networks)"),
        "cct": _("CCT (several decoders)"),
        "r-drop": _("R-Drop (dropout)"),
        "supervised": _("Supervised only"),
    }
    keys = Job.__dataclass_fields__["method"].metadata["choices"]
    return {key: texts.get(key, key) for key in sorted(keys, key=lambda key: key == "supervised")}


class TrainingSection(Section):
    """Start, watch, stop and resume a training."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self.task = Task(logic, ui.trainingStatus, ui.trainingProgress, ended=self._onEnded)
        self._run = None
        self._isNew = False
        self._doubted = []
        self.trainedModel = None
        self.modelChosen = lambda path: None
        """Called with the model folder when *Use this model* is pressed."""
        self._flushTimer = qt.QTimer()
        self._flushTimer.setInterval(1000)
        self._flushTimer.connect("timeout()", self.logic.curves.flush)
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
        for name, (box, choices) in self._choices.items():
            fill(box, choices.items())
            box.connect("currentIndexChanged(int)", lambda index, name=name: self.onChoice(name))
        fill(ui.chartBox, [("losses", _("losses")), ("regions", _("regions")), ("hold-out", _("hold-out Dice"))])
        ui.runsFolderPath.currentPath = str(self.logic.runs.folder)
        ui.runsFolderPath.connect("currentPathChanged(QString)", self.onRunsFolder)
        ui.startButton.connect("clicked(bool)", self.onStart)
        ui.stopButton.connect("clicked(bool)", self.onStop)
        ui.resumeButton.connect("clicked(bool)", self.onResume)
        ui.chartButton.connect("clicked(bool)", self.onChart)
        ui.chartBox.connect("currentIndexChanged(int)", self.onChart)
        ui.useModelButton.connect("clicked(bool)", lambda checked: self.modelChosen(self.trainedModel))
        ui.logText.setMaximumBlockCount(MAXIMUM_LOG_LINES)
        ui.useModelButton.visible = False
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
        supervised = self.ui.methodBox.currentData == "supervised"
        self.ui.metasslBox.enabled = not supervised
        for widget in (self.ui.regionWeightsBox, self.ui.thresholdMemorySpin, self.ui.thresholdCapSpin):
            widget.enabled = not supervised and self.parameters.metasslLoss

    def onChoice(self, name):
        if self.parameters is not None:
            setattr(self.parameters, name, self._choices[name][0].currentData)
            self.showParameters()
            self.logic.tellSections()

    def onRunsFolder(self, path):
        self.logic.setRunsFolder(str(path))
        self.refreshRuns()
        self.logic.tellSections()

    def refreshRuns(self):
        """Offer the trainings that can be resumed."""
        fill(self.ui.resumeBox, [(str(run), run.name) for run in self.logic.runs.unfinished()])

    def updateButtons(self):
        ui, busy = self.ui, self.logic.busy() or self.logic.notReady()
        missing = ""
        if self.cases is None or not len(self.cases):
            missing = _("Add cases in section 2 first.")
        elif not self.cases.counts()["labelled"]:
            missing = _("At least one case must be labelled.")
        elif not self.cases.counts()["unlabelled"] and ui.methodBox.currentData != "supervised":
            missing = _("This method needs unlabelled cases. Add some, or choose Supervised only.")
        allow(ui.startButton, busy or missing)
        resumable = "" if ui.resumeBox.count else _("There is no training to resume.")
        allow(ui.resumeButton, busy or resumable)
        ui.stopButton.enabled = self.task.isRunning
        ui.stopButton.text = _("Stop at once") if self.task.isStopping else _("Stop")
        ui.stopButton.toolTip = (
            _("End the engine now. The last checkpoint is kept, and the training can be resumed from it.")
            if self.task.isStopping
            else _("Finish the step, save the model and stop. The training can be resumed.")
        )
        ui.useModelButton.visible = self.trainedModel is not None and not self.task.isRunning

    # Starting

    def onStart(self, _checked=False):
        run = self.logic.runs.newFolder(self.cases.name)
        self._begin(run, isNew=True)
        settings = trainingSettings(self.parameters)
        self.task.export(self.cases, run, lambda dataset: self._start(["train", dataset, "--out", run, *settings]))

    def onResume(self, _checked=False):
        run = Path(self.ui.resumeBox.currentData)
        self._begin(run, isNew=False)
        for event in eventsOf(run):
            self.logic.curves.add(event)
        self._start(["train", "--resume", run])

    def _begin(self, run, isNew):
        self._run, self._isNew, self.trainedModel, self._doubted = run, isNew, None, []
        self.ui.logText.clear()
        self.logic.curves.clear()
        self.onChart()  # now that the person is here: later another module, with another layout, may be open
        self._flushTimer.start()
        self.task.begin(_("A training is running."))

    def _start(self, arguments):
        self.task.run(arguments, self._onDone, event=self._onEvent, log=self._log, cancelled=self._onCancelled)

    # Watching

    def _log(self, line):
        self.ui.logText.appendPlainText(line)
        self.logic.log(line)

    def _onEvent(self, event):
        self.logic.curves.add(event)
        if event["event"] == "annotations":
            self._doubted = [str(case) for case in event.get("doubted") or ()]

    def onChart(self, _index=0):
        """Show the chosen curves in the plot view."""
        self.logic.curves.show(self.ui.chartBox.currentData)

    # Ending

    def onStop(self, _checked=False):
        if self.task.isStopping:
            self.logic.engine.kill()
        else:
            self.task.cancel(120, _("Stopping: finishing the step and saving the model..."))

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
        text = ""
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
        model = modelIn(self._run)
        self.trainedModel = None if model is None else model.path
        if self._isNew and not (self._run / "job.json").exists():  # the engine refused the data: nothing was learnt
            shutil.rmtree(self._run, ignore_errors=True)
        self.refreshRuns()

    def cleanup(self):
        self._flushTimer.stop()
        super().cleanup()
