import json
import shutil

import pytest

from inference.bundle import default_path, load, save
from inference.card import Calibration
from inference.errors import BundleUnusable


@pytest.fixture
def copied(tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(default_path(), folder)
    return folder


def rewrite(folder, change):
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))


def test_the_shipped_bundle_loads_and_says_that_it_knows_phantoms_only():
    bundle = load(default_path())

    assert [task.name for task in bundle.tasks] == ["occult_n1", "occult_n2"]
    assert bundle.identity.name == "dlnms-phantom"
    assert bundle.identity.digest == bundle.digest
    assert len(bundle.digest) == len("sha256:") + 64
    assert "phantoms only" in bundle.identity.training_data
    assert "Research use only" in bundle.card.intended_use


def test_the_shipped_bundle_is_small_and_holds_no_path_of_the_machine_that_made_it():
    files = list(default_path().iterdir())

    assert sum(file.stat().st_size for file in files) < 10_000_000
    assert not any(b"site-packages" in file.read_bytes() for file in files)


def test_one_changed_byte_of_a_network_is_refused_by_name(copied):
    network = copied / "occult_n2.onnx"
    data = bytearray(network.read_bytes())
    data[len(data) // 2] ^= 1
    network.write_bytes(data)

    with pytest.raises(BundleUnusable, match=r"occult_n2\.onnx.*differs"):
        load(copied)


def test_a_missing_network_is_refused_by_name(copied):
    (copied / "occult_n1.onnx").unlink()

    with pytest.raises(BundleUnusable, match=r"occult_n1\.onnx: listed in card\.json but not"):
        load(copied)


def test_a_file_that_the_card_does_not_list_is_refused_by_name(copied):
    (copied / "weights.pkl").write_bytes(b"\x80\x04.")

    with pytest.raises(BundleUnusable, match=r"weights\.pkl: not listed"):
        load(copied)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda card: card.update(purpose="x"), "unknown key purpose"),
        (lambda card: card["tasks"][1].update(cutof=0.5), r"unknown key tasks\[1\]\.cutof"),
        (lambda card: card["tasks"][0].update(cutoff="0.3"), r"tasks\[0\]\.cutoff must be float"),
        (lambda card: card["tasks"][0].update(cutoff=1.5), "cutoff must lie between 0 and 1"),
        (lambda card: card["tasks"][0]["calibration"].update(slope=-1), "slope must be positive"),
        (lambda card: card["tasks"].clear(), "a card needs tasks"),
        (lambda card: card["files"].pop("occult_n1.onnx"), "without a digest"),
        (lambda card: card["files"].update({"../x": "sha256:0"}), "no plain file name"),
        (lambda card: card.update(schema=2), "schema must be 1"),
        (lambda card: card["inputs"]["pet"].update(sd=0), "sd must be positive"),
        (lambda card: card["inputs"]["pet"].update(clip=[20, 0]), "clip must rise"),
        (lambda card: card["inputs"]["ct"].update(fill=-2000), "fill must lie within"),
        (lambda card: card["inputs"].update(crop_side=100), "does not fit the cube"),
        (lambda card: card["inputs"].update(planes=["axial"]), "planes must be"),
        (lambda card: card["inputs"].update(spacing_mm=0), "spacing_mm must be positive"),
        (lambda card: card.pop("limits"), "missing key limits"),
    ],
)
def test_a_card_that_does_not_fit_is_refused_with_the_place(copied, change, told):
    rewrite(copied, change)

    with pytest.raises(BundleUnusable, match=told):
        load(copied)


@pytest.mark.parametrize("text", [None, "", "[]", '{"schema": NaN}'])
def test_a_card_that_is_missing_or_no_object_is_refused(copied, text):
    (copied / "card.json").unlink()
    if text is not None:
        (copied / "card.json").write_text(text)

    with pytest.raises(BundleUnusable, match=r"card\.json"):
        load(copied)


def test_the_digest_is_of_what_the_card_says_and_not_of_its_spelling(copied):
    shipped = load(default_path()).digest
    rewrite(copied, dict.copy)
    respelt = load(copied).digest
    rewrite(copied, lambda card: card["tasks"][0].update(cutoff=0.123))

    assert respelt == shipped
    assert load(copied).digest != shipped


def test_what_is_saved_is_what_loads(tmp_path):
    shipped = load(default_path())
    networks = {name: (default_path() / name).read_bytes() for name in shipped.card.files}

    again = save(tmp_path / "again", shipped.card, networks)

    assert again.card == shipped.card
    assert again.digest == shipped.digest


def test_where_clinical_n0_is_judged_the_note_says_by_what_and_by_what_not(copied):
    rewrite(copied, lambda card: card["limits"].update(node_suv_max=2.5))
    judged = load(copied).identity.calibration
    rewrite(copied, lambda card: card["limits"].pop("node_suv_max"))

    assert "judged by uptake alone" in judged
    assert "clinically N0" not in load(copied).identity.calibration


def test_the_scanners_of_a_training_set_are_read_by_make_and_model(copied):
    listed = [{"manufacturer": "SIEMENS", "model_name": "Biograph64"}, {"manufacturer": "Philips"}]
    rewrite(copied, lambda card: card["limits"].update(scanners=listed))

    first, second = load(copied).card.limits.scanners

    assert (first.manufacturer, first.model_name) == ("SIEMENS", "Biograph64")
    assert (second.manufacturer, second.model_name) == ("Philips", "")


def test_calibration_is_a_sigmoid_that_never_overflows():
    calibration = Calibration(slope=2.0, intercept=-1.0)

    assert calibration.probability(0.5) == 0.5
    assert calibration.probability(1e6) == 1.0
    assert calibration.probability(-1e6) == 0.0
