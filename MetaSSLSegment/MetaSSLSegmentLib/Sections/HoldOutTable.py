import qt
from slicer.i18n import tr as _

from .Section import allow, setUpTable


class HoldOutTable:
    """How well the model of the last training does on every hold-out case: Dice and HD95, the worst first.

    Args:
        table: the QTableWidget.
        button: the QPushButton that shows the selected case.
        show: called with the id of a case that a person wants to see.
    """

    def __init__(self, table, button, show):
        self.table = table
        self.button = button
        self._show = show
        self._cases = []
        self.fill({})
        table.connect("itemSelectionChanged()", self.updateButton)
        table.connect("cellDoubleClicked(int,int)", lambda row, column: self._show(self._cases[row]))
        button.connect("clicked(bool)", lambda checked: self._show(self._cases[self.table.currentRow()]))

    def fill(self, scores, distances=None):
        """Show what was measured; nothing takes no room.

        Args:
            scores: id of a case -> class name -> Dice.
            distances: the same of HD95 in mm, None where it is undefined; empty when it was not measured.
        """
        distances = distances or {}
        classes = list(dict.fromkeys(name for dice in scores.values() for name in dice))
        means = {ID: sum(dice.values()) / max(1, len(dice)) for ID, dice in scores.items()}
        self._cases = sorted(scores, key=means.get)
        columns = [(_("Case"), lambda ID: ID)]
        if len(classes) > 1:
            columns.append((_("Mean Dice"), lambda ID: f"{means[ID]:.3f}"))
        for name in classes:
            columns.append((name, lambda ID, name=name: _number(scores[ID], name, ".3f")))
            if distances:
                title = _("{name} HD95 (mm)").format(name=name)
                columns.append((title, lambda ID, name=name: _number(distances.get(ID, {}), name, ".1f")))
        setUpTable(self.table, [title for title, _text in columns])
        self.table.setRowCount(len(self._cases))
        for row, ID in enumerate(self._cases):
            for column, (_title, text) in enumerate(columns):
                self.table.setItem(row, column, qt.QTableWidgetItem(text(ID)))
        self.table.resizeColumnsToContents()
        self.table.visible = self.button.visible = bool(self._cases)
        self.updateButton()

    def updateButton(self):
        selected = bool(self.table.selectionModel().selectedRows())
        allow(self.button, "" if selected else _("Select a case in the table first."))


def _number(values, name, form):
    """A number as text: empty when it is not known, a dash when it is undefined."""
    value = values.get(name)
    return ("" if name not in values else "-") if value is None else format(value, form)


def scoresOf(event):
    """id of a case -> class name -> Dice, of the engine's event; empty when it tells none, or is damaged."""
    return _perCase(event, "per_case", float)


def distancesOf(event):
    """The same of HD95 in mm, which is None where only one of annotation and prediction has the class."""
    return _perCase(event, "hd95_per_case", lambda value: None if value is None else float(value))


def _perCase(event, key, number):
    try:
        return {
            str(ID): {str(name): number(value) for name, value in values.items()}
            for ID, values in (event.get(key) or {}).items()
        }
    except (AttributeError, TypeError, ValueError):
        return {}
