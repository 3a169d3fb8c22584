"""A dataset.json of MetaSSL: cases, roles and classes as they stand there, and what has come to the folder since."""

from ..data.dataset import Dataset
from ..errors import InputError
from . import tree
from .folder import Layout, Source, found_case, say_each, why_gone
from .unlisted import add_unlisted

ACCEPTS = "MetaSSL: a dataset.json that metassl prepare wrote"


def read_layout(source: Source) -> Layout | None:
    """The cases of dataset.json that exist; None when MetaSSL did not write it.

    A damaged one in the folder is noted and the folder read anew: so it can be made again.

    Raises:
        InputError: the file was asked for by its own path, and is damaged.
    """
    if not isinstance(source.description.get("cases"), list):
        return None
    layout = Layout("a MetaSSL data set", others="dataset.json does not list them")
    try:
        dataset = Dataset.load(source.described_in)
    except InputError as error:
        if source.asked_for:
            raise
        layout.notes.append(f"{error} The folder is read as if it were not there.")
        return layout
    layout.title, layout.channels, layout.classes = dataset.name, list(dataset.channels), list(dataset.classes)
    layout.ignore_value, layout.label_values = dataset.ignore_value, dataset.label_values
    layout.intensities = dataset.intensities
    where = f"is listed in {source.described_in.name}"
    missing, without = [], []
    for case in dataset.cases:
        found = found_case(case)
        gone = [path for path in found.files if why_gone(path)]
        if gone:
            missing.append(f"Case {case.id}: {gone[0]} {where} but {why_gone(gone[0])}")
            continue
        if found.label is not None and (why := why_gone(found.label)):
            without.append(f"Case {case.id}: {found.label} {where} but {why}")
            found.label, found.fixed_role = None, "ignored" if case.role == "ignored" else "unlabelled"
        layout.cases.append(found)
    layout.notes += say_each("{}; it is left out.", missing)
    layout.notes += say_each("{}; the case is unlabelled.", without)
    if not layout.cases:
        layout.notes.insert(0, f"No image can be found that {source.described_in} lists; the folder is read anew.")
    else:
        add_unlisted(layout, tree.read_layout(Source(source.contents)), source, everywhere=True)
    return layout
