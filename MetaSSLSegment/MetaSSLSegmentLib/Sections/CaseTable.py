import qt
from slicer.i18n import tr as _

from .Section import setUpTable

WIDEST_COLUMN = 140
"""In pixels."""
STATUS_COLOURS = {"fixed": (90, 90, 90), "warning": (170, 110, 0), "excluded": (190, 40, 30)}


class CaseTable:
    """The table of cases: one row each, in the order of the case list.

    Args:
        table: the QTableWidget.
        selectionChanged: called without arguments.
    """

    def __init__(self, table, selectionChanged):
        self.table = table
        self.selectionChanged = selectionChanged
        setUpTable(table, (_("Case"), _("Role"), _("Size"), _("Spacing (mm)"), _("Classes"), _("Status")))
        table.horizontalHeader().setStretchLastSection(True)
        table.connect("itemSelectionChanged()", selectionChanged)

    def show(self, rows):
        """Fill the table with CaseRows."""
        table = self.table
        table.setRowCount(len(rows))
        for n, row in enumerate(rows):
            texts = (
                row.id,
                row.role,
                " x ".join(str(size) for size in row.size),
                " x ".join(f"{spacing:.3g}" for spacing in row.spacing),
                ", ".join(row.labels),
                row.status.split("\n")[0],
            )
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(row.status if column == 5 or row.severity else text)
                if row.severity:
                    item.setForeground(qt.QBrush(qt.QColor(*STATUS_COLOURS[row.severity])))
                table.setItem(n, column, item)
        table.resizeColumnsToContents()
        for column in range(table.columnCount - 1):  # leave room for the status
            table.setColumnWidth(column, min(table.columnWidth(column), WIDEST_COLUMN))

    def selected(self):
        """Ids of the selected cases."""
        rows = sorted({index.row() for index in self.table.selectionModel().selectedRows()})
        return [self.table.item(n, 0).text() for n in rows]

    def select(self, ids):
        """Select cases beside those that are selected."""
        table, ids = self.table, set(ids)
        selection, model = table.selectionModel(), table.model()
        flags = qt.QItemSelectionModel.Select | qt.QItemSelectionModel.Rows
        blocked = table.blockSignals(True)  # the buttons need to know only once
        for n in range(table.rowCount):
            if table.item(n, 0).text() in ids:
                selection.select(model.index(n, 0), flags)
        table.blockSignals(blocked)
        self.selectionChanged()
