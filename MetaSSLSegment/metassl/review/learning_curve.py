"""Is it worth annotating more? Hold-out Dice of the trainings of one data set, against their number of labels."""

import itertools
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_json, refuse_links
from ..validation import Fields, flag, items, mapping, number, text

CONFIGS = Path("model", "configs")
MOST_RUNS = 500
"""Of a folder of runs so many are looked at."""


def learning_curve(run: Path | str) -> dict[str, Any] | None:
    """How the hold-out Dice grew with the labels, from a run and those beside it that may be compared with it.

    Those are complete runs with the same classes, method, loss and hold-out cases. Of several with as many labels the
    one that trained longest stands for them.

    Args:
        run: run folder.

    Returns:
        hold_out: its cases; points: run, labelled (cases), mean_dice, seconds, gain_per_label (mean Dice per label
        since the point before; None at the first), fewest labels first. None with fewer than two points.
    """
    run = Path(run).resolve()
    mine = _facts(run)
    if mine is None or not mine["hold_out"]:
        return None
    found: dict[int, dict[str, Any]] = {}
    for other in sorted(itertools.islice(run.parent.iterdir(), MOST_RUNS)):
        facts = None if other.is_symlink() else _facts(other)
        if facts is None or facts["kind"] != mine["kind"] or facts["hold_out"] != mine["hold_out"]:
            continue
        best = found.get(facts["labelled"])
        if best is None or facts["seconds"] > best["seconds"]:
            found[facts["labelled"]] = facts
    if len(found) < 2:
        return None
    ordered = [found[count] for count in sorted(found)]
    points = [{name: facts[name] for name in ("run", "labelled", "mean_dice", "seconds")} for facts in ordered]
    for before, point in itertools.pairwise([None, *points]):
        more = before and (point["mean_dice"] - before["mean_dice"]) / (point["labelled"] - before["labelled"])
        point["gain_per_label"] = None if more is None else round(more, 5)
    return {"hold_out": list(mine["hold_out"]), "points": points}


def _facts(run: Path) -> dict[str, Any] | None:
    """What counts of a run; None where it is not complete, or is no run that can be read."""
    file = run / CONFIGS / "metadata.json"
    if not file.exists():
        return None
    try:
        refuse_links(run / CONFIGS)
        metadata = Fields(mapping(read_json(file), str(file)).get("metassl"), f"{file} is damaged: metassl")
        provenance = Fields(metadata.take("provenance", mapping), f"{file} is damaged: provenance")
        settings = Fields(metadata.take("settings", mapping), f"{file} is damaged: settings")
        cases = Fields(provenance.take("cases", mapping), f"{file} is damaged: cases")
        if not provenance.take("complete", flag) or provenance.optional("hold_out", mapping) is None:
            return None
        classes = [Fields(c, "classes").take("name", text) for c in metadata.take("classes", items, mapping)]
        hold_out = Fields(provenance.take("hold_out", mapping), f"{file} is damaged: hold_out")
        return {
            "run": run.name,
            "kind": (classes, settings.take("method", text), settings.take("loss", text)),
            "hold_out": sorted(cases.take("hold-out", items, text)),
            "labelled": len(cases.take("labelled", items, text)),
            "mean_dice": hold_out.take("mean_dice", number, 0, 1),
            "seconds": provenance.take("training_seconds", number, 0),
        }
    except InputError:
        return None
