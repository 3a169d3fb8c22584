"""Every image is read once before the first step, several at a time, within the threads that a user allows."""

import os
import time

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from metassl.data import pool
from metassl.data.checking import check_dataset
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.data.formats.volume_file import VolumeFile
from metassl.data.kept import KeptVolumes
from metassl.data.pool import map_cases
from metassl.devices import limit_threads
from metassl.errors import Stopped
from metassl.events import Reporter
from metassl.job import Job
from metassl.planning import cache
from metassl.planning.cache import build_cache
from metassl.planning.planner import make_plan
from metassl.training.run_folder import RunFolder
from metassl.training.train import prepare_data
from volumes import write

SIZE = (12, 13, 14)
CPU = torch.device("cpu")


@pytest.fixture
def dataset(tmp_path):
    """Two labelled and two unlabelled cases; nothing says that they are MR."""
    cases = []
    for number in range(4):
        array = np.random.default_rng(number).normal(100, 10, SIZE).astype(np.float32)
        image = str(write(tmp_path / f"{number}.nii.gz", array))
        label = np.zeros(SIZE, np.uint8)
        label[2:5, 2:5, 2:5] = 1
        path = str(write(tmp_path / f"{number}-label.nrrd", label)) if number < 2 else None
        cases.append(Case(str(number), (image,), path, "labelled" if path else "unlabelled"))
    return Dataset("d", ("image",), (SegmentClass("a", 1, (1, 1, 1)),), tuple(cases))


@pytest.fixture
def opened(monkeypatch):
    """The names of the files whose voxels are read, as often as they are."""
    names, read = [], VolumeFile.read
    monkeypatch.setattr(VolumeFile, "read", lambda self: names.append(self.path.name) or read(self))
    return names


ALL = ["0-label.nrrd", "0.nii.gz", "1-label.nrrd", "1.nii.gz", "2.nii.gz", "3.nii.gz"]


def test_checking_planning_and_caching_read_every_file_once(dataset, tmp_path, opened):
    run = RunFolder(tmp_path / "run")
    run.create(Job(method="mean-teacher", iterations=1), dataset)
    usable, _, cases = prepare_data(run, *run.load(), CPU, Reporter(False), lambda: False)
    assert sorted(opened) == ALL and len(cases) == 4
    assert run.fingerprint().spacing == ((1, 1, 1), (1, 1, 1)) and usable.with_role("ignored") == ()


def test_without_room_files_are_read_again_and_give_the_same(dataset, tmp_path, opened):
    kept, plan = KeptVolumes(4 * np.prod(SIZE)), make_plan(dataset, Job())
    opened.clear()
    check_dataset(dataset, kept=kept)
    first = build_cache(dataset, plan, tmp_path / "a", kept=kept)
    assert len(opened) == len(ALL) + 5  # one image of an unlabelled case was kept, or less than one labelled case
    for one, other in zip(first, build_cache(dataset, plan, tmp_path / "b")):
        np.testing.assert_array_equal(one.image(), other.image())


def test_a_file_that_changed_after_the_check_is_read_again(dataset, opened):
    kept = KeptVolumes()
    check_dataset(dataset, kept=kept)
    case = dataset.cases[3]
    os.utime(case.images[0], (1, 1))
    assert kept.take(case) is None
    images, label = kept.take(dataset.cases[0])
    assert images[0].GetSize() == SIZE[::-1] and label.sum() == 27
    assert kept.take(dataset.cases[0]) is None


# ---- pools


def cases_named(count):
    return [Case(str(n), (f"{n}.nii",)) for n in range(count)]


def test_cases_come_in_order_whatever_their_turn(monkeypatch):
    monkeypatch.setattr(pool, "thread_limit", lambda: 4)
    names = cases_named(12)

    def work(case):
        time.sleep(0.02 * (case.id == "0"))
        return 2 * int(case.id)

    assert [(case.id, done.result()) for case, done in map_cases(work, names, 1)] == [
        (str(n), 2 * n) for n in range(12)
    ]


def test_an_error_of_one_case_is_its_own():
    def work(case):
        if case.id == "1":
            raise ValueError("bad")
        return case.id

    errors = [done.exception() for _, done in map_cases(work, cases_named(3), 1)]
    assert [type(error) for error in errors] == [type(None), ValueError, type(None)]


def test_a_stop_leaves_the_rest():
    done = []
    with pytest.raises(Stopped, match="enough"):
        for case, _ in map_cases(lambda case: case.id, cases_named(50), 1, lambda: len(done) == 2, "enough"):
            done.append(case.id)
    assert done == ["0", "1"]


# ---- threads


@pytest.fixture
def threads():
    """Puts the numbers of threads back."""
    before = torch.get_num_threads(), sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    yield
    torch.set_num_threads(before[0])
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before[1])


def test_threads_hold_torch_simpleitk_and_the_pool(threads):
    limit_threads(3)
    counts = set()
    for _ in map_cases(
        lambda case: counts.add(sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()), cases_named(3), 1
    ):
        pass
    assert torch.get_num_threads() == 3 == sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    assert counts == {1}  # three workers share them
    limit_threads(0)
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(
    ("limit", "largest", "workers"), [(1, 1, 1), (2, 1, 2), (16, 1, 4), (16, 10**8, 1), (16, 5 * 10**7, 3)]
)
def test_workers_fit_threads_and_memory(threads, monkeypatch, limit, largest, workers):
    seen, executor = [], pool.ThreadPoolExecutor
    monkeypatch.setattr(pool, "ThreadPoolExecutor", lambda count: seen.append(count) or executor(count))
    limit_threads(limit)
    list(map_cases(lambda case: None, cases_named(2), largest))
    assert seen == [workers]


# ---- the cache waits for the disk once


def test_a_case_counts_only_when_its_arrays_are_on_the_disk(dataset, tmp_path, monkeypatch):
    order = []
    durable, write_json = cache.make_durable, cache.write_json
    monkeypatch.setattr(cache, "make_durable", lambda paths: order.append(len(paths := list(paths))) or durable(paths))
    monkeypatch.setattr(cache, "write_json", lambda path, *a, **k: order.append(path.name) or write_json(path, *a, **k))
    build_cache(dataset, make_plan(dataset, Job()), tmp_path / "cache")
    assert order == [8, "0.json", "1.json", "2.json", "3.json"]  # 3 arrays of a labelled case, 1 of an unlabelled one
    order.clear()
    monkeypatch.setattr(cache, "TOGETHER_SECONDS", -1)
    build_cache(dataset, make_plan(dataset, Job()), tmp_path / "other")
    assert order == [3, "0.json", 3, "1.json", 1, "2.json", 1, "3.json", 0]
