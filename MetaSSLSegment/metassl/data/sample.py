"""A small synthetic data set to try everything on: MR-like volumes of an invented organ, no download.

Three classes touch and enclose each other: a two-lobed nucleus, a shell around part of it, and a thin curved tract that
runs along both. Every case is another patient: shapes are scaled, rotated and warped, intensities shifted, bias field,
blur, partial volume and noise added, on another grid (size, spacing, oblique direction). Blobs and vessels of the same
brightness as the classes lie elsewhere, so that no threshold solves the task.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .dataset import Case, Dataset, SegmentClass
from .images import write_image

CLASSES = (
    SegmentClass("nucleus", 1, (230, 120, 70)),
    SegmentClass("shell", 2, (90, 170, 230)),
    SegmentClass("tract", 3, (240, 220, 90)),
)
BRIGHTNESS = {"air": 8.0, "body": 100.0, "fluid": 62.0, "nucleus": 124.0, "shell": 109.0, "tract": 142.0}
NOISE = 7.0
FINER = 2
"""Shapes are drawn on a grid this much finer per axis, then averaged: partial volume."""


def make_sample(
    folder: Path | str,
    *,
    seed: int = 0,
    labelled: int = 4,
    unlabelled: int = 16,
    test: int = 4,
    progress: Callable[[int, int, str], None] | None = None,
) -> Path:
    """Write images, labels and dataset.json; test cases have a label and the role "ignored".

    Args:
        folder: new or empty folder.
        seed: the same seed gives the same volumes.
        labelled, unlabelled, test: numbers of cases.
        progress: called with finished and all cases and the case's id.

    Returns:
        Path of dataset.json.

    Raises:
        InputError: a number is negative, no case is labelled, or the folder holds something else.
    """
    folder = Path(folder)
    if labelled < 1 or unlabelled < 0 or test < 0:
        raise InputError(
            f"Cannot make {labelled} labelled, {unlabelled} unlabelled and {test} test cases.",
            "Ask for at least one labelled case and no negative numbers.",
        )
    if folder.exists() and any(path.name not in ("images", "labels", "dataset.json") for path in folder.iterdir()):
        raise InputError(f"{folder} holds other files.", "Choose a new folder with --out.")
    roles = ["labelled"] * labelled + ["unlabelled"] * unlabelled + ["ignored"] * test
    cases = []
    for number, role in enumerate(roles):
        name = f"sample_{number:03}"
        image, label = make_case(seed, number)
        image_path, label_path = (folder / part / f"{name}.nii.gz" for part in ("images", "labels"))
        write_image(image, image_path)
        if role != "unlabelled":
            write_image(label, label_path)
        known = None if role == "unlabelled" else str(label_path.absolute())
        cases.append(Case(name, (str(image_path.absolute()),), known, role))
        if progress:
            progress(number + 1, len(roles), name)
    Dataset("MetaSSL sample", ("MR",), CLASSES, tuple(cases)).save(folder / "dataset.json")
    return folder / "dataset.json"


def make_case(seed: int, number: int) -> tuple[sitk.Image, sitk.Image]:
    """Image (int16) and label (uint8) of one invented patient.

    Args:
        seed: of the data set.
        number: of the case; each has its own random numbers.
    """
    random = np.random.default_rng((seed, number))
    size = random.integers((32, 36, 32), (39, 43, 39))  # k, j, i
    spacing = random.uniform((1.4, 1.3, 1.3), (1.8, 1.6, 1.6))
    position = _positions(size, spacing)
    shapes = _shapes(_warp(position, random), random)
    fine, label = _paint(position, shapes, random)
    coarse = fine.reshape(size[0], FINER, size[1], FINER, size[2], FINER).mean((1, 3, 5))
    shares = [(label == k).reshape(size[0], FINER, size[1], FINER, size[2], FINER).mean((1, 3, 5)) for k in range(4)]
    image = sitk.GetImageFromArray(_scan(coarse, random))
    annotation = sitk.GetImageFromArray(np.argmax(shares, axis=0).astype(np.uint8))
    for volume in (image, annotation):
        volume.SetSpacing(spacing[::-1].tolist())
    image.SetDirection(_rotation(random, 0.08).ravel().tolist())
    image.SetOrigin(random.uniform(-80, 80, 3).tolist())
    annotation.CopyInformation(image)
    return image, annotation


def _positions(size: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """(3, k, j, i) positions in mm on the fine grid, 0 in the middle of the volume."""
    axes = [(np.arange(n * FINER) - (n * FINER - 1) / 2) * (s / FINER) for n, s in zip(size, spacing)]
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def _rotation(random: np.random.Generator, largest: float) -> np.ndarray:
    """A rotation by up to ``largest`` radians about each axis."""
    result = np.eye(3)
    for axis, angle in enumerate(random.uniform(-largest, largest, 3)):
        a, b = (n for n in range(3) if n != axis)
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        result = turn @ result
    return result


def _along(direction: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Scalar product of a direction (or of the rows of a matrix) with positions (3, k, j, i)."""
    return np.tensordot(direction.astype(np.float32), position, 1)


