"""``metassl rank``: the unlabelled cases of a data set in the order in which to annotate them."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..data.dataset import Case, Dataset
from ..errors import InputError
from ..files import replacing, write_json
from ..inference.model import Model
from .agreement import agreement_of
from .cases import UNWATCHED, Watch, predict_cases, read_cases, require_known
from .likeness import cheap_features, distances_between, order_by_chance


def rank_cases(dataset: Dataset, model: Model | None = None, watch: Watch = UNWATCHED) -> dict[str, Any]:
    """The unlabelled cases of a data set, the one to annotate next first. The same input gives the same order.

    The order is by chance, near-duplicates last: no choice by agreement, novelty or likeness taught more than chance
    did, see docs/benchmarks.md.

    Args:
        dataset: its labelled cases count as annotated.
        model: says how far its predictions agree on every case; the order does not depend on it.
        watch: follows.

    Returns:
        - "model": name of the data set that it was trained on, or None.
        - "cases": in order, each with "rank" (from 1), "case" (id) and "like" (id of a near-duplicate that is annotated
          or comes before, or None); with a model also "agreement", see ``agreement_of``.
        - "failed": ids of cases that cannot be read.

    Raises:
        InputError: no case is unlabelled, or the model does not fit.
        Stopped, OutOfMemoryError: as they say.
    """
    unlabelled, labelled = dataset.with_role("unlabelled"), dataset.with_role("labelled")
    if not unlabelled:
        raise InputError("There is no unlabelled case to rank.", "Set the role of some cases to unlabelled.")
    if model is not None:
        require_known(model, dataset)
    failed: list[str] = []
    ids, features, facts, annotated = [], [], [], 0
    for case, images, fact in _looked_at(labelled, unlabelled, model, watch, failed):
        ids.append(case.id)
        features.append(cheap_features(images))
        facts.append(fact)
        annotated += case.role == "labelled"
    order = order_by_chance(ids, distances_between(features), annotated) if features else []
    cases = [
        {"rank": rank, "case": ids[n], "like": None if twin is None else ids[twin], **facts[n]}
        for rank, (n, twin) in enumerate(order, 1)
    ]
    return {"model": model and model.name, "cases": cases, "failed": failed}


def _looked_at(
    labelled: tuple[Case, ...], unlabelled: tuple[Case, ...], model: Model | None, watch: Watch, failed: list[str]
) -> Iterator[tuple[Case, list[sitk.Image], dict[str, Any]]]:
    """Case, channels and what a model says of it, of the readable cases; the labelled ones first, each read once."""
    for _, case, images in read_cases((*labelled, *unlabelled) if model is None else labelled, watch, failed):
        yield case, images, {}
    if model is not None:
        for case, images, prediction in predict_cases(model, unlabelled, watch, failed):
            yield case, images, {"agreement": agreement_of(model, prediction)}


def write_ranking(ranking: dict[str, Any], path: Path | str) -> None:
    """Write what ``rank_cases`` returns as JSON, or its cases as CSV, a row each, by the ending of the path.

    Raises:
        InputError: another ending.
        DiskError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return write_json(path, ranking)
    require_ending(path)
    rows = [{name: value for name, value in case.items() if name != "agreement"} for case in ranking["cases"]]
    for row, case in zip(rows, ranking["cases"]):
        if "agreement" in case:
            row["agreement"] = case["agreement"]["mean"]
            row |= {f"agreement {name}": value for name, value in case["agreement"]["classes"].items()}
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["rank", "case", "like"])
        writer.writeheader()
        writer.writerows(rows)


def ranking_table(ranking: dict[str, Any]) -> str:
    """The order as text, a line per case."""
    cases = ranking["cases"]
    width = max([len(case["case"]) for case in cases] + [4])
    judged = any("agreement" in case for case in cases)
    lines = [f"{'rank':>4}  {'case':<{width}}{'      agreement' if judged else ''}  near-duplicate of"]
    for case in cases:
        line = f"{case['rank']:>4}  {case['case']:<{width}}"
        if judged:
            mean = case["agreement"]["mean"]
            line += f"  {'nothing found' if mean is None else f'{mean:13.3f}'}"
        lines.append(f"{line}  {case['like'] or ''}".rstrip())
    return "\n".join(lines)


def require_ending(path: Path) -> None:
    """Raise InputError when a ranking cannot be written to a file of this name."""
    if path.suffix.lower() not in (".json", ".csv"):
        raise InputError(f"{path} is neither a .json nor a .csv file.", "Choose one of these endings for --out.")
