"""Whether the cases of a data set can join those that are in the table."""

from slicer.i18n import tr as _

from .Words import intensitiesName


def contradiction(cases, dataset):
    """Why the cases of a data set cannot join those in the table; "" when they can."""
    if cases.channels and len(dataset.channels) != len(cases.channels):
        return _("The new cases have {new} image channel(s), those in the table {old}.").format(
            new=len(dataset.channels), old=len(cases.channels)
        )
    if cases.rows and len({dataset.ignore_value, cases.ignoreValue} - {None}) > 1:
        return _("The new cases mark voxels to ignore with another value.")
    for name, old, new in zip(cases.channels, cases.intensities, dataset.intensities):
        if old != new and "auto" not in (old, new):
            return _(
                "The new cases say that the intensities of channel {channel} are {new}, in the table they are {old}."
            ).format(channel=name, new=intensitiesName(new), old=intensitiesName(old))
    known, taken = cases.segmentValues(), {c["value"] for c in cases.classes} | {cases.ignoreValue}
    for new in dataset.classes:
        if known.get(new.name, new.value) != new.value or (new.name not in known and new.value in taken):
            return _(
                "The class '{name}' with the value {value} contradicts the classes in the table: the same class "
                "must have the same value in all label files."
            ).format(name=new.name, value=new.value)
    if any(cases.labelValues.get(value, meant) != meant for value, meant in dataset.label_values.items()) or (
        taken & set(dataset.label_values) or {c.value for c in dataset.classes} & set(cases.labelValues)
    ):
        return _("The new cases give values in label files another meaning than the cases in the table.")
    if dataset.ignore_value in known.values():
        return _("The new cases mark voxels to ignore with {value}, which is a class in the table.").format(
            value=dataset.ignore_value
        )
    return ""