def _waves(position: np.ndarray, random: np.random.Generator, count: int, shortest: float) -> np.ndarray:
    """A smooth random field of deviation about 1: a sum of plane waves not shorter than ``shortest`` mm."""
    field = np.zeros(position.shape[1:], np.float32)
    for _ in range(count):
        direction = random.normal(size=3)
        direction *= 2 * np.pi / (random.uniform(1, 2.5) * shortest * np.linalg.norm(direction))
        field += np.cos(_along(direction, position) + np.float32(random.uniform(0, 2 * np.pi)))
    return field * np.float32(np.sqrt(2 / count))


def _warp(position: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Where each position lies in the anatomy before it was turned, scaled and bent."""
    matrix = _rotation(random, 0.3) @ np.diag(np.exp(random.normal(0, 0.1, 3)))
    moved = _along(matrix, position - random.uniform(-4, 4, (3, 1, 1, 1)).astype(np.float32))
    return moved + np.stack([1.6 * _waves(position, random, 4, 30) for _ in range(3)])


def _ellipsoid(place: np.ndarray, centre, radii) -> np.ndarray:
    """About the signed distance in mm from an ellipsoid's surface, negative inside."""
    centre, radii = (np.reshape(v, (3, 1, 1, 1)).astype(np.float32) for v in (centre, radii))
    offset = (place - centre) / radii
    return (np.sqrt((offset**2).sum(0)) - 1) * np.min(radii)


def _tube(place: np.ndarray, points: np.ndarray, radius: float) -> np.ndarray:
    """Signed distance in mm from a tube along a polyline (n, 3)."""
    nearest = np.full(place.shape[1:], np.inf, np.float32)
    for a, b in pairwise(points.astype(np.float32)):
        line = b - a
        offset = place - a.reshape(3, 1, 1, 1)
        along = (_along(line, offset) / (line @ line)).clip(0, 1)
        nearest = np.minimum(nearest, ((offset - line.reshape(3, 1, 1, 1) * along) ** 2).sum(0))
    return np.sqrt(nearest) - radius


def _shapes(place: np.ndarray, random: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Tissue -> masks on the fine grid; later tissues lie over earlier ones."""
    large, small, bend = random.uniform(0.85, 1.15, 3)
    one = _ellipsoid(place, (-3, -4, 0), (7 * large, 8, 6.5))
    two = _ellipsoid(place, (5, 4, 1), (6, 6 * small, 6))
    lobes = -3 * np.log(np.exp(-one / 3) + np.exp(-two / 3))  # a smooth union
    facing = place[2] + 0.5 * place[1] > random.uniform(-3, 1)
    shell = (lobes < random.uniform(3, 4.5)) & facing
    angle = np.linspace(-1.9, 1.4, 12)
    arc = np.stack([9 * bend * np.sin(angle), 12 * np.cos(angle) - 3, 4 * angle - 6], 1)
    decoys = [
        _ellipsoid(place, random.uniform((-17, -20, -17), (17, 20, 17)), random.uniform(2.5, 5, 3)) < 0
        for _ in range(random.integers(4, 8))
    ]
    vessel = np.cumsum(np.vstack([random.uniform(-16, 16, 3), random.normal(0, 6, (5, 3))]), 0)
    return {
        "body": [_ellipsoid(place, (0, 0, 0), random.uniform((24, 27, 24), (28, 32, 28))) < 0],
        "fluid": [_ellipsoid(place, (12, -10, -8), random.uniform(3, 6, 3)) < 0],
        "decoys": [*decoys, _tube(place, vessel, 1.6) < 0],
        "shell": [shell],
        "nucleus": [lobes < 0],
        "tract": [_tube(place, arc, random.uniform(1.7, 2.3)) < 0],
    }


def _paint(position: np.ndarray, shapes: dict, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Brightness and label on the fine grid."""
    shades = {tissue: value + random.normal(0, 4) for tissue, value in BRIGHTNESS.items()}
    brightness = np.full(position.shape[1:], shades["air"])
    label = np.zeros(position.shape[1:], np.uint8)
    values = {c.name: c.value for c in CLASSES}
    for tissue, masks in shapes.items():
        for mask in masks:
            mask = mask & shapes["body"][0]
            shade = shades[tissue if tissue in shades else random.choice([c.name for c in CLASSES])]
            brightness[mask] = shade
            label[mask] = values.get(tissue, 0)
    texture = 3 * _waves(position, random, 8, 8) * (brightness > 30)
    bias = np.exp(0.12 * _waves(position, random, 3, 60))
    return (brightness + texture) * bias, label


def _scan(brightness: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blur, Rician noise and an arbitrary scale, as int16."""
    blurred = sitk.GetArrayFromImage(sitk.DiscreteGaussian(sitk.GetImageFromArray(brightness), 0.35))
    real, imaginary = random.normal(0, NOISE, (2, *brightness.shape))
    magnitude = np.hypot(blurred + real, imaginary)
    return np.clip(np.rint(magnitude * random.uniform(2, 12)), 0, 32767).astype(np.int16)
