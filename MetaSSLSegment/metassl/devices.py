"""Which device and number format a run uses."""

import ctypes
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import SimpleITK as sitk
import torch
from torch import nn
from torch.nn import functional

from .errors import InputError


def choose_device(name: str, warn: Callable[[str], None] = lambda text: None) -> torch.device:
    """The device for a torch name, or for "auto": the first that can train, of the GPUs (that with most free memory
    first), an Apple GPU, the CPU.

    Args:
        name: "auto", "cpu", "cuda", "cuda:N" or "mps".
        warn: called with a sentence about a device that is there but cannot train.

    Raises:
        InputError: the name is unknown, this machine has no such device, or it cannot train.
    """
    if name == "auto":
        for device in _candidates():
            problem = why_unusable(device)
            if not problem:
                return device
            warn(f"{describe_device(device)} cannot train with torch {torch.__version__}: {problem}")
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"Unknown device {name!r}.", "Use auto, cpu, cuda, cuda:N or mps.") from None
    cuda = torch.cuda.is_available()
    if device.type == "cuda" and (not cuda or (device.index or 0) >= torch.cuda.device_count()):
        count = torch.cuda.device_count() if cuda else 0
        raise InputError(f"Device {name!r} is not there: torch sees {count} NVIDIA GPU(s).", "Use auto or cpu.")
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())  # torch's memory functions take no other
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("Device 'mps' is not there: torch sees no Apple GPU.", "Use auto or cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"Device {name!r} is not supported.", "Use auto, cpu, cuda, cuda:N or mps.")
    problem = why_unusable(device)
    if problem:
        raise InputError(f"Device {name!r} cannot train with torch {torch.__version__}: {problem}", "Use auto or cpu.")
    return device


def _candidates() -> list[torch.device]:
    """The devices of this machine but the CPU, best first; none of them is touched."""
    found = []
    if torch.cuda.is_available():
        free = _free_memory_of_gpus()
        numbers = sorted(range(torch.cuda.device_count()), key=lambda n: -free.get(n, 0))
        found += [torch.device("cuda", n) for n in numbers]
    if torch.backends.mps.is_available():
        found.append(torch.device("mps"))
    return found


def _free_memory_of_gpus() -> dict[int, int]:
    """GPU number -> free MiB, asked of the driver: torch would take some hundred MB of every GPU that it asks."""
    if torch.cuda.device_count() < 2 or os.environ.get("CUDA_VISIBLE_DEVICES"):
        return {}
    command = ["nvidia-smi", "--query-gpu=index,memory.free", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
        return {int(number): int(free) for number, free in (line.split(",") for line in lines)}
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}


def why_unusable(device: torch.device) -> str:
    """Why a device cannot train, in torch's words; "" when a tiny step with what a training needs succeeds there."""
    if device.type == "cpu":
        return ""
    try:
        tiny_step(device)
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ""


def tiny_step(device: torch.device) -> float:
    """Sample, convolve in 3D down and up, normalise, and go back: the kinds of operators of a training step."""
    with autocast(device, choose_precision(device)):
        x = torch.ones(1, 1, 8, 8, 8, device=device)
        grid = functional.affine_grid(torch.eye(3, 4, device=device)[None], [1, 1, 8, 8, 8], align_corners=False)
        for mode in ("bilinear", "nearest"):
            x = x + functional.grid_sample(x.float(), grid, mode=mode, align_corners=False)
        small = functional.interpolate(x, size=(4, 4, 4), mode="trilinear", align_corners=True)
        layers = nn.Conv3d(1, 4, 3), nn.InstanceNorm3d(4, affine=True), nn.LeakyReLU(), nn.ConvTranspose3d(4, 2, 2, 2)
        network = nn.Sequential(*layers).to(device)
        loss = network(small).float().log_softmax(1).mean()
    loss.backward()
    return float(loss.detach())


def limit_threads(count: int) -> None:
    """Let torch, SimpleITK and pools of cases use so many CPU threads each; 0 leaves all."""
    if count:
        torch.set_num_threads(count)
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)


def describe_device(device: torch.device) -> str:
    """One line for people: name, memory or threads."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return f"{torch.cuda.get_device_name(device)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    return "Apple GPU" if device.type == "mps" else f"CPU, {torch.get_num_threads()} threads"


def free_memory(device: torch.device) -> int | None:
    """Bytes that a training may still take on a device; None where that cannot be asked."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    try:
        if os.name == "nt":
            return _free_memory_of_windows()
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    except (OSError, ValueError, StopIteration, AttributeError):
        return None


def _free_memory_of_windows() -> int:
    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong) for name in ("total", "free", "pages", "free_pages", "virtual", "a", "b")
        ]

    status = Status(length=ctypes.sizeof(Status))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        raise OSError("GlobalMemoryStatusEx failed")
    return status.free


def leave_memory_to_others(device: torch.device) -> None:
    """Let torch raise an error where a GPU's memory ends: Windows would go on in the computer's, and crawl."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        torch.cuda.set_per_process_memory_fraction(min(0.95, free / total), device)


def choose_precision(device: torch.device, name: str = "auto") -> torch.dtype:
    """Number format inside the network: bf16 where the device computes it natively, fp16 on older GPUs, else fp32."""
    named = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    if name in named:
        return named[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    if device.type == "cpu":
        # without these instructions bf16 is emulated and slower than fp32
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", None) or getattr(
            torch.cpu, "_is_amx_tile_supported", None
        )
        return torch.bfloat16 if native and native() else torch.float32
    return torch.float32


def upload(device: torch.device, *arrays: np.ndarray) -> list[torch.Tensor]:
    """Small arrays as float32 on the device, all in one transfer that the CPU does not wait for."""
    flat = torch.from_numpy(np.concatenate([np.ravel(array) for array in arrays]).astype(np.float32))
    if device.type == "cuda":
        flat = flat.pin_memory()
    parts = flat.to(device, non_blocking=True).split([array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays)]


def inference_precision(device: torch.device, trained: str) -> torch.dtype:
    """Number format for a model whose training was given one: fp32 is kept, any other is this device's choice.

    What one device computes natively another one emulates, many times slower.
    """
    return torch.float32 if trained == "fp32" else choose_precision(device)


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager:
    """Context in which the network computes in the given format."""
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)
