"""What more labels brought, from runs that may be compared with each other."""

import json

import pytest
from metassl.review.learning_curve import learning_curve


def write_run(folder, labelled, dice, *, seconds=60.0, hold_out=("h1", "h2"), complete=True, **settings):
    """The metadata of a run with so many labelled cases."""
    found = {
        "classes": [{"name": "liver", "value": 1, "colour": [1, 1, 1]}],
        "settings": {"method": "mean-teacher", "loss": "metassl", **settings},
        "provenance": {
            "complete": complete,
            "cases": {"labelled": [f"c{n}" for n in range(labelled)], "unlabelled": [], "hold-out": list(hold_out)},
            "hold_out": {"mean_dice": dice, "dice": {"liver": dice}, "cases": len(hold_out)} if hold_out else None,
            "training_seconds": seconds,
        },
    }
    configs = folder / "model" / "configs"
    configs.mkdir(parents=True)
    (configs / "metadata.json").write_text(json.dumps({"name": "x", "metassl": found}), encoding="utf-8")
    return folder


def test_every_label_has_its_gain(tmp_path):
    write_run(tmp_path / "c", 6, 0.85)
    write_run(tmp_path / "a", 3, 0.60)
    run = write_run(tmp_path / "b", 4, 0.75, hold_out=("h2", "h1"))
    found = learning_curve(run)
    assert found["hold_out"] == ["h1", "h2"]
    assert [(p["run"], p["labelled"], p["mean_dice"]) for p in found["points"]] == [
        ("a", 3, 0.60),
        ("b", 4, 0.75),
        ("c", 6, 0.85),
    ]
    assert [p["gain_per_label"] for p in found["points"]] == [None, 0.15, 0.05]


def test_of_runs_with_as_many_labels_the_longest_training_stands(tmp_path):
    write_run(tmp_path / "short", 4, 0.5, seconds=10)
    write_run(tmp_path / "long", 4, 0.7, seconds=100)
    write_run(tmp_path / "middle", 4, 0.6, seconds=50)
    run = write_run(tmp_path / "more", 5, 0.8)
    assert [p["run"] for p in learning_curve(run)["points"]] == ["long", "more"]


@pytest.mark.parametrize(
    "other",
    [
        {"hold_out": ("h1", "h3")},
        {"hold_out": ()},
        {"complete": False},
        {"method": "supervised"},
        {"loss": "own"},
        {"labelled": 4},
        {"dice": 7},
        {"dice": float("nan")},
    ],
)
def test_runs_that_may_not_be_compared_make_no_point(tmp_path, other):
    run = write_run(tmp_path / "run", 4, 0.5)
    write_run(tmp_path / "other", **{"labelled": 5, "dice": 0.6, **other})
    assert learning_curve(run) is None


def test_what_is_no_run_or_a_link_is_passed_over(tmp_path):
    runs = tmp_path / "runs"
    run = write_run(runs / "run", 4, 0.5)
    (runs / "notes.txt").write_text("x")
    (runs / "empty").mkdir()
    broken = write_run(runs / "broken", 6, 0.9)
    (broken / "model" / "configs" / "metadata.json").write_text("{")
    elsewhere = write_run(tmp_path / "elsewhere", 5, 0.6)
    try:
        (runs / "link").symlink_to(elsewhere, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert learning_curve(run) is None
    elsewhere.rename(runs / "real")
    assert [p["run"] for p in learning_curve(run)["points"]] == ["run", "real"]
