"""Stand-in of `slicer.i18n`. To see a translated GUI in a test, put texts into `TRANSLATIONS`.

As in Slicer, a translation with other placeholders than its text is refused, with a warning.
"""

import logging
import re

TRANSLATIONS = {}


def tr(text):
    translated = translate("", text)
    if _placeholders(text) != _placeholders(translated):
        logging.warning("translation of %r to %r is incorrect: placeholders do not match", text, translated)
        return text
    return translated


def translate(context, text):
    return TRANSLATIONS.get(text, text)


def _placeholders(text):
    return set(re.findall(r"(?<!\{)\{([^{}]+)\}(?!\})", text))
