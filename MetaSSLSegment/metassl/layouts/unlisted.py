"""What lies in a folder beside the files that a list names."""

from ..errors import first_few
from .folder import Layout, Source
from .naming import folder_kind


def add_unlisted(layout: Layout, tree: Layout, source: Source, everywhere: bool = False) -> None:
    """Add the volumes that no list names as unlabelled cases.

    Args:
        layout: of the list, with its cases.
        tree: the same folder as ``tree.read_layout`` finds it.
        source: the folder.
        everywhere: take them from every folder, not only from those of listed images and from images, imagesTs ...
    """
    used = {path for case in layout.cases for path in case.images.values()}
    labels = {case.label for case in layout.cases} - {None}
    folders = {path.parent for path in used} - {label.parent for label in labels}
    added = []
    for case in tree.cases:
        files = set(case.files)
        kind, _ = folder_kind(case.files[0].relative_to(source.folder).parts[:-1])
        wanted = everywhere or kind == "image" or case.files[0].parent in folders
        if wanted and not files & (used | labels | layout.said):
            case.label = None if case.label in labels else case.label
            case.fixed_role = "unlabelled"
            added.append(case)
    if added:
        name = source.described_in.name if source.described_in else "the list"
        layout.notes.append(
            f"{len(added)} volume(s) that {name} does not list are unlabelled cases: "
            f"{first_few([case.name for case in added])}."
        )
    layout.cases += added
