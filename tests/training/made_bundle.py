"""A bundle whose networks are arithmetic: each margin is the greatest SUV that is seen, less 8."""

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from inference import bundle as bundles
from inference.card import AnswerSets, AtCutoff, Auroc, Calibration, Coverage

SIDE = 16
"""Pixels of the planes that the networks see, of 2 mm."""


def made_bundle(
    folder, *, side=SIDE, tasks=("occult_n1", "occult_n2"), files=None, to=40.0, **limits
):
    """Write it: probability 0.5 is SUV 8, strictly above that is called, above ``to`` no number."""
    shipped = bundles.load(bundles.default_path()).card
    inputs = replace(shipped.inputs, spacing_mm=2.0, cube_side=24, crop_side=SIDE)
    network = _network(inputs.pet, side, to)
    wide = replace(
        shipped.limits,
        lung_volume_min_ml=0.0,
        lesion_in_thorax=False,
        lesion_diameter_mm=(0.0, 500.0),
        cube_inside_share_withhold=0.9,
        cube_inside_share_min=0.95,
        **limits,
    )
    held = {**{f"{name}.onnx": network for name in tasks}, **(files or {})}
    card = replace(
        shipped,
        files=dict.fromkeys(held, ""),
        inputs=inputs,
        limits=wide,
        parity=(),
        training_set={"patients_training": 9.0},
        tasks=tuple(_task(name) for name in tasks),
        performance=tuple(_auroc(name) for name in tasks),
        at_cutoff=tuple(_counts(name) for name in tasks),
        coverage=tuple(_coverage(name) for name in tasks),
    )
    return bundles.save(folder, card, held)


def _task(name):
    shipped = bundles.load(bundles.default_path()).card.tasks[0]
    return replace(
        shipped,
        name=name,
        meaning=f"Meaning of {name}",
        onnx=f"{name}.onnx",
        cutoff=0.5,
        calibration=Calibration(slope=1.0, intercept=0.0),
        answers=AnswerSets(
            coverage=0.9, positive_from=0.2, negative_to=0.8, positives=20, negatives=20
        ),
        familiarity=None,
    )


def _auroc(name):
    return Auroc(task=name, model="fusion", cases=100, positives=40, auroc=0.9, low=0.8, high=1.0)


def _counts(name):
    """Sensitivity 36/40, specificity 48/60."""
    return AtCutoff(
        task=name, true_positives=36, false_negatives=4, false_positives=12, true_negatives=48
    )


def _coverage(name):
    return Coverage(task=name, of_positives=0.95, of_negatives=0.85, unsure=0.1, neither=0.0)


def _network(pet, side, to):
    """Logit 0 is 0; logit 1 is the greatest PET pixel, no longer normalised, less 8.

    Logit 0 is in fact 0 times the CT and times the root of what is left to ``to``.
    """
    numbers = {"sd": pet.sd, "shift": pet.mean - 8.0, "none": 0.0, "left": to - 8.0}
    nodes = [
        helper.make_node("ReduceMax", ["pet", "axes"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "sd"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["margin"]),
        helper.make_node("ReduceMax", ["ct", "axes"], ["dense"], keepdims=0),
        helper.make_node("Sub", ["left", "margin"], ["below"]),
        helper.make_node("Sqrt", ["below"], ["root"]),
        helper.make_node("Mul", ["dense", "root"], ["product"]),
        helper.make_node("Mul", ["product", "none"], ["nothing"]),
        helper.make_node("Unsqueeze", ["nothing", "last"], ["negative"]),
        helper.make_node("Unsqueeze", ["margin", "last"], ["positive"]),
        helper.make_node("Concat", ["negative", "positive"], ["logits"], axis=1),
    ]
    shape = ["n", 3, side, side]
    graph = helper.make_graph(
        nodes,
        "suv",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("pet", "ct")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [
            *(numpy_helper.from_array(np.float32(value), name) for name, value in numbers.items()),
            numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
            numpy_helper.from_array(np.array([1], np.int64), "last"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()
