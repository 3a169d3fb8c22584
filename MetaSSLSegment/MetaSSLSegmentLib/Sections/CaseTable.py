import qt
from slicer.i18n import tr as _

from ..Scene.CaseOrder import SORT_KEYS, inOrder
from ..Scene.Words import roleName
from .Colours import ODD, QUIET, WRONG, onWidget
from .Section import setUpTable

WIDEST_COLUMN = 140
"""In pixels."""
ROWS_AT_ONCE = 100
"""Rows that are filled in one turn of the event loop: more would hold up the application."""
STATUS_COLOURS = {"fixed": QUIET, "warning": ODD, "excluded": WRONG}
STATUS, AGREEMENT = 2, 6
"""The columns that say what the check found, and how far a model's predictions agree."""


class CaseTable:
    """The table of cases: one row each, in the order of the case list or of a column.

    Args:
        table: the QTableWidget.
        selectionChanged: called without arguments.
        show: called with the id of a case that is double-clicked.
    """

    def __init__(self, table, selectionChanged, show):
        self.table = table
        self.selectionChanged = selectionChanged
        self._rows = []
        self._filled = 0
        self._isFilling = False
        self._sorting = None
        names = (_("Case"), _("Role"), _("Status"), _("Size"), _("Spacing (mm)"), _("Classes"), _("Agreement"))
        setUpTable(table, names)
        table.connect("itemSelectionChanged()", selectionChanged)
        table.connect("cellDoubleClicked(int,int)", lambda row, column: show(self._rows[row].id))
        self._header = table.horizontalHeader()
        self._header.setSectionsClickable(True)
        self._header.moveSection(AGREEMENT, STATUS)  # to where it is in sight
        self._header.connect("sectionClicked(int)", self.sort)

    def show(self, rows):
        """Fill the table with CaseRows, in the order that was chosen; long tables go on in the next turns of the event
        loop. The selected cases stay selected, wherever they are now."""
        selected = self.selected()
        self._rows, self._filled = list(rows), 0
        if self._sorting is not None:
            column, descending = self._sorting
            self._rows = inOrder(self._rows, SORT_KEYS[column], descending)
        self.table.setRowCount(len(self._rows))
        self.table.setColumnHidden(AGREEMENT, all(row.agreement is None for row in self._rows))
        self._fillSome()
        self.table.resizeColumnsToContents()
        for column in range(self.table.columnCount):
            self.table.setColumnWidth(column, min(self.table.columnWidth(column), WIDEST_COLUMN))
        blocked = self.table.blockSignals(True)
        self.table.clearSelection()
        self.table.blockSignals(blocked)
        self.select(selected)

    def sort(self, column):
        """Sort by a column; by the same one again the other way round."""
        descending = self._sorting == (column, False)
        self._sorting = (column, descending)
        self._header.setSortIndicatorShown(True)
        self._header.setSortIndicator(column, qt.Qt.DescendingOrder if descending else qt.Qt.AscendingOrder)
        self.show(self._rows)

    def _fillSome(self):
        end = min(self._filled + ROWS_AT_ONCE, len(self._rows))
        roles = qt.QPalette.Base, qt.QPalette.AlternateBase
        colours = {severity: onWidget(rgb, self.table, *roles) for severity, rgb in STATUS_COLOURS.items()}
        for n in range(self._filled, end):
            self._fill(n, self._rows[n], colours)
        self._filled = end
        if end < len(self._rows) and not self._isFilling:
            self._isFilling = True
            qt.QTimer.singleShot(0, self._goOn)

    def _goOn(self):
        self._isFilling = False
        if self._rows:
            self._fillSome()

    def abandon(self):
        """Fill no more: the panel goes away."""
        self._rows = []

    @staticmethod
    def inWords(row):
        """All that is known of a case, for people."""
        size, spacing = _sizeOf(row), _spacingOf(row)
        grid = _("{size} voxels, {spacing} mm").format(size=size, spacing=spacing) if size and spacing else size
        facts = "; ".join(filter(None, (row.id, roleName(row.role), grid, ", ".join(row.labels))))
        return "\n".join(filter(None, (facts, row.status)))

    def _fill(self, n, row, colours):
        size, spacing = _sizeOf(row), _spacingOf(row)
        texts = [row.id, roleName(row.role), row.status.split("\n")[0], size, spacing, ", ".join(row.labels)]
        texts.append("" if row.agreement is None else f"{row.agreement:.3f}")
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(row.status if column == STATUS or row.severity else text)
            if row.severity:
                item.setForeground(qt.QBrush(colours[row.severity]))
            self.table.setItem(n, column, item)

    def selected(self):
        """Ids of the selected cases."""
        rows = sorted({index.row() for index in self.table.selectionModel().selectedRows()})
        return [self._rows[n].id for n in rows if n < len(self._rows)]

    def select(self, ids):
        """Select cases beside those that are selected."""
        table, ids = self.table, set(ids)
        wanted = [n for n, row in enumerate(self._rows) if row.id in ids]
        blocked = table.blockSignals(True)  # the buttons need to know only once
        for first, last in _runsOf(wanted):  # row by row, a thousand rows would take a second
            table.setRangeSelected(qt.QTableWidgetSelectionRange(first, 0, last, table.columnCount - 1), True)
        table.blockSignals(blocked)
        self.selectionChanged()


def _sizeOf(row):
    return " x ".join(str(length) for length in row.size)


def _spacingOf(row):
    return " x ".join(f"{length:.3g}" for length in row.spacing)


def _runsOf(numbers):
    """(first, last) of every run of rising numbers without gaps."""
    known = set(numbers)
    return zip((n for n in numbers if n - 1 not in known), (n for n in numbers if n + 1 not in known))
