"""Several processes train one model: real processes that talk through gloo, as under torchrun."""

import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from metassl import distributed
from metassl.cli.stopping import stop_requests
from metassl.crops.sampling import CropSampler
from metassl.data.dataset import IGNORE, Case, Dataset, SegmentClass
from metassl.errors import DiskError, InputError
from metassl.events import Reporter, read_events
from metassl.inference.model import load_model
from metassl.job import Job
from metassl.planning.plan import Plan
from metassl.ssl.dice_ce import dice_ce_loss
from metassl.ssl.heterogeneous import HeterogeneousLoss
from metassl.ssl.methods import build_method
from metassl.ssl.quadripartition import Branch
from metassl.ssl.voxels import masked_mean
from metassl.training.checkpoint import load_checkpoint
from metassl.training.run_folder import RunFolder
from metassl.training.train import train
from metassl.training.trainer import Trainer
from volumes import write

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["metassl.training.trainer"])  # the processes start with everything imported
CPU = torch.device("cpu")


def on_ranks(count, function, *arguments):
    """What function(*arguments) returns in each of some processes that work together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ProcessPoolExecutor(count, CONTEXT) as pool:
        futures = [pool.submit(as_rank, rank, count, port, function, *arguments) for rank in range(count)]
        return [future.result(120) for future in futures]


def as_rank(rank, count, port, function, *arguments):
    torch.set_num_threads(1)
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(number) for name, number in numbers.items()}, MASTER_ADDR="127.0.0.1")
    with distributed.process_group() as first:
        assert first == (rank == 0)
        return function(*arguments)


# the exchanges


def exchanges():
    mine = torch.tensor([1.0, 2.0]) * (distributed.rank() + 1)
    weight = torch.nn.Parameter(mine.clone())
    total = distributed.sum_over_ranks(weight)
    (total.square().sum()).backward()
    share = weight.grad.tolist()
    distributed.sum_gradients([weight, torch.nn.Parameter(torch.zeros(3))])
    return {
        "sum": total.tolist(),
        "share": share,
        "gradient": weight.grad.tolist(),
        "largest": distributed.largest_over_ranks(distributed.rank(), -distributed.rank()),
        "first": distributed.on_first_rank(lambda: {"rank": distributed.rank()}),
    }


def test_exchanges():
    first, second = on_ranks(2, exchanges)
    assert first["sum"] == second["sum"] == [3, 6]
    assert first["share"] == second["share"] == [6, 12]  # d(s^2) = 2 s, through one's own share only
    assert first["gradient"] == second["gradient"] == [12, 24]
    assert first["largest"] == second["largest"] == (1, 0)
    assert first["first"] == second["first"] == {"rank": 0}


def test_alone_nothing_is_exchanged():
    values = torch.ones(2, requires_grad=True)
    assert distributed.sum_over_ranks(values) is values
    assert distributed.largest_over_ranks(False, 1.5) == (False, 1.5)
    assert distributed.on_first_rank(lambda: distributed.world_size()) == 1 and distributed.is_first()
    with distributed.process_group() as first:
        assert first and distributed.world_size() == 1


def failing(where, error):
    try:
        if distributed.rank() == where:
            raise error
        distributed.on_first_rank(lambda: 1)
    except Exception as caught:
        distributed.announce_failure(caught)
        return type(caught).__name__, getattr(caught, "exit_code", None)
    return "nothing", None


@pytest.mark.parametrize(
    ("where", "error", "elsewhere"),
    [
        (0, InputError("no labels"), ("OtherRankFailed", 2)),
        (1, DiskError("disk full"), ("OtherRankFailed", 5)),
        (2, torch.OutOfMemoryError("CUDA out of memory (injected)"), ("OtherRankOutOfMemory", 3)),
    ],
)
def test_when_one_rank_fails_the_others_learn_it(where, error, elsewhere):
    results = on_ranks(3, failing, where, error)
    assert results.pop(where)[0] == type(error).__name__
    assert results == [elsewhere, elsewhere]


# losses and thresholds


def uneven_batch():
    """Logits of two predictions, labels, trust and pasted voxels of 11 labelled and 9 unlabelled crops."""
    random = torch.Generator().manual_seed(0)
    crops, size = 20, (6, 5, 4)
    logits = [3 * torch.randn(crops, 3, *size, generator=random) for _ in range(2)]
    labels = torch.randint(3, (crops, *size), generator=random)
    labels[torch.rand(labels.shape, generator=random) < 0.3] = IGNORE
    labels[1] = IGNORE  # one rank sees this crop only
    trust = torch.rand(labels.shape, generator=random)
    pasted = torch.rand(labels[11:].shape, generator=random) < 0.2
    return logits, labels, trust, pasted & (labels[11:] != IGNORE)


def two_steps(part, parts, reduction):
    """Losses, shares and thresholds, and gradients, of every parts-th crop in the second of two steps."""
    logits, labels, trust, pasted = uneven_batch()
    crops = torch.tensor([*range(11)[part::parts], *range(11, 20)[part::parts]])
    labelled = int((crops < 11).sum())
    heterogeneous = HeterogeneousLoss(3, reduction=reduction)
    for _ in range(2):
        leaves = [values[crops].requires_grad_() for values in logits]
        branches = [Branch.of(leaf) for leaf in leaves]
        terms = heterogeneous(
            [tuple(branches)], labels[crops], labelled, True, pasted[crops[labelled:] - 11], trust[crops]
        )
        supervised = dice_ce_loss(branches[0].log_probability[:labelled], labels[crops[:labelled]])
        own = masked_mean(leaves[1][labelled:].square().sum(1), labels[crops[labelled:]] != IGNORE)
        (supervised + terms.labelled + terms.unlabelled + own).backward()
    gradients = [torch.zeros_like(values).index_copy_(0, crops, leaf.grad) for values, leaf in zip(logits, leaves)]
    numbers = (supervised, terms.labelled, terms.unlabelled, own, terms.shares, heterogeneous.thresholds.tau)
    return [n.tolist() for n in numbers], torch.stack(gradients).numpy()


def both_reductions():
    return [two_steps(distributed.rank(), distributed.world_size(), n) for n in ("voxel", "region")]


def test_eight_ranks_with_uneven_shares_have_the_losses_of_one_process():
    ranks = on_ranks(8, both_reductions)
    for number, reduction in enumerate(("voxel", "region")):
        numbers, gradient = two_steps(0, 1, reduction)
        found = [results[number] for results in ranks]
        assert all(f[0] == found[0][0] for f in found)  # to the last bit
        for mine, expected in zip(found[0][0], numbers):
            np.testing.assert_allclose(mine, expected, rtol=2e-6)
        np.testing.assert_allclose(sum(f[1] for f in found), gradient, rtol=1e-4, atol=1e-8)


# crops


@pytest.mark.parametrize("cases", [1, 3, 7])
def test_the_ranks_together_draw_the_crops_of_one_with_their_joint_batch(cases, array_case):
    labelled = [array_case(f"l{n}") for n in range(cases)]
    unlabelled = [array_case(f"u{n}") for n in range(4)]
    joint = CropSampler(labelled, unlabelled, (4, 8), (8, 8, 8), seed=3)
    shares = [CropSampler(labelled, unlabelled, (1, 2), (8, 8, 8), 3, rank, 4) for rank in range(4)]
    for step in range(3):
        whole, parts = joint.crops(step), [share.crops(step) for share in shares]
        seeds = [p.seeds[0] for p in parts] + [seed for p in parts for seed in p.seeds[1:]]
        assert whole.seeds == tuple(seeds)
        assert torch.equal(whole.images[:4], torch.cat([p.images[:1] for p in parts]))


# training


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two labelled, three unlabelled and one hold-out case with a bright ball in noise."""
    folder = tmp_path_factory.mktemp("balls")
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"))
    cases = []
    for number, role in enumerate(["labelled"] * 2 + ["unlabelled"] * 3 + ["hold-out"]):
        ball = ((grid - random.uniform(6, 10, (3, 1, 1, 1))) ** 2).sum(0) < 25
        noise = random.normal(100, 20, ball.shape)
        image = write(folder / f"image{number}.nrrd", (ball * 80 + noise).astype(np.float32))
        label = write(folder / f"label{number}.nrrd", ball.astype(np.uint8))
        cases.append(Case(f"case{number}", (str(image),), None if role == "unlabelled" else str(label), role))
    Dataset("balls", ("MR",), (SegmentClass("ball", 1, (255, 0, 0)),), tuple(cases)).save(folder / "dataset.json")
    return folder / "dataset.json"


