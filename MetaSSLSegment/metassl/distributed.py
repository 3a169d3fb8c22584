"""One training run in several processes ("ranks"), as torchrun starts them; in any other run nothing here acts.

Every rank draws its share of a step's crops. The sums over voxels that make up losses and thresholds are added up over
all ranks, so that every rank has the loss of the whole batch; its backward pass gives the share of its own crops in
the gradient, and the sum of the shares is the gradient of the whole batch. The ranks thus do what one process with all
crops would do, and their weights stay equal.

Before every exchange the ranks tell each other whether they are well (``meet_ranks``). When one fails, wherever and
for whatever reason, the others do not wait for it: they fail at their next exchange too, or all shrink the patch.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .devices import choose_device
from .errors import MetaSSLError, OutOfMemoryError, is_out_of_memory
from .events import Reporter

LONGEST_WAIT = timedelta(days=1)
"""The other ranks wait while the first one preprocesses or measures hold-out cases."""

T = TypeVar("T")


class OtherRankFailed(MetaSSLError):
    """Another process of the run failed, which is told there.

    Args:
        message: what is known here.
        code: exit code of the other process.
    """

    def __init__(self, message: str, code: int):
        super().__init__(message, "Its own message says why. Continue with: metassl train --resume RUN")
        self.exit_code = code


class OtherRankOutOfMemory(OtherRankFailed, MemoryError):
    """Another process of the run has too little memory."""


class SilentReporter(Reporter):
    """The reporter of all ranks but the first, which speaks for them."""

    def keep_in(self, folder: Any) -> None:
        """Keep nothing."""

    def event(self, kind: str, **fields: Any) -> None:
        """Send nothing."""

    def info(self, text: str) -> None:
        """Say nothing."""

    def progress(self, *_: Any, **__: Any) -> None:
        """Show nothing."""


@contextmanager
def process_group() -> Iterator[bool]:
    """While this lasts, the processes that torchrun started work together; gives whether this is the first one.

    Without torchrun's environment variables the process works alone. All ranks leave together; when one leaves with an
    error, so do the others.

    Raises:
        OtherRankFailed: another rank failed.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield True
        return
    import torch._dynamo  # as optimisers do: imported later, it keeps the process group and its threads past the end

    several = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if several else "gloo", timeout=LONGEST_WAIT)
    try:
        yield is_first()
        meet_ranks()
    except Exception as error:
        announce_failure(error)
        raise
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """How many processes work on this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process among them, 0 for the first."""
    return dist.get_rank() if world_size() > 1 else 0


def is_first() -> bool:
    """Whether this process is the one that reads, reports and writes for all."""
    return rank() == 0


def meet_ranks(code: int = 0) -> None:
    """Wait until every rank is here, and learn whether all are well.

    Args:
        code: exit code of this rank's own failure; 0: none.

    Raises:
        OtherRankOutOfMemory, OtherRankFailed: this rank is well and another one is not, or is gone.
    """
    if world_size() == 1:
        return
    worst = torch.tensor(code)
    with _reaching_all():
        dist.all_reduce(worst, dist.ReduceOp.MAX)
    if code or not worst:
        return
    if worst == OutOfMemoryError.exit_code:
        raise OtherRankOutOfMemory("Another process of this training has too little memory.", int(worst))
    raise OtherRankFailed("Another process of this training failed.", int(worst))


@contextmanager
def _reaching_all() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo's and NCCL's words for a lost connection
        raise OtherRankFailed("Another process of this training ended, or cannot be reached.", 1) from error


def announce_failure(error: BaseException) -> None:
    """Tell the other ranks of a failure at their next exchange, unless it came from there."""
    if not isinstance(error, OtherRankFailed):
        with suppress(OtherRankFailed):
            meet_ranks(OutOfMemoryError.exit_code if is_out_of_memory(error) else getattr(error, "exit_code", 1))


def on_first_rank(make: Callable[..., T], *arguments: Any) -> T:
    """What ``make(*arguments)`` returns on the first rank, on all ranks."""
    if world_size() == 1:
        return make(*arguments)
    result = [make(*arguments) if is_first() else None]
    meet_ranks()
    with _reaching_all():
        dist.broadcast_object_list(result, device=torch.device("cpu"))
    return result[0]


def sum_over_ranks(values: Tensor) -> Tensor:
    """Values added up over all ranks; the gradient is that of this rank's share."""
    if world_size() == 1:
        return values
    total = values.detach().clone()
    meet_ranks()
    with _reaching_all():
        dist.all_reduce(total)
    return total + (values - values.detach()) if values.requires_grad else total


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all ranks, in place and in one exchange."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = sum_over_ranks(torch.cat([g.flatten() for g in gradients]))
    for gradient, part in zip(gradients, total.split([g.numel() for g in gradients])):
        gradient.copy_(part.view_as(gradient))


def largest_over_ranks(*values: float) -> tuple[float, ...]:
    """The largest of every value over all ranks."""
    if world_size() == 1:
        return values
    largest = torch.tensor(values, dtype=torch.float64)
    meet_ranks()
    with _reaching_all():
        dist.all_reduce(largest, dist.ReduceOp.MAX)
    return tuple(largest.tolist())


def own_device(name: str, warn: Callable[[str], None] = lambda text: None) -> torch.device:
    """The device of this rank: as named, but the GPUs of a machine are dealt out to its ranks.

    Raises:
        InputError: this machine has no such device, or fewer GPUs than ranks.
    """
    if world_size() == 1:
        return choose_device(name, warn)
    if name == "auto":
        name = on_first_rank(lambda: "cuda" if torch.cuda.is_available() else "cpu")
    device = choose_device(f"cuda:{os.environ['LOCAL_RANK']}" if name.startswith("cuda") else name, warn)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    sum_over_ranks(torch.zeros(1, device=device))  # connects the GPUs while there is memory
    return device
