"""Small volumes on disk for the tests of importing and checking."""

import numpy as np
import SimpleITK as sitk
from metassl.data.dataset import Case, Dataset, SegmentClass

SIZE = (6, 7, 8)
"""Size (z, y, x) of the volumes unless told otherwise."""

BALL, RIM, CORE = (SegmentClass(n, v, (v, 0, 0)) for n, v in (("ball", 1), ("rim", 2), ("core", 3)))


def grey(seed=0, size=SIZE):
    """Reproducible intensities."""
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def label(*values, size=SIZE):
    """A label whose first voxels have the values, the others 0."""
    array = np.zeros(size, np.uint8)
    array.flat[: len(values)] = values
    return array


def write(path, array, spacing=(1, 1, 1), origin=(0, 0, 0), direction=None, metadata=None, vector=False):
    """Write an array (z, y, x[, component]); returns the path."""
    image = sitk.GetImageFromArray(array, isVector=vector)
    extra = image.GetDimension() - 3
    if extra >= 0:
        image.SetSpacing([*map(float, spacing), *[1.0] * extra])
        image.SetOrigin([*map(float, origin), *[0.0] * extra])
    if direction is not None:
        image.SetDirection(np.ravel(direction).astype(float).tolist())
    for key, value in (metadata or {}).items():
        image.SetMetaData(key, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def segments(*named, layers=None):
    """Metadata of a .seg.nrrd: (name, value) per segment, and the layer of each."""
    metadata = {}
    for n, (name, value) in enumerate(named):
        metadata[f"Segment{n}_Name"] = name
        metadata[f"Segment{n}_LabelValue"] = str(value)
        metadata[f"Segment{n}_Color"] = f"{n / 5} 0.4 1"
        metadata[f"Segment{n}_Layer"] = str(layers[n] if layers else 0)
    return metadata


def write_dicom(folder, array, series="1.2.3", shift=0):
    """Write an int16 array (z, y, x) as a DICOM series of 2 mm slices, ``shift`` mm aslant; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for z, plane in enumerate(array.astype(np.int16)):
        image = sitk.GetImageFromArray(plane[None])
        image.SetSpacing((1.0, 1.0, 2.0))
        tags = {
            "0008|0018": f"{series}.{z + 1}",
            "0008|0060": "MR",
            "0020|000e": series,
            "0020|0013": str(z),
            "0020|0032": f"0\\{shift * z}\\{2 * z}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{z:03d}.dcm"))
        writer.Execute(image)
    return folder


def balls(folder, classes=(BALL,), labelled=2, unlabelled=2, hold_out=0):
    """Write cases with a bright ball in noise, all with a label; with the class core its middle is brighter.

    Returns the data set, also written as dataset.json: case0, case1 and so on, labelled, unlabelled, hold-out.
    """
    random, cases = np.random.default_rng(0), []
    roles = ["labelled"] * labelled + ["unlabelled"] * unlabelled + ["hold-out"] * hold_out
    for number, role in enumerate(roles):
        grid = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"))
        distance = ((grid - random.uniform(8, 12, (3, 1, 1, 1))) ** 2).sum(0) ** 0.5
        annotation = (distance < 6).astype(np.uint8)
        if CORE in classes:
            annotation[distance < 3] = CORE.value
        values = 80.0 * (annotation > 0) + 80.0 * (annotation == CORE.value) + random.normal(100, 20, annotation.shape)
        image = write(folder / f"image{number}.nii.gz", values.astype(np.float32))
        path = write(folder / f"label{number}.nii.gz", annotation)
        cases.append(Case(f"case{number}", (str(image),), str(path), role))
    dataset = Dataset("balls", ("MR",), classes, tuple(cases))
    dataset.save(folder / "dataset.json")
    return dataset