def started_run(dataset, out, **settings):
    run = RunFolder(out)
    fixed = {"patch": (16, 16, 16), "device": "cpu", "precision": "fp32", "batch_labelled": 1, "batch_unlabelled": 1}
    run.create(Job(**{**fixed, **settings}), Dataset.load(dataset))
    return run


def trained(folder, stop_after=None, stopping=0, too_large=None, lacking=1):
    """Train the run and tell what this rank has at the end.

    Args:
        stop_after, stopping: ask for a stop after so many steps, on this rank only.
        too_large, lacking: at and above so many voxels of a patch there is too little memory, on this rank only.
    """
    trainers, steps = [], []
    finish, step = Trainer.finish, Trainer.step

    def with_little_memory(trainer, crops):
        steps.append(trainer.budget.iteration)
        if too_large and np.prod(trainer.plan.patch) >= too_large and distributed.rank() == lacking:
            raise torch.OutOfMemoryError("CUDA out of memory (injected)")
        return step(trainer, crops)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "finish", lambda self, *rest: trainers.append(self) or finish(self, *rest))
        patch.setattr(Trainer, "step", with_little_memory)
        summary = train(
            RunFolder(folder), Reporter(), lambda: distributed.rank() == stopping and len(steps) == stop_after
        )
    weights = weights_of(trainers[0].method)
    tau, patch = trainers[0].objective.heterogeneous.thresholds.tau, trainers[0].plan.patch
    return {"summary": summary, "weights": weights, "tau": tau.tolist(), "patch": patch, "steps": steps}


