import json
import os

import numpy as np
import pytest
import torch
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.errors import InputError
from metassl.files import read_json, write_json
from metassl.inference.model import load_model, save_model
from metassl.job import Job
from metassl.networks.instance_norm import move_to_device
from metassl.ssl.methods import METHODS, build_method
from monai.bundle import ConfigParser


@pytest.fixture
def saved(tmp_path, tiny_plan):
    """A Mean Teacher's model folder, and the method in it."""
    return save(tmp_path / "model", tiny_plan)


def save(folder, plan, method_name="mean-teacher", seed=0):
    torch.manual_seed(seed)
    job = Job(method=method_name, iterations=7)
    method = build_method(job.method, plan.network)
    classes = (SegmentClass("Vorhof", 3, (1, 2, 3), "heart~atrium"), SegmentClass("two", 9, (4, 5, 6)))
    dataset = Dataset("heart", ("MR",), classes, (Case("a", ("a.nrrd",)),))
    thresholds = torch.tensor([0.9, 0.8, 0.7])
    facts = {"iterations": 7}
    save_model(folder, method, plan=plan, job=job, dataset=dataset, thresholds=thresholds, provenance=facts)
    return folder, move_to_device(method, torch.device("cpu")).eval()


@pytest.mark.parametrize("name", list(METHODS))
def test_a_loaded_model_predicts_like_the_saved_one(name, tmp_path, tiny_plan):
    folder, method = save(tmp_path / "model", tiny_plan, name)
    model = load_model(folder)
    images = torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        for mine, theirs in zip(model.method.predict(images), method.predict(images)):
            assert torch.equal(mine, theirs)
    assert not model.method.training
    assert model.thresholds.tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert [(c.name, c.value, c.terminology) for c in model.classes] == [
        ("Vorhof", 3, "heart~atrium"),
        ("two", 9, None),
    ]
    assert (model.name, model.channels, model.plan, type(model.method)) == ("heart", ("MR",), tiny_plan, METHODS[name])
    assert model.metadata["metassl"]["provenance"] == {"iterations": 7}


def test_a_run_folder_stands_for_its_model(saved):
    assert load_model(saved[0].parent).name == "heart"


def test_monai_reads_the_bundle(saved):
    folder, method = saved
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    parser.read_meta(str(folder / "configs" / "metadata.json"))
    for key in ("version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version", "task"):
        assert key in parser["_meta_"], key
    form = parser["_meta_"]["network_data_format"]
    assert form["inputs"]["image"]["num_channels"] == 1
    assert form["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "Vorhof", "2": "two"}
    network = parser.get_parsed_content("network_def")
    weights = torch.load(folder / "models" / "model.pt", weights_only=True)
    prefix = "network."
    network.load_state_dict({k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)})
    images = torch.randn(1, 1, 12, 8, 8)
    inferer = parser.get_parsed_content("inferer")
    with torch.no_grad():
        assert inferer(images, network.eval()).shape == (1, 3, 12, 8, 8)
        assert torch.equal(network(images[:, :, :8]), method.network(images[:, :, :8]))


class Payload:
    """Pickles as a call of os.mkdir."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickled_payload_is_not_run(saved, tmp_path):
    folder, _ = saved
    torch.save({"weights": Payload(tmp_path / "hacked")}, folder / "models" / "model.pt")
    with pytest.raises(InputError, match="something other than weights") as caught:
        load_model(folder)
    assert "nothing in it was run" in caught.value.hint
    assert not (tmp_path / "hacked").exists()
    function, arguments = Payload(tmp_path / "hacked").__reduce__()
    function(*arguments)
    assert (tmp_path / "hacked").exists()  # what an unsafe load would have done


def change_metadata(folder, **changes):
    file = folder / "configs" / "metadata.json"
    content = read_json(file)
    content["metassl"] = {**content["metassl"], **changes}
    write_json(file, content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "models" / "model.pt").unlink(), "not a model folder: models/model.pt is missing"),
        (lambda f: (f / "configs" / "metadata.json").unlink(), "not a model folder: configs/metadata.json"),
        (lambda f: (f / "models" / "model.pt").write_bytes(b"PK\x03\x04 cut"), "model.pt is damaged"),
        (lambda f: (f / "configs" / "metadata.json").write_text("{}"), "describes no MetaSSL model"),
        (lambda f: change_metadata(f, version=99), "version 1 to 2 .found 99"),
        (lambda f: change_metadata(f, thresholds=[0.9]), "contradicts itself"),
        (lambda f: change_metadata(f, classes=[{"name": "a"}]), "damaged"),
        (lambda f: change_metadata(f, plan={}), "not a MetaSSL plan"),
        (lambda f: torch.save({"a": torch.zeros(1)}, f / "models" / "model.pt"), "does not fit"),
        (lambda f: torch.save([1, 2], f / "models" / "model.pt"), "does not fit"),
    ],
)
def test_damaged_models_say_what_is_wrong(saved, damage, message):
    folder, _ = saved
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("finished", [0, 1, 2])
def test_killed_while_saving_leaves_a_model(tmp_path, tiny_plan, monkeypatch, finished):
    folder, old = save(tmp_path / "model", tiny_plan)
    replace, left = os.replace, iter(range(finished))

    def dies(source, target):
        if next(left, None) is None:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        save(folder, tiny_plan, seed=1)
    monkeypatch.undo()
    loaded = load_model(folder).method.state_dict()
    unchanged = all(torch.equal(value, loaded[name]) for name, value in old.state_dict().items())
    assert unchanged == (finished == 0)  # the weights are the first file


def test_metadata_is_plain_json_without_paths(saved):
    text = (saved[0] / "configs" / "metadata.json").read_text(encoding="utf-8")
    assert str(saved[0]) not in text
    assert json.loads(text)["metassl"]["settings"]["iterations"] == 7


def test_weights_are_tensors_only(saved):
    weights = torch.load(saved[0] / "models" / "model.pt", weights_only=True)
    assert all(isinstance(v, torch.Tensor) for v in weights.values())
    assert any(k.startswith("teacher.") for k in weights) and np.isfinite(sum(v.sum().item() for v in weights.values()))
