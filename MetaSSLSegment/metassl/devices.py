"""Which device and number format a run uses."""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from .errors import InputError


def choose_device(name: str) -> torch.device:
    """The device for "auto" (the GPU with most free memory, else an Apple GPU, else the CPU) or for a torch name.

    Raises:
        InputError: the name is unknown or this machine has no such device.
    """
    cuda = torch.cuda.is_available()
    mps = torch.backends.mps.is_available()
    if name == "auto":
        if cuda:
            free = [torch.cuda.mem_get_info(n)[0] for n in range(torch.cuda.device_count())]
            return torch.device("cuda", free.index(max(free)))
        return torch.device("mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"Unknown device {name!r}.", "Use auto, cpu, cuda, cuda:N or mps.") from None
    if device.type == "cuda" and (not cuda or (device.index or 0) >= torch.cuda.device_count()):
        count = torch.cuda.device_count() if cuda else 0
        raise InputError(f"Device {name!r} is not there: torch sees {count} NVIDIA GPU(s).", "Use auto or cpu.")
    if device.type == "mps" and not mps:
        raise InputError("Device 'mps' is not there: torch sees no Apple GPU.", "Use auto or cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"Device {name!r} is not supported.", "Use auto, cpu, cuda, cuda:N or mps.")
    return device


def describe_device(device: torch.device) -> str:
    """One line for people: name, memory or threads."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return f"{torch.cuda.get_device_name(device)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    return "Apple GPU" if device.type == "mps" else f"CPU, {torch.get_num_threads()} threads"


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the device or the machine has too little memory."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    # torch on the CPU, torch on an Apple GPU, SimpleITK
    signs = ("can't allocate memory", "out of memory", "failed to allocate memory", "bad_alloc")
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in signs)
