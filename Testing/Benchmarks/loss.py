"""Speed and memory of the loss alone, forward and backward, against the released algorithm and the methods' own losses.

    python Testing/Benchmarks/loss.py [--repeats 9] [--threads 1] [--table docs/benchmarks.md]

Every candidate is the whole loss of one step, from the logits of 2 labelled and 2 unlabelled crops to their gradient:
cross-entropy and Dice on the labelled crops, plus what the candidate adds with weight 0.1.

- as released: the cost structure of the authors' code, written from its formulas: labelled and unlabelled crops apart,
  region masks from a softmax of their own, per-voxel thresholds in float64, one full cross-entropy per region. Its Mean
  Teacher also evaluates the direction that trains the teacher and throws the result away.
- region by region: the same without what is thrown away.
- MetaSSL: ``HeterogeneousLoss`` with the released code's options, once per memory layout of the logits (our networks
  give channels-last ones on CPUs).
- own: the method's own loss.

Seconds are medians of repeats in turns, so that other load on the machine meets all candidates. Extra memory is how
far the peak rises above what the inputs take: on a CPU the resident size of a process of its own that has run the same
loss on tiny crops before (exact to a few MiB; what the allocator keeps counts), on a GPU what torch allocated.
Agreement is the relative difference of the added loss from the released one, and of its gradient (Euclidean norm).
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable

import torch
from metassl.ssl.dice_ce import dice_ce_loss
from metassl.ssl.heterogeneous import REGION_WEIGHTS, HeterogeneousLoss
from metassl.ssl.quadripartition import Branch
from metassl.ssl.voxels import masked_mean
from report import arguments, machine, peak_resident, publish, reset_peak, synchronised
from torch import Tensor
from torch.nn import functional

MARK = "<!-- loss table -->"
SHAPES = ((4, 2, 112, 112, 80), (4, 4, 40, 56, 40))
TINY = (4, 2, 8, 8, 8)
METHODS = ("mean-teacher", "cps")
LABELLED = 2
LABELLED_WEIGHTS, UNLABELLED_WEIGHTS = REGION_WEIGHTS["released-code"]


def inputs(shape: tuple[int, ...], method: str, layout: str, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Two similar smooth predictions, as networks give them, and labels (N, k, j, i) that resemble both."""
    random = torch.Generator().manual_seed(0)

    def smooth(scale: float) -> Tensor:
        coarse = torch.randn(*shape[:2], *(max(n // 8, 2) for n in shape[2:]), generator=random)
        return scale * functional.interpolate(coarse, shape[2:], mode="trilinear")

    common = smooth(5)
    labels = (common + smooth(2)).argmax(1).to(device)
    place = torch.channels_last_3d if layout == "channels last" else torch.contiguous_format
    first, second = ((common + smooth(2)).to(device, memory_format=place) for _ in range(2))
    return first.requires_grad_(), second.requires_grad_(method == "cps"), labels


def supervised(logits: Tensor, labels: Tensor) -> Tensor:
    """0.5 (cross-entropy + Dice), class by class."""
    cross_entropy = functional.cross_entropy(logits, labels)
    probability = logits.softmax(1)
    dice = 0.0
    for k in range(logits.shape[1]):
        p, target = probability[:, k], (labels == k).float()
        common = 2 * (p * target).sum() + 1e-5
        dice = dice + 1 - common / ((p * p).sum() + (target * target).sum() + 1e-5)
    return 0.5 * (cross_entropy + dice / logits.shape[1])


def five_masks(first: Tensor, second: Tensor, thresholds: list[list[Tensor]]) -> list[list[Tensor]]:
    """UC foreground, UC background, US, DC and DS of two predictions (logits), seen from each of the two."""
    found = [logits.softmax(1).max(1) for logits in (first, second)]
    same = found[0][1] == found[1][1]
    masks = []
    for (confidence, label), tau in zip(found, thresholds):
        ones = torch.ones(confidence.shape, dtype=torch.float64, device=confidence.device)
        threshold = sum(ones * t.clamp(max=0.9) * (label == k) for k, t in enumerate(tau))
        sure, unsure = confidence > threshold, confidence <= threshold
        foreground, background = label != 0, label == 0
        agreed = [same * sure * foreground, same * sure * background, same * unsure]
        masks.append([*agreed, ~same * sure, ~same * unsure])
    return masks


def class_means(probability: Tensor) -> list[Tensor]:
    """tau after the first step: the mean of 0.9 and the mean confidence of every class."""
    confidence, label = probability.max(1)
    found = [label == k for k in range(probability.shape[1])]
    return [0.5 * 0.9 + 0.5 * (confidence * mask).sum() / (mask.sum() + 1) for mask in found]


def region_losses(logits: Tensor, target: Tensor, masks: list[Tensor], weights: tuple[float, ...]) -> Tensor:
    """Five masked means, each of a cross-entropy of its own."""
    total = 0.0
    for mask, weight in zip(masks, (weights[0], *weights)):
        per_voxel = weight * functional.cross_entropy(logits, target, reduction="none")
        total = total + (per_voxel * mask).sum() / (mask.sum() + 1)
    return total


def released(
    first: Tensor, second: Tensor, labels: Tensor, method: str, thrown_away: bool = True
) -> tuple[Tensor, ...]:
    """Supervised and added loss as the authors' code computes them."""
    soft = [logits.softmax(1) for logits in (first, second)]
    with torch.no_grad():
        taus = [[class_means(p[part]) for p in soft] for part in (slice(LABELLED), slice(LABELLED, None))]
    known, unknown = ([logits[part] for logits in (first, second)] for part in (slice(LABELLED), slice(LABELLED, None)))
    masks, pseudo_masks = five_masks(*known, taus[0]), five_masks(*unknown, taus[1])
    pseudo = [p[LABELLED:].detach().argmax(1) for p in soft]
    added = []
    for mine in range(2 if method == "cps" or thrown_away else 1):
        other = 1 - mine
        added.append(
            region_losses(known[mine], labels[:LABELLED], masks[mine], LABELLED_WEIGHTS)
            + region_losses(unknown[mine], pseudo[other], pseudo_masks[other], UNLABELLED_WEIGHTS)
        )
    if method == "cps":
        return sum(supervised(logits, labels[:LABELLED]) for logits in known) / 2, sum(added) / 2
    return supervised(known[0], labels[:LABELLED]), added[0]


def by_region(first: Tensor, second: Tensor, labels: Tensor, method: str) -> tuple[Tensor, ...]:
    """As released, without the direction that nothing uses."""
    return released(first, second, labels, method, thrown_away=False)


def ours(first: Tensor, second: Tensor, labels: Tensor, method: str) -> tuple[Tensor, ...]:
    """Supervised and added loss as in training, with the released code's options."""
    loss = HeterogeneousLoss(first.shape[1], "released-code", "region", "networks").to(first.device)
    branches = Branch.of(first), Branch.of(second)
    trained = branches if method == "cps" else branches[:1]
    losses = [dice_ce_loss(b.log_probability[:LABELLED], labels[:LABELLED]) for b in trained]
    terms = loss([branches], labels, LABELLED, method == "cps")
    return torch.stack(losses).mean(), terms.labelled + terms.unlabelled


def own(first: Tensor, second: Tensor, labels: Tensor, method: str) -> tuple[Tensor, ...]:
    """Supervised and added loss of the method without MetaSSL, as in training."""
    trained = (first, second) if method == "cps" else (first,)
    branches = [Branch.of(logits) for logits in trained]
    known = [dice_ce_loss(b.log_probability[:LABELLED], labels[:LABELLED]) for b in branches]
    p, q = (logits[LABELLED:].float() for logits in (first, second))
    if method == "cps":
        both = functional.cross_entropy(p, q.argmax(1), reduction="none")
        added = (both + functional.cross_entropy(q, p.argmax(1), reduction="none")) / 2
    else:
        added = (p.softmax(1) - q.softmax(1)).square().mean(1)
    return torch.stack(known).mean(), masked_mean(added, torch.ones_like(added, dtype=torch.bool))


FUNCTIONS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "released": released,
    "by region": by_region,
    "ours": ours,
    "own": own,
}
CANDIDATES = {
    "as released": ("released", "contiguous"),
    "region by region": ("by region", "contiguous"),
    "MetaSSL": ("ours", "contiguous"),
    "MetaSSL, channels-last logits": ("ours", "channels last"),
    "own": ("own", "contiguous"),
    "own, channels-last logits": ("own", "channels last"),
}
"""Row -> function and memory layout."""


def seconds_of(shape: tuple[int, ...], method: str, repeats: int, device: torch.device) -> dict[str, float]:
    """Row -> median seconds of forward and backward."""
    data = {layout: inputs(shape, method, layout, device) for layout in ("contiguous", "channels last")}
    times: dict[str, list[float]] = {row: [] for row in CANDIDATES}
    for _ in range(repeats + 1):
        for row, (function, layout) in CANDIDATES.items():
            begin = synchronised(device)
            run(function, data[layout], method)
            times[row].append(synchronised(device) - begin)
    return {row: statistics.median(found[1:]) for row, found in times.items()}


def run(function: str, data: tuple[Tensor, Tensor, Tensor], method: str) -> None:
    """Forward and backward, as training adds the two losses."""
    first, second, labels = data
    first.grad = second.grad = None
    known, added = FUNCTIONS[function](first, second, labels, method)
    (known + 0.1 * added).backward()


def extra_memory(row: str, shape: tuple[int, ...], method: str, device: torch.device) -> float:
    """MiB that a candidate takes beyond its inputs; on a CPU only right in a process of its own."""
    function, layout = CANDIDATES[row]
    run(function, inputs(TINY, method, layout, device), method)
    data = inputs(shape, method, layout, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(function, data, method)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    for tensor in data[: 2 if method == "cps" else 1]:
        tensor.grad = torch.ones_like(tensor)  # its pages, which are no extra, are there before
    before = reset_peak()
    run(function, data, method)
    return peak_resident() - before


def agreement(shape: tuple[int, ...], method: str, device: torch.device) -> tuple[float, float]:
    """Relative difference of MetaSSL's added loss from the released one, and of its gradient."""
    found = []
    for function in ("released", "ours"):
        first, second, labels = inputs(shape, method, "contiguous", device)
        added = FUNCTIONS[function](first, second, labels, method)[1]
        added.backward()
        found.append((added.item(), first.grad))
    (theirs, expected), (mine, gradient) = found
    return abs(mine / theirs - 1), float((gradient - expected).norm() / expected.norm())


def table(found: dict) -> str:
    """Markdown."""
    lines = [
        f"{found['machine']}, {found['threads']} thread(s), {found['device']}, medians of {found['repeats']}",
        "",
        "| logits | loss | ms | as released / this | extra MiB | extra memory against own |",
        "|---|---|---|---|---|---|",
    ]
    for case in found["cases"]:
        base, own_memory = case["seconds"]["as released"], case["MiB"]["own"]
        for row, seconds in case["seconds"].items():
            memory = case["MiB"][row]
            lines.append(
                f"| {case['shape']} {case['method']} | {row} | {1000 * seconds:.0f} | {base / seconds:.1f} "
                f"| {memory:.0f} | {memory / own_memory:.2f} |"
            )
    value, gradient = (max(case["agreement"][n] for case in found["cases"]) for n in (0, 1))
    lines += ["", f"Largest difference from the released loss: value {value:.0e}, gradient {gradient:.0e}."]
    return "\n".join(lines)


def main() -> None:
    """Measure everything, write the JSON and the table."""
    parser = arguments(__doc__, "loss", 9)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--memory-of", nargs=3, metavar=("ROW", "SHAPE", "METHOD"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    if args.memory_of:
        row, shape, method = args.memory_of
        print(extra_memory(row, tuple(map(int, shape.split("x"))), method, device))
        return
    cases = []
    for shape in SHAPES:
        for method in METHODS:
            name = "x".join(map(str, shape))
            memory = {}
            for row in CANDIDATES:
                options = ("--device", args.device, "--threads", str(args.threads), "--memory-of", row, name, method)
                command = [sys.executable, __file__, *options]
                memory[row] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            seconds = seconds_of(shape, method, args.repeats, device)
            values = agreement(shape, method, device)
            cases.append({"shape": name, "method": method, "seconds": seconds, "MiB": memory, "agreement": values})
    found = {
        "machine": machine(),
        "device": args.device,
        "threads": args.threads,
        "repeats": args.repeats,
        "cases": cases,
    }
    publish(found, table(found), args, MARK)


if __name__ == "__main__":
    main()
