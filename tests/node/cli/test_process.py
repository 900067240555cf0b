"""``petct-node process``: a folder in, findings and objects out."""

import json

import pytest
from pydicom import dcmread
from rich.console import Console

from node.cli import main
from node.cli.process import process
from node.config import Settings, settings_from


@pytest.fixture
def console():
    return Console(quiet=True)


def _findings(folder):
    return json.loads((folder / "findings.json").read_text())


def test_one_study_writes_its_files_into_the_folder_itself(phantom_files, tmp_path, console):
    assert process(phantom_files[0].parent, tmp_path / "out", Settings(), console) == 0

    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "findings.json",
        "key-image.dcm",
        "key-image.png",
        "saliency-occult_n1.dcm",
        "saliency-occult_n2.dcm",
        "seg.dcm",
        "sr.dcm",
    ]
    document = _findings(out)
    assert document["outcome"] == "analyzed"
    assert document["study_instance_uid"] == dcmread(out / "sr.dcm").StudyInstanceUID
    assert set(document["timings_s"]) == {"read", "locate", "infer", "write", "check"}


def test_the_tumour_of_the_phantom_is_the_primary(phantom, phantom_files, tmp_path, console):
    without_maps = settings_from({"results": {"saliency_map": False}})
    process(phantom_files[0].parent, tmp_path, without_maps, console)

    assert list(tmp_path.glob("saliency-*")) == []
    lesion = _findings(tmp_path)["lesions"][0]
    apart = sum(
        (a - b) ** 2
        for a, b in zip(lesion["centroid_lps_mm"], phantom.tumour.centre_lps_mm, strict=True)
    )
    assert lesion["source"] == "pet-threshold"
    assert apart**0.5 < 10
    assert lesion["tlg_g"] == pytest.approx(lesion["suv_mean"] * lesion["mtv_ml"])


def test_the_same_folder_gives_the_same_uids_again(phantom_files, tmp_path, console):
    for name in ("a", "b"):
        process(phantom_files[0].parent, tmp_path / name, Settings(), console)

    for name in ("sr.dcm", "seg.dcm", "key-image.dcm"):
        first, second = (dcmread(tmp_path / run / name) for run in ("a", "b"))
        assert first.SOPInstanceUID == second.SOPInstanceUID
        assert first.SeriesInstanceUID == second.SeriesInstanceUID


# SUVmax_stored of REFERENCE_VALUES.json is the highest value of the whole PET; for STS_001 that is
# not in the contour: a hot organ is cut by the border of the crop.
SARCOMAS = {"STS_001": 7.910674, "STS_002": 21.675747, "STS_025": 6.375882}


@pytest.mark.parametrize("name", SARCOMAS)
def test_a_sarcoma_is_measured_in_its_contour_and_not_predicted(name, test_data, tmp_path, console):
    reference = json.loads((test_data / "REFERENCE_VALUES.json").read_text())[f"ibsi-sts {name}"]

    process(test_data / "ibsi-sts-petct-gml" / name, tmp_path, Settings(), console)

    document = _findings(tmp_path)
    assert document["pet"]["suvbw_factor"] == 1
    assert document["pet"]["shape"] == reference["shape"]
    assert document["pet"]["suv_max"] == pytest.approx(reference["SUVmax_stored"], abs=5e-5)
    (lesion,) = document["lesions"]
    assert lesion["source"] == "RTSTRUCT"
    assert lesion["suv_max"] == pytest.approx(SARCOMAS[name], abs=5e-6)
    assert document["applicable"] is False
    assert "OUTSIDE_THORAX" in {reason["code"] for reason in document["inapplicable"]}
    assert document["predictions"] == []
    assert document["risk"] is None


def test_several_studies_write_one_folder_each(test_data, tmp_path, console):
    process(test_data / "acrin-flt-breast-pt-slices", tmp_path, Settings(), console)

    folders = {path.parent.name for path in tmp_path.rglob("findings.json")}
    documents = [_findings(tmp_path / folder) for folder in folders]
    assert folders == {document["study_instance_uid"] for document in documents}
    assert len(folders) == 2
    assert {document["outcome"] for document in documents} == {"refused"}
    assert all(document["reasons"] for document in documents)


def test_a_study_without_images_is_refused_without_a_report(test_data, tmp_path, console):
    source = test_data / "highdicom-test-files" / "sr_document.dcm"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "sr.dcm").symlink_to(source.resolve())

    assert process(tmp_path / "in", tmp_path / "out", Settings(), console) == 0

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["findings.json"]
    assert _findings(tmp_path / "out")["reasons"][0]["code"] == "PET_MISSING"


def test_a_folder_without_dicom_is_an_error(tmp_path, capsys):
    (tmp_path / "readme.txt").write_text("nothing here")

    assert main(["process", str(tmp_path), "--out", str(tmp_path / "out")]) == 1

    assert "no DICOM study" in capsys.readouterr().out


def test_a_misspelt_key_stops_the_command_and_is_named_by_its_path(tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text("destinations: {pacs: {ae_title: A, host: b, port: 104, prt: 1}}\n")

    assert main(["status", "--config", str(config)]) == 2

    assert "destinations.pacs.prt: unknown key" in capsys.readouterr().err


def test_a_refusal_takes_away_what_an_earlier_run_left(phantom_files, tmp_path, console):
    out = tmp_path / "out"
    process(phantom_files[0].parent, out, Settings(), console)
    (tmp_path / "ct").mkdir()
    for file in phantom_files:
        if dcmread(file, stop_before_pixels=True).Modality == "CT":
            (tmp_path / "ct" / file.name).symlink_to(file)

    process(tmp_path / "ct", out, Settings(), console)

    assert _findings(out)["outcome"] == "refused"
    assert sorted(path.name for path in out.iterdir()) == ["findings.json", "sr.dcm"]
