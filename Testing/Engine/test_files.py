import json
import os

import pytest
from metassl.data.dataset import Case, Dataset, SegmentClass, unique_names
from metassl.errors import DiskError, InputError
from metassl.files import read_json, replacing, write_json
from metassl.job import Job
from metassl.planning.plan import Plan


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"n": 1})
    with pytest.raises(KeyError), replacing(file) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert read_json(file) == {"n": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_file_that_another_program_holds_for_a_moment_is_replaced(tmp_path, monkeypatch):
    replace, failures = os.replace, iter([True] * 3)

    def held(source, target):
        if next(failures, False):
            raise PermissionError(13, "The process cannot access the file because it is being used by another process")
        replace(source, target)

    write_json(tmp_path / "a.json", {"n": 1})
    monkeypatch.setattr(os, "replace", held)
    write_json(tmp_path / "a.json", {"n": 2})
    assert read_json(tmp_path / "a.json") == {"n": 2}


def test_a_file_that_stays_held_is_a_disk_error(tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr("metassl.files.time.sleep", slept.append)

    def held(source, target):
        raise PermissionError(13, "used by another process")

    write_json(tmp_path / "a.json", {"n": 1})
    monkeypatch.setattr(os, "replace", held)
    with pytest.raises(DiskError, match="used by another process"):
        write_json(tmp_path / "a.json", {"n": 2})
    assert read_json(tmp_path / "a.json") == {"n": 1}
    assert 2 < sum(slept) < 10


def test_a_full_disk_is_a_disk_error(tmp_path):
    with pytest.raises(DiskError, match="No space left") as caught, replacing(tmp_path / "b.json"):
        raise OSError(28, "No space left on device")
    assert "Free some disk space" in caught.value.hint and caught.value.exit_code == 5


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="Cannot write"):
        write_json(tmp_path / "file" / "a.json", {})


@pytest.mark.parametrize(
    ("content", "message"), [(None, "does not exist"), (b"{", "not valid JSON"), (b"\xff", "cannot be read")]
)
def test_unreadable_json(tmp_path, content, message):
    file = tmp_path / "a.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_json(file)


def dataset_of(tmp_path, **changes):
    values = {
        "name": "heart",
        "channels": ("MR",),
        "classes": (SegmentClass("atrium", 3, (1, 2, 3), "term"),),
        "cases": (
            Case("a", (str(tmp_path / "images" / "a.nrrd"),), str(tmp_path / "labels" / "a.nrrd"), "labelled"),
            Case("ü b", ("/elsewhere/b.nrrd",)),
        ),
    }
    return Dataset(**{**values, **changes})


def test_dataset_round_trip_is_relative_to_its_folder(tmp_path):
    dataset = dataset_of(tmp_path, ignore_value=9)
    dataset.save(tmp_path / "dataset.json")
    assert Dataset.load(tmp_path / "dataset.json") == dataset
    stored = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
    assert stored["cases"][0]["images"] == ["images/a.nrrd"]
    assert stored["cases"][1]["images"] == ["/elsewhere/b.nrrd"]


def test_roles(tmp_path):
    dataset = dataset_of(tmp_path).with_roles({"a": "hold-out"})
    assert [c.id for c in dataset.with_role("hold-out", "unlabelled")] == ["a", "ü b"]
    assert dataset.with_role("labelled") == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: Case("a/b", ("x",)), "cannot be a file name"),
        (lambda t: Case("..", ("x",)), "cannot be a file name"),
        (lambda t: Case("a", ("x",), None, "labelled"), "no label file"),
        (lambda t: Case("a", ("x",), None, "test"), "unknown role"),
        (lambda t: SegmentClass("a", 0, (0, 0, 0)), "1 to 255"),
        (lambda t: SegmentClass("a", 1, (0, 0, 256)), "0 to 255"),
        (lambda t: dataset_of(t, classes=()), "no class"),
        (lambda t: dataset_of(t, channels=("a", "b")), "has 1 image channel"),
        (lambda t: dataset_of(t, cases=(Case("A", ("x",)), Case("a", ("y",)))), "case id a occurs more than once"),
        (lambda t: dataset_of(t, ignore_value=3), "class value 3 occurs"),
    ],
)
def test_contradictions_are_refused(tmp_path, make, message):
    with pytest.raises(InputError, match=message):
        make(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 99"),
        ({"classes": [{"name": "a"}]}, "damaged"),
        ({"cases": [{"id": "a", "images": "x", "role": "unlabelled"}]}, "damaged"),
    ],
)
def test_damaged_dataset_files_name_the_file(tmp_path, change, message):
    file = tmp_path / "dataset.json"
    dataset_of(tmp_path).save(file)
    write_json(file, {**read_json(file), **change})
    with pytest.raises(InputError, match=message) as caught:
        Dataset.load(file)
    assert "dataset.json" in str(caught.value)


@pytest.mark.parametrize(
    ("names", "taken", "expected"),
    [
        (["a", "A", "a-2", "a"], (), ["a", "A-2", "a-2-2", "a-3"]),
        (["Summary", "b"], ("summary", "B"), ["Summary-2", "b-2"]),
        (["x:y", "x/\\y ", ". ", ""], (), ["x_y", "x_y-2", "case", "case-2"]),
        (["Fälle 1.5", "..a"], (), ["Fälle 1.5", "a"]),
        (["abcdef", "abcdeg"], (), ["abcde", "abc-2"]),
    ],
)
def test_unique_names_can_be_case_ids(names, taken, expected):
    longest = 5 if "abcdef" in names else 100
    assert unique_names(names, taken, longest) == expected
    assert all(Case(name, ("x",)) for name in expected)


def test_job_round_trip(tmp_path):
    job = Job(method="cps", iterations=5, patch=(8, 16, 8), mirror_axes=("LR",))
    job.save(tmp_path / "job.json")
    assert Job.load(tmp_path / "job.json") == job


def test_the_default_budget_is_ten_minutes():
    assert Job().minutes == 10 and Job(iterations=3).minutes is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "magic"}, "method is 'magic'; use one of cps, "),
        ({"minutes": 1, "iterations": 2}, "Give one budget|Both minutes and iterations"),
        ({"iterations": 0}, "iterations is 0; it must be at least 1"),
        ({"threshold_cap": 1.5}, "threshold_cap is 1.5; it must be 0 to 1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"patch": (8, 8, 2)}, "patch is 2; it must be at least 8"),
        ({"mirror_axes": ("XY",)}, "mirror_axes is 'XY'"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        Job(**settings)


def test_unknown_settings_are_named():
    with pytest.raises(InputError, match="unknown setting colour"):
        Job.from_dict({"version": 1, "colour": 1})


def test_plan_round_trip(tmp_path, tiny_plan):
    tiny_plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == tiny_plan


@pytest.mark.parametrize(
    ("change", "message"),
    [({"version": 3}, "version 1 or 2"), ({"patch": [1, 2]}, "damaged"), ({"intensities": []}, "do not fit")],
)
def test_damaged_plans_are_refused(tiny_plan, change, message):
    with pytest.raises(InputError, match=message):
        Plan.from_dict({**tiny_plan.to_dict(), **change})
