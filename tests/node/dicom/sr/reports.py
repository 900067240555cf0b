"""Reports that were made, and what is in them."""

import io

from pydicom import dcmread
from pydicom.sr.codedict import codes

from node.dicom import codes as ours
from node.instance import ResultKind
from tests import made_study


def report_of(made, **options):
    objects = made_study.analyzed(made, key_image=False, **options)
    one = next(one for one in objects if one.kind is ResultKind.REPORT)
    return dcmread(io.BytesIO(one.part10))


def items(item):
    """All content items below one, in order."""
    for child in item.get("ContentSequence", []):
        yield child
        yield from items(child)


def concept(item):
    name = item.ConceptNameCodeSequence[0]
    return name.CodeValue, name.CodingSchemeDesignator


def named(ds, code):
    return [item for item in items(ds) if concept(item) == (code.value, code.scheme_designator)]


def values(ds, code):
    """The values of all items of a name: text, or the code value of a code."""
    return [
        item.get("TextValue") or item.ConceptCodeSequence[0].CodeValue for item in named(ds, code)
    ]


def groups(ds):
    return named(ds, codes.DCM.MeasurementGroup)


def measured(ds):
    """The groups that hold no prediction."""
    return [group for group in groups(ds) if not named(group, ours.PREDICTED)]


def cited_image(group):
    (scoord,) = named(group, codes.DCM.ImageRegion)
    return scoord.ContentSequence[0].ReferencedSOPSequence[0]
