"""Bad input by name: what becomes of each.

What is not here stands beside what it is about: dynamic PET, SPECT labelled PT (test_series),
duplicate UIDs (test_planes_of_series), PET without weight (test_pet), path-like UIDs
(test_headers), sizes and bombs (test_reading), damaged streams (test_decoding).
"""

import re
import time
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from node.dicom import results, source
from node.dicom.headers import identify
from node.dicom.reasons import unusable
from node.dicom.series import choose
from node.dicom.volumes import load
from node.errors import UnusableStudy
from tests.fuzz.readers import EQUIPMENT, WHEN
from tests.fuzz.seeds import part10
from tests.node.dicom.minimal import ct_plane, pet_plane, save, series

NO_CONTOURS = {"contour_names": (), "contour_codes": ()}
CPU_S = 60
"""What choosing among ten thousand instances may take; it is a tenth of that."""

# Every Specific Character Set of PS3.3 C.12.1.1.2 that a name can have, a name in it and its bytes.
NAMES = {
    "": ("Mueller^A", b"Mueller^A"),
    "ISO_IR 6": ("Mueller^A", b"Mueller^A"),
    "ISO_IR 100": ("Müller^Ä", "Müller^Ä".encode("latin-1")),
    "ISO_IR 101": ("Łącki^Ź", "Łącki^Ź".encode("iso8859-2")),
    "ISO_IR 109": ("Ħaż^A", "Ħaż^A".encode("iso8859-3")),
    "ISO_IR 110": ("Ķēniņš^A", "Ķēniņš^A".encode("iso8859-4")),
    "ISO_IR 144": ("Жильцов^Ж", "Жильцов^Ж".encode("iso8859-5")),
    "ISO_IR 127": ("قباني^لنزار", "قباني^لنزار".encode("iso8859-6")),
    "ISO_IR 126": ("Ωψδφ^Δ", "Ωψδφ^Δ".encode("iso8859-7")),
    "ISO_IR 138": ("שרון^דבורה", "שרון^דבורה".encode("iso8859-8")),
    "ISO_IR 148": ("Çavuşoğlu^A", "Çavuşoğlu^A".encode("iso8859-9")),
    "ISO_IR 203": ("Œuvré^A", "Œuvré^A".encode("iso8859-15")),
    "ISO_IR 166": ("นามสกุล^A", "นามสกุล^A".encode("tis-620")),
    "ISO_IR 13": ("ﾔﾏﾀﾞ^ﾀﾛｳ", "ﾔﾏﾀﾞ^ﾀﾛｳ".encode("shift_jis")),
    "ISO_IR 192": ("Wang^XiaoDong=王^小东", "Wang^XiaoDong=王^小东".encode()),
    "GB18030": ("Wang^XiaoDong=王^小东", "Wang^XiaoDong=王^小东".encode("gb18030")),
    "GBK": ("Wang^XiaoDong=王^小东", "Wang^XiaoDong=王^小东".encode("gbk")),
    "\\ISO 2022 IR 87": (
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    ),
    "ISO 2022 IR 13\\ISO 2022 IR 87": (
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
        "ﾔﾏﾀﾞ^ﾀﾛｳ".encode("shift_jis") + b"=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
    ),
    "\\ISO 2022 IR 149": (
        "Hong^Gildong=洪^吉洞",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
    ),
    "\\ISO 2022 IR 58": ("Zhang^X=张^小东", b"Zhang^X=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"),
    "\\ISO 2022 IR 203": ("Œuvré^A", b"\x1b-b" + "Œuvré^A".encode("iso8859-15")),
    "ISO 2022 IR 6\\ISO 2022 IR 100": ("Müller^A", b"\x1b-AM\xfcller^A"),
}


def refused(tmp_path, ds):
    """The report on the refusal of a study of one plane, read back."""
    (report,) = results.refused(
        save(tmp_path, [ds]),
        (unusable("PET_MISSING").reason,),
        equipment=EQUIPMENT,
        key="k",
        when=WHEN,
    )
    return dcmread(BytesIO(report.part10))


@pytest.fixture(autouse=True)
def _files_as_devices_write_them():
    """What pydicom says of the bytes that a test writes is not about the node."""
    with source.tolerant():
        yield


def raw(ds, tag, vr, value):
    """Put bytes into a data set as they would lie in a file, whatever they are."""
    ds[tag] = RawDataElement(
        Tag(tag), vr, len(value), value, 0, is_implicit_VR=False, is_little_endian=True
    )


@pytest.mark.parametrize("character_set", NAMES)
def test_a_name_in_any_character_set_comes_out_in_unicode(tmp_path, character_set):
    name, written = NAMES[character_set]
    ds = pet_plane()
    raw(ds, 0x00080005, "CS", character_set.encode())
    raw(ds, 0x00100010, "PN", written)

    report = refused(tmp_path, ds)

    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert str(report.PatientName).rstrip("=") == name


