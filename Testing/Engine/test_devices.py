import pytest
import torch
from metassl.devices import autocast, choose_device, choose_precision, describe_device, is_out_of_memory
from metassl.errors import InputError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"), True),
        (RuntimeError("ITK ERROR: Image: Failed to allocate memory for image."), True),
        (RuntimeError("Expected size 6 but got size 5"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_recognised(error, expected):
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize("name", ["toaster", "cuda:99", "meta"])
def test_devices_that_are_not_there_are_refused(name):
    with pytest.raises(InputError) as caught:
        choose_device(name)
    assert name in str(caught.value) and "auto" in caught.value.hint


def test_the_cpu_is_always_there():
    device = choose_device("cpu")
    assert device.type == "cpu" and "threads" in describe_device(device)


@pytest.mark.parametrize(("name", "kind"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)])
def test_precision_by_name(name, kind):
    assert choose_precision(torch.device("cpu"), name) == kind


def test_autocast_computes_in_the_chosen_format():
    layer = torch.nn.Linear(2, 2)
    with autocast(torch.device("cpu"), torch.bfloat16):
        assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
    with autocast(torch.device("cpu"), torch.float32):
        assert layer(torch.ones(1, 2)).dtype == torch.float32
