from .Section import say


class WorkLine:
    """The line at the top of the panel, in sight whatever is scrolled: what runs, how far it is, how it ended; and a
    button that stops it.

    Args:
        ui: the panel's widgets, by name.
    """

    def __init__(self, ui):
        self.frame = ui.workFrame
        self.label = ui.workText
        self.bar = ui.workProgress
        self.button = ui.cancelButton
        if not self.label.text:
            self.end("")

    def begin(self, text, stop):
        """Show that work has begun.

        Args:
            text: what is being done.
            stop: text of the button that stops it.
        """
        say(self.label, text)
        self._show(isRunning=True)
        self.bar.setRange(0, 0)  # busy, until there is progress
        self.button.text = stop
        self.button.enabled = True

    def progress(self, text, fraction):
        """Show how far the work is, 0-1."""
        say(self.label, text)
        self.bar.setRange(0, 100)
        self.bar.value = int(100 * fraction)

    def stopping(self, text, kill=""):
        """Show that the work is about to stop; with the text of a button that ends it at once, that can be pressed."""
        say(self.label, text)
        self.button.text = kill or self.button.text
        self.button.enabled = bool(kill)

    def end(self, text, wrong=False):
        """Show how the work ended; with "" the line goes away."""
        say(self.label, text, wrong)
        self._show(isRunning=False)

    def onStop(self, function):
        """Call a function without arguments when the button is pressed."""
        self.button.connect("clicked(bool)", lambda checked: function())

    def _show(self, isRunning):
        self.bar.visible = self.button.visible = isRunning
        self.frame.visible = isRunning or bool(self.label.text)