@pytest.mark.parametrize("stated", ["ISO_IR 999", "utf-8", "ISO 2022 IR 149", "\\\\", "GB18030"])
def test_bytes_that_are_not_of_the_stated_character_set_still_give_a_report(tmp_path, stated):
    ds = pet_plane()
    raw(ds, 0x00080005, "CS", stated.encode())
    raw(ds, 0x00100010, "PN", b"\xff\xfe\x81\x1b$)C^\x80")

    assert refused(tmp_path, ds).StudyInstanceUID == ds.StudyInstanceUID


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "../../etc/passwd", "'; DROP TABLE jobs;--", "%s%n{0}$(id)"],
)
def test_markup_and_paths_in_names_are_only_names(tmp_path, name):
    ds = pet_plane()
    ds.PatientName, ds.PatientID, ds.StudyDescription = name, name, name

    report = refused(tmp_path, ds)

    assert (str(report.PatientName), report.PatientID, report.StudyDescription) == (name,) * 3
    assert [path.name for path in tmp_path.rglob("*")] == [f"{ds.SOPInstanceUID}.dcm"]


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("DS", b"\xff\xff"),
        ("IS", b"1.5\\x"),
        ("US", b"\x01\x02\x03"),
        ("AT", b"\x01"),
        ("SQ", b"\xfe\xff\x00\xe0\xff\xff\xff\x7f"),
        ("PN", b"\x1b$B\xff"),
        ("UN", b"\xff" * 9),
    ],
)
def test_private_elements_that_raise_are_never_read(tmp_path, vr, value):
    pets, cts = series(pet_plane, "1.2.3.2"), series(ct_plane, "1.2.3.3")
    for ds in (*pets, *cts):
        raw(ds, 0x00090010, "LO", b"MAKER ")
        raw(ds, 0x00091001, vr, value + b"\0" * (len(value) % 2))
        raw(ds, 0x70531001, vr, value + b"\0" * (len(value) % 2))
    paths = save(tmp_path, [*pets, *cts])

    assert identify(paths[0].read_bytes()).modality == "PT"
    assert load(choose(paths), **NO_CONTOURS).pet.grid.shape == (5, 8, 8)


@pytest.mark.parametrize("keep", [None, 0, 2, 126])
def test_pixels_that_are_missing_or_cut_off_are_refused(tmp_path, keep):
    cts = series(ct_plane, "1.2.3.3")
    if keep is None:
        del cts[2].PixelData
    else:
        cts[2].PixelData = cts[2].PixelData[:keep]
        cts[2]["PixelData"].VR = "OW"
    paths = save(tmp_path, [*series(pet_plane, "1.2.3.2"), *cts])

    with pytest.raises(UnusableStudy, match="PIXELS_BAD"):
        load(choose(paths), **NO_CONTOURS)


def thousands(folder, make, uid, count, step):
    """So many planes of one series, each a patch of the same bytes: writing them takes seconds."""
    ds = make(0, uid)
    ds.SOPInstanceUID, ds.ImagePositionPatient = f"{uid}.10000", [-14, -14, 77777.5]
    content = part10(ds)
    assert content.count(b"77777.5") == 1
    paths = []
    for index in range(count):
        path = folder / f"{uid}.{index}.dcm"
        place = f"{1000 + index * step:7.2f}".encode()
        named = content.replace(f"{uid}.10000".encode(), f"{uid}.{10000 + index}".encode())
        path.write_bytes(named.replace(b"77777.5", place))
        paths.append(path)
    return paths


@pytest.mark.slow
def test_a_study_of_ten_thousand_instances_is_chosen_from_in_bounded_time(tmp_path):
    paths = thousands(tmp_path, pet_plane, "1.2.3.2", 5000, 0.5)
    paths += thousands(tmp_path, ct_plane, "1.2.3.3", 5000, 0.5)
    begun = time.process_time()

    choice = choose(paths)

    assert (len(choice.pet.planes), len(choice.ct.planes)) == (5000, 5000)
    assert time.process_time() - begun < CPU_S


@pytest.mark.slow
def test_two_thousand_series_of_one_plane_are_refused_in_bounded_time(tmp_path):
    content = part10(pet_plane(0, "1.2.3.20000"))
    paths = []
    for index in range(2000):
        path = tmp_path / f"{index}.dcm"
        path.write_bytes(re.sub(rb"1\.2\.3\.20000", f"1.2.3.{20000 + index}".encode(), content))
        paths.append(path)
    begun = time.process_time()

    with pytest.raises(UnusableStudy, match="SLICES_TOO_FEW"):
        choose(paths)

    assert time.process_time() - begun < CPU_S