def weights_of(method):
    return torch.cat([p.detach().flatten() for p in method.parameters()]).numpy()


@pytest.mark.parametrize(("method", "loss"), [("cps", "metassl"), ("mean-teacher", "own"), ("fixmatch", "metassl")])
def test_two_ranks_train_as_one_process_with_the_doubled_batch(method, loss, dataset, tmp_path):
    # pasted are crops of the same rank, so that without pasting only both see the same; small steps keep rounding small
    # and two crops per rank, since the network rounds a single one otherwise
    settings = {"method": method, "loss": loss, "iterations": 3, "pasting": "off", "warm_up": 0.0, "ramp": 0.0}
    settings["learning_rate"] = 1e-4
    run = started_run(dataset, tmp_path / "ranks", **settings)
    first, second = on_ranks(2, trained, run.path)
    joint = trained(started_run(dataset, tmp_path / "one", batch_labelled=2, batch_unlabelled=2, **settings).path)
    assert first["tau"] == second["tau"] and np.array_equal(first["weights"], second["weights"])
    np.testing.assert_allclose(first["tau"], joint["tau"], rtol=1e-5)
    torch.manual_seed(0)
    initial = {"weights": weights_of(build_method(method, run.plan().network))}
    # the optimiser makes steps of full length of the rounding errors of tiny gradients, so single weights say little
    difference, movement = (np.linalg.norm(joint["weights"] - other["weights"]) for other in (first, initial))
    assert difference < 5e-3 * movement


def in_one_go_and_in_two(whole, parts):
    return trained(whole), trained(parts, stop_after=2, stopping=1), trained(parts)


