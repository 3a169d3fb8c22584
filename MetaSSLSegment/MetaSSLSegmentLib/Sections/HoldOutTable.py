import qt
from slicer.i18n import tr as _

from .Section import allow, setUpTable


class HoldOutTable:
    """How well the model of the last training does on every hold-out case: Dice per class, the worst cases first.

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

    def fill(self, scores):
        """Show what was measured; nothing takes no room.

        Args:
            scores: id of a case -> class name -> Dice.
        """
        classes = list(dict.fromkeys(name for dice in scores.values() for name in dice))
        means = {ID: sum(dice.values()) / max(1, len(dice)) for ID, dice in scores.items()}
        self._cases = sorted(scores, key=means.get)
        several = len(classes) > 1
        setUpTable(self.table, (_("Case"), *([_("Mean Dice")] if several else []), *classes))
        self.table.setRowCount(len(self._cases))
        for row, ID in enumerate(self._cases):
            numbers = [means[ID]] if several else []
            numbers += [scores[ID].get(name) for name in classes]
            texts = [ID, *("" if number is None else f"{number:.3f}" for number in numbers)]
            for column, text in enumerate(texts):
                self.table.setItem(row, column, qt.QTableWidgetItem(text))
        self.table.resizeColumnsToContents()
        self.table.visible = self.button.visible = bool(self._cases)
        self.updateButton()

    def updateButton(self):
        selected = bool(self.table.selectionModel().selectedRows())
        allow(self.button, "" if selected else _("Select a case in the table first."))


def scoresOf(event):
    """id of a case -> class name -> Dice, of the engine's event; empty when it tells none, or is damaged."""
    try:
        return {
            str(ID): {str(name): float(number) for name, number in dice.items()}
            for ID, dice in (event.get("per_case") or {}).items()
        }
    except (AttributeError, TypeError, ValueError):
        return {}
