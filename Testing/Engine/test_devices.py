import subprocess

import numpy as np
import pytest
import torch
from metassl import devices
from metassl.devices import autocast, choose_device, choose_precision, describe_device
from metassl.errors import InputError, is_out_of_memory


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
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 800000000 bytes."), True),
        (RuntimeError("std::bad_alloc"), True),
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


def pretend(monkeypatch, problems):
    """Pretend that the machine has these GPUs: name -> what its tiny step raises, or None."""
    monkeypatch.setattr(devices, "_candidates", lambda: [torch.device(name) for name in problems])
    monkeypatch.setattr(devices, "describe_device", lambda device: f"GPU {device}")

    def step(device):
        if problems[str(device)] is not None:
            raise problems[str(device)]
        return 0.0

    monkeypatch.setattr(devices, "tiny_step", step)


def test_a_gpu_that_this_torch_cannot_use_is_passed_over_with_a_warning(monkeypatch):
    """Old NVIDIA cards whose kernels the build lacks, Apple GPUs before torch has the 3D operators."""
    old = RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore")
    pretend(monkeypatch, {"cuda:1": old, "cuda:0": None})
    said = []
    assert choose_device("auto", said.append) == torch.device("cuda:0")
    assert len(said) == 1 and "GPU cuda:1 cannot train" in said[0] and "no kernel image" in said[0]
    assert "more" not in said[0]
    pretend(monkeypatch, {"mps": NotImplementedError("The operator 'aten::grid_sampler_3d' is not implemented")})
    assert choose_device("auto", said.append) == torch.device("cpu")
    assert "grid_sampler_3d" in said[-1] and torch.__version__ in said[-1]


def test_a_gpu_without_a_number_gets_that_of_the_current_one(monkeypatch):
    """torch limits the memory of numbered GPUs only."""
    pretend(monkeypatch, {"cuda:0": None, "cuda:1": None})
    for name, value in {"is_available": True, "device_count": 2, "current_device": 1}.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    assert choose_device("cuda") == torch.device("cuda:1")


def test_a_gpu_that_was_asked_for_and_cannot_train_is_refused(monkeypatch):
    pretend(monkeypatch, {"cuda:0": RuntimeError("no kernel image is available")})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="cannot train with torch") as caught:
        choose_device("cuda:0")
    assert "cpu" in caught.value.hint


def test_the_tiny_step_has_the_operators_of_a_training():
    assert np.isfinite(devices.tiny_step(torch.device("cpu")))
    assert devices.why_unusable(torch.device("cpu")) == ""


def test_the_driver_says_which_gpu_is_free_without_touching_any(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    answer = subprocess.CompletedProcess([], 0, stdout="0, 500\n1, 9000\n2, 700\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert [d.index for d in devices._candidates()] == [1, 2, 0]

    def missing(*_, **__):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(subprocess, "run", missing)
    assert [d.index for d in devices._candidates()] == [0, 1, 2]


def test_arrays_are_uploaded_together():
    first, second = devices.upload(torch.device("cpu"), np.arange(6).reshape(2, 3), np.ones((4, 1)))
    assert first.tolist() == [[0, 1, 2], [3, 4, 5]] and second.shape == (4, 1) and second.dtype == torch.float32
    assert first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()


def test_a_model_is_computed_in_a_format_that_this_device_has():
    cpu = torch.device("cpu")
    assert devices.inference_precision(cpu, "fp32") == torch.float32
    assert devices.inference_precision(cpu, "fp16") == choose_precision(cpu) != torch.float16


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
