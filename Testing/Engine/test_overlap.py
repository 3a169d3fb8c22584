import numpy as np
from metassl.data.dataset import IGNORE
from metassl.data.overlap import dice_per_class


def test_dice_counted_by_hand():
    label = np.array([[[1, 1, 1, 2, 0, 0]]], np.uint8)
    prediction = np.array([[[1, 1, 2, 2, 1, 0]]], np.uint8)
    assert dice_per_class(prediction, label, 2) == [2 * 2 / (3 + 3), 2 * 1 / (2 + 1)]


def test_dice_of_classes_that_are_missing():
    nothing, one = np.zeros((2, 2, 2), np.uint8), np.ones((2, 2, 2), np.uint8)
    assert dice_per_class(nothing, nothing, 2) == [1, 1]
    assert dice_per_class(one, nothing, 1) == dice_per_class(nothing, one, 1) == [0]


def test_ignored_voxels_do_not_count():
    label = np.array([[[1, IGNORE, IGNORE, 0]]], np.uint8)
    prediction = np.array([[[1, 1, 0, 0]]], np.uint8)
    assert dice_per_class(prediction, label, 1) == [1]
