"""Stand-in of `slicer.i18n`. To see a translated GUI in a test, put texts into `TRANSLATIONS`."""

TRANSLATIONS = {}


def tr(text):
    return TRANSLATIONS.get(text, text)


def translate(context, text):
    return TRANSLATIONS.get(text, text)
