"""``metassl report``: all of a run in one HTML file, for a person to read, keep and pass on."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from ..data.dataset import ROLES, Dataset
from ..data.images import image_like
from ..errors import InputError
from ..events import duration, read_events
from ..files import write_text
from ..inference.model import Model, load_model
from ..inference.volume import VolumePrediction
from ..job import Job
from ..regions import REGIONS
from .agreement import agreement_of
from .audit import NOTE, Audit, audit_cases
from .cases import UNWATCHED, Watch, class_indices
from .charts import line_chart
from .document import details, document, figure, paragraph, picture, swatches, table
from .learning_curve import learning_curve
from .pictures import case_picture
from .places import Place, places_of_prediction

MOST_CASES = 20
"""Hold-out and labelled cases that are segmented for the report, hold-out cases first."""
MOST_PICTURES = 3
MOST_PLACES = 5
DOUBT = (235, 0, 120)


def write_report(
    run: Path | str, out: Path | str, device: torch.device | str = "cpu", watch: Watch = UNWATCHED
) -> dict[str, Any] | None:
    """Write the report of a run: data, settings, curves, hold-out cases, pictures of the worst, places, doubts.

    Args:
        run: run folder with a model.
        out: the HTML file.
        device: where to segment the cases.
        watch: follows.

    Returns:
        What ``learning_curve`` says of the run.

    Raises:
        InputError: not a run folder, or it has no model yet.
        Stopped, OutOfMemoryError, DiskError: as they say.
    """
    run = Path(run)
    if not (run / "job.json").exists():
        raise InputError(f"{run} holds no training run (no job.json).", "Give the run folder, not the model folder.")
    job, dataset = Job.load(run / "job.json"), Dataset.load(run / "dataset.json")
    model = load_model(run, device)
    events: dict[str, list[dict]] = {"metrics": [], "hold-out": [], "annotations": []}
    for event in read_events(run / "events.jsonl"):
        if event["event"] in events:
            events[event["event"]].append(event)
    cases = (*dataset.with_role("hold-out"), *dataset.with_role("labelled"))
    rows, shown = _judged(model, dataset, cases[:MOST_CASES], watch)
    left = f" The other {len(cases) - MOST_CASES} cases were left out." if len(cases) > MOST_CASES else ""
    curve = learning_curve(run)
    sections = [
        ("Data", _data(dataset)),
        ("Training", _training(model, job)),
        ("Curves", _curves(events)),
        ("Is it worth annotating more?", _learning_curve(curve)),
        ("Cases", _cases(rows, left)),
        ("Worst cases", "".join(shown)),
        ("Annotations to look at", _doubts(rows, events["annotations"])),
        ("All settings", _settings(job)),
    ]
    write_text(out, document(f"MetaSSL: {dataset.name}", sections))
    return curve


Row = tuple[Audit, dict[str, Any]]


def _judged(model: Model, dataset: Dataset, cases: tuple, watch: Watch) -> tuple[list[Row], list[str]]:
    """Audit and agreement of every case, and pictures of those with the lowest Dice."""
    rows: list[Row] = []
    worst: list[tuple[float, str, str]] = []
    hold_out = any(case.role == "hold-out" for case in cases)
    for audit, image, prediction in audit_cases(model, dataset, cases, watch, []):
        rows.append((audit, agreement_of(model, prediction)))
        if hold_out and audit.role != "hold-out":
            continue
        if len(worst) < MOST_PICTURES or audit.mean_dice < worst[-1][0]:
            html = _case(model, dataset, audit, image, prediction)
            worst = sorted([*worst, (audit.mean_dice, audit.case, html)])[:MOST_PICTURES]
    return rows, [html for _, _, html in worst]


def _data(dataset: Dataset) -> str:
    roles = [(role, len(dataset.with_role(role))) for role in ROLES]
    facts = paragraph(f"Channels: {', '.join(dataset.channels)}")
    return facts + table(("role", "cases"), roles) + swatches((c.name, c.colour) for c in dataset.classes)


def _training(model: Model, job: Job) -> str:
    provenance = model.metadata["metassl"].get("provenance") or {}
    plan = model.plan
    facts = [
        ("method", f"{job.method}, {'its own' if job.loss == 'own' else 'MetaSSL'} loss"),
        ("steps", provenance.get("iterations")),
        ("time", duration(provenance["training_seconds"]) if "training_seconds" in provenance else None),
        ("network", f"{plan.network.size}, filters {'-'.join(map(str, plan.network.filters))}"),
        ("patch", f"{' x '.join(f'{n}' for n in plan.patch[::-1])} voxels"),
        ("spacing", f"{' x '.join(f'{n:.3g}' for n in plan.spacing[::-1])} mm"),
    ]
    if parent := provenance.get("parent"):
        facts.append(("started from", f"{parent.get('name')}, {parent.get('path')}"))
    return table(("", ""), [(name, "–" if value is None else str(value)) for name, value in facts])


def _curves(events: dict[str, list[dict]]) -> str:
    metrics, hold_out = events["metrics"], events["hold-out"]
    losses = {name: None for e in metrics for name in e.get("loss", {})}
    loss = {n: [(e["iteration"], e["loss"][n]) for e in metrics if n in e["loss"]] for n in losses}
    dice = {n: [(e["iteration"], e["dice"][n]) for e in hold_out] for n in (hold_out[-1]["dice"] if hold_out else ())}
    seen = [e for e in metrics if "shares" in e]
    shares = {
        r.code: [(e["iteration"], e["shares"]["unlabelled"][r.code]) for e in seen]
        for r in REGIONS
        if all(r.code in e["shares"].get("unlabelled", {}) for e in seen)
    }
    colours = [f"rgb{r.colour}" for r in REGIONS if r.code in shares]  # as in the pictures below
    charts = (
        figure("Loss", line_chart(loss, "step")),
        figure("Dice of the hold-out cases", line_chart(dice, "step", (0, 1))),
        figure("Regions of the unlabelled crops", line_chart(shares, "step", (0, 1), colours)),
    )
    return f'<div class="row">{"".join(charts)}</div>' if any(charts) else ""


def _learning_curve(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    points = found["points"]
    line = {"mean Dice of the hold-out cases": [(p["labelled"], p["mean_dice"]) for p in points]}
    note = (
        "Complete trainings beside this one with the same classes, method and hold-out cases "
        f"({len(found['hold_out'])}). A longer training is better too: compare those that took about as long."
    )
    header = ("training", "labelled cases", "mean Dice", "gain per label", "time")
    rows = [(p["run"], p["labelled"], p["mean_dice"], p["gain_per_label"], duration(p["seconds"])) for p in points]
    return line_chart(line, "labelled cases") + table(header, rows) + paragraph(note, "note")


def _cases(rows: list[Row], left: str) -> str:
    if not rows:
        return paragraph("No case has an annotation to compare with.")
    header = ("case", "role", *(f"Dice {name}" for name in rows[0][0].dice), "mean Dice", "agreement")
    found = [
        (a.case, a.role, *a.dice.values(), a.mean_dice, agreement["mean"])
        for a, agreement in sorted(rows, key=lambda row: (row[0].role, row[0].mean_dice))
    ]
    text = "The model learnt from the labelled cases: only hold-out cases say how good it is."
    text += (
        " Agreement is the Dice between the two predictions: the lower, the sooner look; it is no estimate of the Dice."
    )
    return paragraph(text + left, "note") + table(header, found)


def _case(model: Model, dataset: Dataset, audit: Audit, image: sitk.Image, prediction: VolumePrediction) -> str:
    """Picture and places of one case; the slices go through its first place."""
    places = places_of_prediction(prediction, model.classes)
    labels = {k: c.colour for k, c in enumerate(dataset.classes, 1)}
    predicted = image_like(class_indices(prediction.labelmap, model, dataset), image)
    regions = {r.value: r.colour for r in REGIONS[1:]}
    layers = [
        (predicted, labels),
        (audit.doubted, {c.value: DOUBT for c in dataset.classes}),
        (prediction.regions, regions),
    ]
    upright = sitk.DICOMOrient(image, "LPS")
    array = sitk.GetArrayFromImage(upright)
    png = case_picture(
        array,
        [(sitk.GetArrayFromImage(sitk.DICOMOrient(layer, "LPS")), colours) for layer, colours in layers],
        upright.GetSpacing()[::-1],
        _voxel(upright, places, predicted),
    )
    rows = "from above: what is predicted; where it contradicts the annotation for certain; regions"
    legend = swatches([*((c.name, c.colour) for c in dataset.classes), ("contradicted", DOUBT)])
    legend += swatches((r.name, r.colour) for r in REGIONS[1:])
    listed = table(
        ("place (right, anterior, superior; mm)", "between", "ml", "certainty"),
        [
            (" ".join(f"{x:.1f}" for x in p.position), " / ".join(p.classes), p.volume_ml, p.certainty)
            for p in places[:MOST_PLACES]
        ],
    )
    head = paragraph(f"{audit.case}: Dice {audit.mean_dice:.3f} ({audit.role})")
    return head + picture(png, f"{audit.case}, {rows}") + paragraph(rows, "note") + legend + listed


def _voxel(upright: sitk.Image, places: list[Place], predicted: sitk.Image) -> tuple[int, ...]:
    """(k, j, i) of the first place, else the middle of what is predicted, else of the volume."""
    if places:
        r, a, s = places[0].position
        index = upright.TransformPhysicalPointToIndex((-r, -a, s))
    else:
        inside = np.argwhere(sitk.GetArrayFromImage(sitk.DICOMOrient(predicted, "LPS")))
        index = inside.mean(0).astype(int)[::-1] if len(inside) else [n // 2 for n in upright.GetSize()]
    return tuple(int(np.clip(n, 0, size - 1)) for n, size in zip(index, upright.GetSize()))[::-1]


def _doubts(rows: list[Row], annotations: list[dict]) -> str:
    trust = {name: found["trust"] for name, found in (annotations[-1]["cases"] if annotations else {}).items()}
    found = []
    for audit, _ in sorted(rows, key=lambda row: row[0].score):
        place = audit.places[0] if audit.places else None
        where = "–" if place is None else " ".join(f"{x:.1f}" for x in place.position)
        what = "–" if place is None else f"annotated {place.classes[0]}, predicted {place.classes[1]}"
        found.append((audit.case, audit.score, trust.get(audit.case), audit.doubt_ml, where, what))
    header = ("case", "score (low: doubtful)", "trust in training", "doubt ml", "first place (RAS, mm)", "what")
    return paragraph(NOTE, "note") + table(header, found) if found else ""


def _settings(job: Job) -> str:
    return details("show", table(("setting", "value"), [(name, str(value)) for name, value in asdict(job).items()]))