def test_a_resumed_run_of_two_ranks_ends_like_an_uninterrupted_one(dataset, tmp_path):
    settings = {"method": "r-drop", "iterations": 4}
    whole, parts = (started_run(dataset, tmp_path / name, **settings) for name in ("whole", "parts"))
    for uninterrupted, stopped, resumed in on_ranks(2, in_one_go_and_in_two, whole.path, parts.path):
        assert stopped["summary"]["stopped"] and stopped["summary"]["iterations"] == 2
        assert resumed["steps"] == [2, 3] and not resumed["summary"]["stopped"]
        np.testing.assert_allclose(resumed["weights"], uninterrupted["weights"], atol=1e-6)
        assert resumed["tau"] == uninterrupted["tau"]
    assert load_model(parts.model).metadata["metassl"]["provenance"]["ranks"] == 2


@pytest.mark.parametrize("lacking", [0, 1])
def test_when_one_rank_lacks_memory_all_shrink_the_patch(lacking, dataset, tmp_path):
    run = started_run(dataset, tmp_path / "run", iterations=2, patch=(24, 16, 16))
    ranks = on_ranks(2, trained, run.path, None, 0, 24 * 16 * 16, lacking)
    smaller = Plan.load(run.plan_file).patch
    assert np.prod(smaller) < 24 * 16 * 16
    assert [r["patch"] for r in ranks] == [smaller, smaller] and [r["summary"]["iterations"] for r in ranks] == [2, 2]
    assert np.array_equal(ranks[0]["weights"], ranks[1]["weights"])
    assert sum("Out of memory" in e["message"] for e in read_events(run.events_file, "warning")) == 1


def touched(folder):
    """Files in the folder that this process changes while it trains."""
    changed = []

    def watch(event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in ("os.mkdir", "os.remove", "os.rename")) and str(folder) in str(arguments[0]):
            changed.append(Path(str(arguments[0])).name)

    sys.addaudithook(watch)
    trained(folder)
    return changed


def test_only_the_first_rank_writes(dataset, tmp_path):
    run = started_run(dataset, tmp_path / "run", iterations=2)
    first, second = on_ranks(2, touched, run.path)
    assert {"events.jsonl", "log.txt", "cache"} <= set(first) and second == []


# the command


def torchrun(*arguments, **options):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "metassl"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*command, *map(str, arguments)], encoding="utf-8", env=environment, **pipes, **options)


def test_torchrun_trains_until_it_is_asked_to_stop(dataset, tmp_path):
    run = RunFolder(tmp_path / "run")
    job = ("--iterations", 100000, "--patch", 16, 16, 16, "--device", "cpu", "--batch-labelled", 1)
    process = torchrun("train", dataset, "--out", run.path, *job, "--events")
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1]["event"] == "metrics":
            break
    output, errors = process.communicate("stop\n", timeout=60)
    events += [json.loads(line) for line in output.splitlines()]
    assert process.returncode == 1 and "exitcode  : 130" in errors  # torchrun knows no other success than 0
    kinds = [e["event"] for e in events]
    assert kinds.count("start") == kinds.count("done") == 1 and kinds[-1] == "done"  # one process speaks
    assert next(e for e in events if e["event"] == "start")["ranks"] == 2
    assert events[-1]["stopped"]
    assert load_checkpoint(run.checkpoint_file, CPU)["iteration"] == events[-1]["iterations"] >= 1


def test_being_told_twice_to_end_does_not_interrupt_saving():
    with stop_requests(events=False) as should_stop:
        for _ in range(2):  # by the scheduler, and by torchrun that the scheduler told as well
            signal.raise_signal(signal.SIGTERM)
        assert should_stop()


def test_torchrun_hands_bad_input_on(dataset, tmp_path):
    Dataset.load(dataset).with_roles({f"case{n}": "ignored" for n in (2, 3, 4)}).save(tmp_path / "dataset.json")
    process = torchrun("train", tmp_path / "dataset.json", "--out", tmp_path / "run", "--device", "cpu")
    _, errors = process.communicate(timeout=60)
    assert errors.count("Error: mean-teacher needs unlabelled cases") == 1
    assert set(re.findall(r"exitcode +: (\d+)", errors)) == {"2"}
