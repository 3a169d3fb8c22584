"""A volume in one file: looked at, then read by ITK, then held against its checksum."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ...errors import SMALLER_VOLUME, OutOfMemoryError, is_out_of_memory
from ..access import require_access
from ..rules import Fix, UnusableCase, unreadable
from .metaimage import MetaImageFile
from .nifti import NiftiFile, NiftiGrid, is_on_grid, mended_copy
from .nrrd import NrrdFile
from .picture import as_grey, is_picture, require_whole_picture
from .stored import require_sound, require_whole

FORMATS = {
    (".nii", ".nii.gz"): (NiftiFile, "NiftiImageIO"),
    (".nrrd", ".nhdr"): (NrrdFile, "NrrdImageIO"),
    (".mha", ".mhd"): (MetaImageFile, "MetaImageIO"),
}
"""Endings of names -> who looks at the header, and ITK's reader; files with other endings are ITK's alone."""
STORED_2D = "MetaSSL stored 2D"
"""Metadata of a volume of one slice whose file has two dimensions."""
TAKEN = {"voxel spacing": "1 mm", "position": "(0, 0, 0)", "directions": "the patient's axes"}


class VolumeFile:
    """A file whose header is in order, and which is as long as that promises.

    Args:
        path: of the file.

    Attributes:
        header: metadata and geometry as ITK understands them.
        size, spacing, origin: (i, j, k); mm; an image with two dimensions is a volume of one slice.
        direction: (3, 3), a column per axis; (4, 4) of a 4D image.
        components: numbers per voxel; 1 of a picture, which has colours or can be read as grey.
        fixes: what was assumed because the header does not say it.

    Raises:
        UnusableCase: it cannot be read, or its header promises what is not there.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        require_access(self.path)
        name = self.path.name.lower()
        look, self._reader = next((f for endings, f in FORMATS.items() if name.endswith(endings)), (None, ""))
        with itk_errors(self.path):
            self._file = look(self.path) if look else None
            self._stored = self._file.stored() if look else None
            self._verified = require_whole(self.path, self._stored) if look else True
            self._grid: NiftiGrid | None = None
            self.header = self._take_header()
            missing = self._file.not_stated() if look else []
            if is_picture(self.path):
                require_whole_picture(self.path)
        self._set_geometry()
        self.fixes: tuple[Fix, ...] = ()
        if missing:
            taken = " and ".join(TAKEN[what] for what in missing)
            message = f"{path} does not state its {' and '.join(missing)}; taken instead: {taken}."
            self.fixes = (Fix("no-geometry", message),)

    def read(self) -> sitk.Image:
        """The whole volume."""
        with itk_errors(self.path), self._copy(voxels=True) as path:
            image = self._itk_reader(path).Execute()
        if not self._verified:
            require_sound(self.path, self._stored, image)
        if is_picture(self.path):
            image, fixes = as_grey(image, self.path)
            self.fixes += fixes
        if image.GetDimension() == 2:
            image = sitk.JoinSeries(image)
            image.SetMetaData(STORED_2D, "yes")
        return image

    def _set_geometry(self) -> None:
        h = self.header
        self.size, self.spacing, self.origin = h.GetSize(), h.GetSpacing(), h.GetOrigin()
        self.components = 1 if is_picture(self.path) else h.GetNumberOfComponents()
        self.direction = np.reshape(h.GetDirection(), (len(self.size),) * 2)
        if is_picture(self.path) and len(self.size) > 2:
            raise UnusableCase("pages", f"{self.path} holds {self.size[2]} pages; a picture has one.")
        if len(self.size) == 2:
            direction = np.eye(3)
            direction[:2, :2] = self.direction
            self.size, self.spacing, self.origin = (*self.size, 1), (*self.spacing, 1.0), (*self.origin, 0.0)
            self.direction = direction

    def _take_header(self) -> sitk.ImageFileReader:
        """ITK's view of the header; ``_grid`` becomes the grid that has to be mended for it if it has to."""
        grid = self._file.grid() if isinstance(self._file, NiftiFile) else None
        try:
            header = self._itk_header(self.path)
        except RuntimeError:
            if grid is None:
                raise
            header = None
        if grid is not None and (header is None or not is_on_grid(grid, header)):
            self._grid = grid
            with self._copy(voxels=False) as path:
                header = self._itk_header(path)
        return header

    def _copy(self, voxels: bool):
        """Context that gives the path of what ITK can read."""
        return nullcontext(self.path) if self._grid is None else mended_copy(self._file, self._grid, voxels)

    def _itk_reader(self, path: Path) -> sitk.ImageFileReader:
        reader = sitk.ImageFileReader()
        reader.SetImageIO(self._reader)
        reader.SetFileName(str(path))
        return reader

    def _itk_header(self, path: Path) -> sitk.ImageFileReader:
        reader = self._itk_reader(path)
        reader.ReadImageInformation()
        return reader


@contextmanager
def itk_errors(path: Path | str) -> Iterator[None]:
    """Whatever goes wrong in reading a file makes its case unusable, but for a lack of memory."""
    try:
        yield
    except UnusableCase:
        raise
    except (RuntimeError, OSError, ValueError, ArithmeticError, MemoryError) as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"Not enough memory to read {path}.", SMALLER_VOLUME) from error
        raise unreadable(path, error) from error
