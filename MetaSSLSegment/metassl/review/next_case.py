"""``metassl rank``: the unlabelled cases of a data set in the order in which to annotate them."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import Dataset
from ..errors import InputError
from ..files import replacing, write_json
from ..inference.model import Model
from .agreement import agreement_of
from .cases import UNWATCHED, Watch, predict_cases, read_cases, require_known
from .features import pooled_features
from .ranking import expected_gains, order_by_gain
from .typical import cheap_features, distances_between, typical_order


def rank_cases(dataset: Dataset, model: Model | None = None, watch: Watch = UNWATCHED) -> dict[str, Any]:
    """The unlabelled cases of a data set, the one to annotate next first. The same input gives the same order.

    Args:
        dataset: its labelled cases count as annotated.
        model: judges the cases; None: typical cases come first.
        watch: follows.

    Returns:
        - "by": "expected gain" with a model, else "typical"; "model": name of the data set that it was trained on.
        - "cases": in order, each with "rank" (from 1) and "case" (id); with a model also "agreement" (see
          ``agreement_of``), "gain" (what the model lacks there, 1 is usual) and "novelty" (distance to what is
          annotated by then, 0-1); without one "stands_for", the number of cases that it is the most similar
          annotated one of.
        - "failed": ids of cases that cannot be read.

    Raises:
        InputError: no case is unlabelled, or the model does not fit.
        Stopped, OutOfMemoryError: as they say.
    """
    unlabelled, labelled = dataset.with_role("unlabelled"), dataset.with_role("labelled")
    if not unlabelled:
        raise InputError("There is no unlabelled case to rank.", "Set the role of some cases to unlabelled.")
    failed: list[str] = []
    if model is None:
        found = _typical((*labelled, *unlabelled), len(labelled), watch, failed)
    else:
        require_known(model, dataset)
        found = _by_gain(model, labelled, unlabelled, watch, failed)
    cases = [{"rank": rank, **case} for rank, case in enumerate(found, 1)]
    by = "typical" if model is None else "expected gain"
    return {"by": by, "model": model and model.name, "cases": cases, "failed": failed}


def _typical(cases: tuple, annotated: int, watch: Watch, failed: list[str]) -> list[dict[str, Any]]:
    numbers, features = [], []
    for number, _, images in read_cases(cases, watch, failed):
        numbers.append(number)
        features.append(cheap_features(images))
    if not features:
        return []
    chosen = [n for n, number in enumerate(numbers) if number < annotated]
    order, stands_for = typical_order(distances_between(features), chosen)
    return [{"case": cases[numbers[n]].id, "stands_for": count} for n, count in zip(order, stands_for)]


def _by_gain(model: Model, labelled: tuple, unlabelled: tuple, watch: Watch, failed: list[str]) -> list[dict[str, Any]]:
    features = [(pooled_features(model, images),) for _, _, images in read_cases(labelled, watch, failed)]
    annotated, found = len(features), []
    for case, images, prediction in predict_cases(model, unlabelled, watch, failed):
        found.append({"case": case.id, "agreement": agreement_of(model, prediction)})
        features.append((pooled_features(model, images),))
    if not found:
        return []
    gains = expected_gains([case["agreement"]["classes"] for case in found])
    apart = distances_between(features)
    order = order_by_gain(np.concatenate([np.zeros(annotated), gains]), apart, range(annotated))
    result = []
    for n, novelty in order:
        gain = float(gains[n - annotated])
        result.append({**found[n - annotated], "gain": round(gain, 4), "novelty": round(novelty, 4)})
    return result


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
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["rank", "case"])
        writer.writeheader()
        writer.writerows(rows)


def ranking_table(ranking: dict[str, Any]) -> str:
    """The order as text, a line per case."""
    cases = ranking["cases"]
    width = max([len(case["case"]) for case in cases] + [4])
    if ranking["by"] == "typical":
        lines = [f"{'rank':>4}  {'case':<{width}}  stands for"]
        return "\n".join(lines + [f"{c['rank']:>4}  {c['case']:<{width}}  {c['stands_for']:>10}" for c in cases])
    lines = [f"{'rank':>4}  {'case':<{width}}      agreement  gain  novelty"]
    for case in cases:
        mean = case["agreement"]["mean"]
        text = "nothing found" if mean is None else f"{mean:13.3f}"
        lines.append(f"{case['rank']:>4}  {case['case']:<{width}}  {text}  {case['gain']:4.2f}  {case['novelty']:7.2f}")
    return "\n".join(lines)


def require_ending(path: Path) -> None:
    """Raise InputError when a ranking cannot be written to a file of this name."""
    if path.suffix.lower() not in (".json", ".csv"):
        raise InputError(f"{path} is neither a .json nor a .csv file.", "Choose one of these endings for --out.")
