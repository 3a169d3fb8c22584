import qt
import slicer
from slicer.i18n import tr as _

from .Section import setUpTable

LOOKED = "\u2713"


class PlaceList:
    """The places of a result: a click centres the slice views there and ticks the place off.

    Args:
        table: the QTableWidget.
        looked: called with the number of a place when a person is led there.
    """

    def __init__(self, table, looked):
        self.table = table
        self._tell = looked
        self._places, self._looked = [], set()
        setUpTable(table, ("", _("Place"), _("ml")))
        table.connect("cellClicked(int,int)", lambda row, column: self.goTo(row))

    def show(self, places, looked):
        """List places; those whose numbers are in ``looked`` are ticked off."""
        table, same = self.table, self._places == list(places)
        self._places, self._looked = list(places), set(looked)
        table.setRowCount(len(self._places))
        for n, place in enumerate(self._places):
            texts = (LOOKED if n in self._looked else "", inWords(place), f"{place.volume:.2g}")
            for column, text in enumerate(texts):
                table.setItem(n, column, qt.QTableWidgetItem(text))
        if not same:
            table.setCurrentCell(-1, -1)
        table.resizeColumnsToContents()
        table.visible = bool(self._places)

    def goTo(self, n):
        """Centre the slice views on a place."""
        mode = slicer.vtkMRMLSliceNode.CenteredJumpSlice
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *self._places[n].position, mode)
        self._looked.add(n)
        self.table.item(n, 0).setText(LOOKED)
        self.table.selectRow(n)
        self._tell(n)

    def next(self):
        """Go to the next place that was not looked at; when all were, to the next one."""
        count, here = len(self._places), self.table.currentRow()
        order = [(here + step) % count for step in range(1, count + 1)]
        if order:
            self.goTo(next((n for n in order if n not in self._looked), order[0]))

    def inWords(self):
        """The place in the middle of the slice views: "2 of 7: vein or background, 0.3 ml"; "" when there is none."""
        n = self.table.currentRow()
        if not 0 <= n < len(self._places):
            return ""
        place = self._places[n]
        return _("{number} of {count}: {classes}, {volume} ml").format(
            number=n + 1, count=len(self._places), classes=inWords(place), volume=f"{place.volume:.2g}"
        )


def inWords(place):
    """What a place may be: "vein or background"; only one class where nothing else is near."""
    if place.classes[0] == place.classes[1]:
        return place.classes[0]
    return _("{now} or {instead}").format(now=place.classes[0], instead=place.classes[1])
