"""Medical Segmentation Decathlon: a list of training pairs; several channels are stacked in one 4D file."""

from pathlib import Path

from ..data.images import stem
from .folder import Description, FoundCase, Layout, describe_layout, find_folder, list_volumes

ACCEPTS = 'Medical Segmentation Decathlon: dataset.json with the lists "training" and "test"'


def read_layout(folder: Path, description: Description) -> Layout | None:
    """The cases that dataset.json lists and that exist; None when it lists no training cases."""
    training = description.get("training")
    if not isinstance(training, list):
        return None
    layout = describe_layout("a Medical Segmentation Decathlon task", description)
    test_labels = {stem(path): path for path in list_volumes(find_folder(folder, "labelsTs"))}
    for entry in training:
        if isinstance(entry, dict) and "image" in entry:
            label = folder / str(entry["label"]) if entry.get("label") else None
            _add_listed(layout, folder / str(entry["image"]), label, test=False)
    for entry in description.get("test") or []:
        image = folder / str(entry["image"] if isinstance(entry, dict) else entry)
        _add_listed(layout, image, test_labels.get(stem(image)), test=True)
    return layout


def _add_listed(layout: Layout, image: Path, label: Path | None, test: bool) -> None:
    if not image.is_file():
        layout.notes.append(f"{image} is listed in dataset.json but does not exist; the case is left out.")
        return
    if label is not None and not label.is_file():
        layout.notes.append(f"{label} is listed in dataset.json but does not exist; the case is unlabelled.")
        label = None
    images = dict.fromkeys(range(max(1, len(layout.channels))), image)
    layout.cases.append(FoundCase(stem(image), images, label, test))
