"""What fewer bits cost is measured by running them, and a card gets its records from that alone."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import yaml
from onnx import numpy_helper

from inference.bundle import default_path, load
from inference.codec import encode
from inference.engine import BF16, F16, INT8
from inference.openvino_engine import precisions
from inference.precision import quantised_tensors
from training import parity, parity_command
from training.__main__ import main
from training.parity import Cases, measured


@pytest.fixture(scope="module")
def shipped():
    return load(default_path())


@pytest.fixture(scope="module")
def cases(shipped):
    """30 noisy images with labels of either class, and 10 more: what they show matters little."""
    rng = np.random.default_rng(7)
    side = shipped.card.inputs.crop_side
    planes = np.empty((40, 2, 3, side, side), np.float16)
    planes[:, 0] = rng.gamma(1.0, 3.0, planes[:, 0].shape)
    planes[:, 1] = rng.normal(-400, 300, planes[:, 1].shape)
    labels = rng.random((30, 2)) < 0.4
    return Cases(planes=planes[10:], labels=labels, calibrating=planes[:10])


@pytest.fixture(scope="module")
def found(shipped, cases):
    return measured(shipped, cases)


def test_each_engine_that_can_run_in_fewer_bits_has_a_record_for_each_task(found):
    served = [("openvino", BF16)] if BF16 in precisions() else []
    expected = [*served, ("torch", F16), ("torch", BF16), ("torch", INT8)]

    assert [(r.task, r.engine, r.precision) for r in found] == [
        (task, *one) for task in ("occult_n1", "occult_n2") for one in expected
    ]


def test_a_record_counts_its_cases_and_what_moved(found, cases):
    for record in found:
        index = ("occult_n1", "occult_n2").index(record.task)
        assert (record.cases, record.positives) == (30, cases.labels[:, index].sum())
        assert 0 < record.probability_difference_max < 0.3
        assert abs(record.auroc - record.auroc_f32) < 0.1


def test_fewer_bits_move_probabilities_more(found):
    """f16 has 11 significant bits, bf16 8, and int8 8 for the greatest number alone."""
    moved = {(r.task, r.engine, r.precision): r.probability_difference_max for r in found}

    for task in ("occult_n1", "occult_n2"):
        assert moved[task, "torch", F16] < moved[task, "torch", BF16] < moved[task, "torch", INT8]


def test_only_a_record_of_int8_holds_ranges_one_for_each_tensor_that_is_quantised(found, shipped):
    for record in found:
        network = shipped.onnx_path(shipped.card.task(record.task)).read_bytes()
        names = quantised_tensors(network) if record.precision == INT8 else ()
        assert set(record.ranges) == set(names)
        assert all(value > 0 for value in record.ranges.values())


def interchanged(network):
    model = onnx.load_from_string(network)
    for tensor in model.graph.initializer:
        if tensor.name.startswith("head.second."):
            values = numpy_helper.to_array(tensor)[::-1].copy()
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model.SerializeToString()


def test_a_network_whose_rewriting_is_wrong_gets_a_record_that_does_not_hold(
    shipped, cases, monkeypatch
):
    """As if the two logits were interchanged in f16: what was likely becomes unlikely."""
    monkeypatch.setattr(parity, "lowered", lambda network, _: interchanged(network))
    task = shipped.tasks[0]
    held = replace(cases, labels=cases.labels[:, 0])

    records = parity.records(task, shipped.onnx_path(task).read_bytes(), held, shipped.card.inputs)

    assert [r.holds for r in records if r.precision == F16] == [False]


@pytest.mark.slow
def test_the_command_writes_a_copy_whose_card_holds_the_records(
    shipped, tiny_recipe, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(parity_command, "CALIBRATING", 3)
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(encode(tiny_recipe)))
    command = ["parity", str(default_path()), "--out", str(tmp_path / "copy"), "--quiet"]
    asked = ["--recipe", str(recipe), "--cases", "24", "--processes", "1"]

    status = main([*command, *asked])

    told = capsys.readouterr().out
    copy = load(tmp_path / "copy")
    assert status == 0
    assert copy.digest in told
    assert copy.digest != shipped.digest
    assert replace(copy.card, parity=()) == replace(shipped.card, parity=())
    assert {record.cases for record in copy.card.parity} == {24}
    assert told.count("may run") == sum(record.holds for record in copy.card.parity)
    assert load(default_path()).digest == shipped.digest


def test_a_copy_is_never_written_over_another_bundle(tmp_path, capsys):
    assert main(["parity", str(default_path()), "--out", str(tmp_path), "--quiet"]) == 1
    assert "is there already" in capsys.readouterr().err
