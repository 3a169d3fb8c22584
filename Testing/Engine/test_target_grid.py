import numpy as np
import pytest
import SimpleITK as sitk
import torch
from metassl.data.images import resample_onto
from metassl.inference.target_grid import onto_target


def slabs_of(volume, *planes):
    """The volume in slabs of so many planes each, all in one memory that is overwritten."""
    memory = torch.empty_like(volume[:, : max(planes)])
    for slab in volume.split(list(planes), 1):
        here = memory[:, : slab.shape[1]].copy_(slab)
        yield here
        here.fill_(torch.nan)


def resampled(volume, scale, size):
    """Every channel as SimpleITK resamples it as a whole, onto a grid that covers the same box."""
    found = []
    for channel in volume.numpy():
        image = sitk.GetImageFromArray(channel)
        target = sitk.Image(size[::-1], sitk.sitkFloat32)
        target.SetSpacing([1 / s for s in scale[::-1]])
        target.SetOrigin([(1 / s - 1) / 2 for s in scale[::-1]])
        found.append(sitk.GetArrayFromImage(resample_onto(image, target, sitk.sitkLinear, extend=True)))
    return np.stack(found)


@pytest.mark.parametrize(
    ("scale", "size"),
    [
        ((1.0, 1.0, 1.0), (11, 7, 9)),
        ((1.3, 0.7, 2.2), (14, 5, 20)),
        ((0.2, 1.0, 0.5), (2, 7, 5)),
        ((5.0, 1.0, 1.0), (57, 7, 9)),
        ((1.0, 1.7, 1.0), (11, 12, 9)),
        ((0.09, 0.13, 0.11), (1, 1, 1)),
    ],
    ids=["same", "mixed", "coarser", "finer along k", "finer along j", "one voxel"],
)
@pytest.mark.parametrize("planes", [(11,), (4, 4, 3), (1,) * 11, (2, 8, 1)])
def test_slabs_together_are_the_whole_volume_resampled(scale, size, planes):
    volume = torch.rand(2, 11, 7, 9, generator=torch.Generator().manual_seed(0))
    found = [
        torch.stack([slab[c] for c in range(len(slab))])
        for slab in onto_target(slabs_of(volume, *planes), 11, scale, size)
    ]
    assert torch.cat(found, 1).numpy() == pytest.approx(resampled(volume, scale, size), abs=1e-5)


def test_every_plane_comes_as_soon_as_both_neighbours_are_there_and_one_earlier_plane_is_held():
    volume = torch.rand(2, 12, 3, 3, generator=torch.Generator().manual_seed(0))
    given, seen = [], []

    def counted():
        for slab in slabs_of(volume, 4, 4, 4):
            given.append(4)
            yield slab

    for slab in onto_target(counted(), 12, (2.0, 1.0, 1.0), (24, 3, 3)):
        seen.append((sum(given), slab[0].shape[0], sum(part.shape[1] for part in slab.parts)))
    # planes 2n + 1 and 2n + 2 of the finer grid lie between n and n + 1
    assert seen == [(4, 7, 4), (8, 8, 5), (12, 9, 5)]


def test_halves_have_the_same_planes():
    volume = torch.rand(2, 6, 3, 4, generator=torch.Generator().manual_seed(0))
    (slab,) = onto_target([volume], 6, (1.5, 1.0, 0.5), (9, 3, 2))
    parts = [half[1] for whole in slab.halves() for half in whole.halves()]
    assert [part.shape[0] for part in parts] == [3, 2, 2, 2]
    assert torch.equal(torch.cat(parts), slab[1])
