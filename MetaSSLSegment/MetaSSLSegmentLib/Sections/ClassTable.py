import qt
from metassl import InputError
from slicer.i18n import tr as _

from .Section import setUpTable


class ClassTable:
    """The table of classes, in which a person changes their names and colours.

    Args:
        table: the QTableWidget.
        renamed: called after a class got a new name with "", or with the text of why it could not.
    """

    def __init__(self, table, renamed):
        self.table = table
        self.renamed = renamed
        self._cases = None
        self._filling = False
        setUpTable(table, (_("Colour"), _("Name"), _("Value")))
        table.horizontalHeader().setStretchLastSection(True)
        table.connect("cellDoubleClicked(int,int)", self.onDoubleClicked)
        table.connect("cellChanged(int,int)", self.onEdited)

    def show(self, cases):
        """Fill the table with the classes of a CaseList."""
        self._cases, self._filling = cases, True
        self.table.setRowCount(len(cases.classes))
        for n, c in enumerate(cases.classes):
            for column, text in enumerate(("", c["name"], str(c["value"]))):
                item = qt.QTableWidgetItem(text)
                if column == 0:
                    item.setBackground(qt.QBrush(qt.QColor(*c["colour"])))
                self.table.setItem(n, column, item)
        self._filling = False

    def onDoubleClicked(self, row, column):
        c = self._cases.classes[row]
        if column == 1:
            self.table.editItem(self.table.item(row, column))
        elif column == 0:
            colour = qt.QColorDialog.getColor(qt.QColor(*c["colour"]), self.table, c["name"])
            if colour.isValid():
                self._cases.setColour(c["value"], (colour.red(), colour.green(), colour.blue()))
                self.show(self._cases)

    def onEdited(self, row, column):
        if self._filling or column != 1:
            return
        try:
            self._cases.renameClass(self._cases.classes[row]["value"], self.table.item(row, column).text())
        except InputError as error:
            self.renamed(f"{error} {error.hint}")
        else:
            self.renamed("")
