import numpy as np
import pytest
import torch
from metassl.crops.augmentation import ELASTIC_CELL, ELASTIC_SHIFT, Augmentation
from metassl.data.dataset import IGNORE
from torch.nn import functional


@pytest.fixture
def crops():
    torch.manual_seed(0)
    images = torch.randn(3, 2, 20, 24, 20)
    labels = (images[:, 0] > 0).to(torch.uint8)
    return images.half(), labels


def test_shapes_and_types(crops):
    weak, strong, labels = Augmentation((16, 16, 12), (1, 1, 1))(*crops, seeds=(1, 2, 3))
    assert weak.shape == strong.shape == (3, 2, 16, 16, 12)
    assert weak.dtype == strong.dtype == torch.float32
    assert labels.shape == (3, 16, 16, 12) and labels.dtype == torch.int64
    assert set(labels.unique().tolist()) <= {0, 1, IGNORE}


def test_a_crop_depends_on_its_seed_alone(crops):
    augment = Augmentation((16, 16, 16), (1, 1, 1), ("LR",))
    images, labels = crops
    together = augment(images, labels, seeds=(1, 2, 3))
    alone = augment(images[1:2], labels[1:2], seeds=(2,))
    other = augment(images[1:2], labels[1:2], seeds=(5,))
    for a, b, c in zip(together, alone, other):
        assert torch.allclose(a[1].float(), b[0].float(), atol=1e-5)
        assert not torch.equal(b, c)


def test_both_views_share_the_geometry():
    block = torch.zeros(1, 1, 24, 24, 24)
    block[..., 8:16, 10:18, 6:14] = 4
    weak, strong, labels = Augmentation((20, 20, 20), (1, 1, 1))(block, (block[:, 0] > 0).byte(), seeds=(7,))
    inside = labels == 1
    assert 200 < inside.sum() < 1400
    for view in (weak[:, 0], strong[:, 0]):
        assert view[inside].mean() > view[labels == 0].mean() + 1.5


def test_places_beyond_the_crop_are_ignored():
    labels = torch.ones(1, 8, 8, 8, dtype=torch.uint8)
    _, _, found = Augmentation((16, 16, 16), (1, 1, 1))(torch.ones(1, 1, 8, 8, 8), labels, seeds=(0,))
    assert found[0, 8, 8, 8] == 1
    assert found[0, 0, 0, 0] == IGNORE and found[0, -1, -1, -1] == IGNORE


def test_ignored_labels_stay_ignored():
    labels = torch.full((1, 12, 12, 12), IGNORE, dtype=torch.uint8)
    _, _, found = Augmentation((8, 8, 8), (1, 1, 1))(torch.zeros(1, 1, 12, 12, 12), labels, seeds=(3,))
    assert (found == IGNORE).all()


def test_thick_slices_rotate_in_plane_only():
    augment = Augmentation((4, 16, 16), (5, 1, 1))
    for seed in range(20):
        matrix = augment._matrix(np.random.default_rng(seed))
        assert np.allclose(matrix[0, 1:], 0) and np.allclose(matrix[1:, 0], 0)
    assert any(abs(augment._matrix(np.random.default_rng(seed))[1, 2]) > 0.05 for seed in range(20))


def test_matrix_keeps_right_angles_in_millimetres():
    spacing = np.array([2.0, 1.0, 1.0])
    matrix = Augmentation((8, 8, 8), spacing)._matrix(np.random.default_rng(4))
    in_mm = matrix * spacing[:, None] / spacing[None, :]
    left, scales, _ = np.linalg.svd(in_mm)
    assert (scales > 0.7).all() and (scales < 1.4).all()
    assert np.allclose(left @ left.T, np.eye(3))


def test_every_crop_has_noise_of_its_own():
    """Of crops of one intensity only the noise of the strong view is left; patterns of two have nothing in common."""
    images, labels = torch.ones(24, 1, 16, 16, 16), torch.zeros(24, 16, 16, 16, dtype=torch.uint8)
    _, strong, _ = Augmentation((8, 8, 8), (1, 1, 1))(images, labels, seeds=range(24))
    noise = strong.flatten(1) - strong.flatten(1).mean(1, keepdim=True)
    noisy = noise[noise.std(1) > 0.02]
    assert len(noisy) > 5
    likeness = torch.corrcoef(noisy) - torch.eye(len(noisy))
    assert likeness.abs().max() < 0.3


def test_mirroring_only_where_asked():
    signs = {True: set(), False: set()}
    for mirrored in signs:
        augment = Augmentation((8, 8, 8), (1, 1, 1), ("LR",) if mirrored else ())
        for seed in range(20):
            signs[mirrored].add(bool(np.linalg.det(augment._matrix(np.random.default_rng(seed))) < 0))
    assert signs == {True: {True, False}, False: {False}}


def test_sampling_positions_are_those_of_the_formula():
    """Offset from the crop's middle in voxels = matrix x offset from the patch's middle + elastic shift."""
    patch, size, spacing = (8, 12, 10), (12, 15, 14), np.array([2.0, 1.0, 1.5])
    augment = Augmentation(patch, spacing, ("LR",))
    drawn = [augment._draw(np.random.default_rng(seed), size) for seed in (3, 4)]
    theta, shifts, _ = (torch.from_numpy(np.stack(values)).float() for values in zip(*drawn))
    grid = augment._grid(theta, shifts)
    assert grid.shape == (2, *patch, 3)
    for found, seed in zip(grid.double(), (3, 4)):
        random = np.random.default_rng(seed)
        matrix = augment._matrix(random)
        nodes = [max(2, round(n / ELASTIC_CELL)) for n in patch]
        in_voxels = np.reshape(ELASTIC_SHIFT / spacing, (1, 3, 1, 1, 1))  # 2 voxels of the finest axis, in mm
        shifts = torch.from_numpy(random.normal(0, in_voxels * random.uniform(), (1, 3, *nodes)))
        field = functional.interpolate(shifts, size=patch, mode="trilinear", align_corners=True)[0]
        offsets = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in patch], indexing="ij"))
        expected = np.einsum("ab,bkji->akji", matrix, offsets) + field.numpy()
        voxels = found.flip(-1).permute(3, 0, 1, 2).numpy() * np.reshape(size, (3, 1, 1, 1)) / 2
        np.testing.assert_allclose(voxels, expected, atol=3e-5)
