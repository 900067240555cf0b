"""Single faults to plant in our own reports; some are planted in the other objects, too."""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from node.dicom import codes as ours
from node.dicom.lint import Rule
from tests.validators.planting import CT, PET, Fault, adding_to

FAULTS: list[Fault] = []
fault = adding_to(FAULTS)


def items(item: Dataset) -> Iterator[Dataset]:
    """All content items below one, in order."""
    for child in item.get("ContentSequence", []):
        yield child
        yield from items(child)


def name_of(item: Dataset) -> str:
    sequence = item.get("ConceptNameCodeSequence")
    return sequence[0].CodeValue if sequence else ""


def first(ds: Dataset, code) -> Dataset:
    return next(item for item in items(ds) if name_of(item) == code.value)


def every(ds: Dataset, code) -> list[Dataset]:
    return [item for item in items(ds) if name_of(item) == code.value]


def without(ds: Dataset, code, *, all_of_them: bool = True) -> None:
    """Take the items of a name out of the tree, wherever they are."""
    for item in [ds, *items(ds)]:
        children = item.get("ContentSequence", [])
        kept = [child for child in children if name_of(child) != code.value]
        if len(kept) < len(children):
            item.ContentSequence = kept
            if not all_of_them:
                return


def evidence(ds: Dataset) -> list[Dataset]:
    return ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence


def of_class(ds: Dataset, sop_class: str) -> Dataset:
    return next(
        item
        for item in evidence(ds)
        if item.ReferencedSOPSequence[0].ReferencedSOPClassUID == sop_class
    )


# The eight that no validator saw


@fault("SR", what="A group has no Tracking Unique Identifier", rule=Rule.TRACKING)
def tracking_uid_missing(ds):
    without(ds, codes.DCM.TrackingUniqueIdentifier, all_of_them=False)


@fault("SR", what="A unit is not of UCUM", rule=Rule.UNIT)
def unit_not_ucum(ds):
    value = first(ds, codes.SCT.Volume).MeasuredValueSequence[0]
    value.MeasurementUnitsCodeSequence[0].CodingSchemeDesignator = "99UNITS"


@fault("SR", what="A code has the meaning of another", rule=Rule.CODE)
def wrong_meaning(ds):
    first(ds, codes.DCM.Finding).ConceptCodeSequence[0].CodeMeaning = "Normal"


@fault("SR", what="The code of a finding is invented", rule=Rule.CODE)
def invented_code(ds):
    first(ds, codes.DCM.Finding).ConceptCodeSequence[0].CodeValue = "987654321"


@fault("SR", "SEG", "SC", what="The Study Instance UID is foreign", rule=Rule.IDENTITY)
def foreign_study(ds):
    ds.StudyInstanceUID = "2.25.999"


@fault("SR", what="The root template is not identified", rule=Rule.TEMPLATE)
def no_template(ds):
    del ds.ContentTemplateSequence


@fault("SR", what="The procedure reported is missing", rule=Rule.TEMPLATE)
def no_procedure(ds):
    without(ds, codes.DCM.ProcedureReported)


@fault("SR", what="The observer is missing", rule=Rule.TEMPLATE)
def no_observer(ds):
    ds.ContentSequence = [
        item for item in ds.ContentSequence if item.RelationshipType != "HAS OBS CONTEXT"
    ]


# Template and document


@fault("SR", what="The root is said to be TID 1501", rule=Rule.TEMPLATE)
def other_template(ds):
    ds.ContentTemplateSequence[0].TemplateIdentifier = "1501"


@fault("SR", what="The language of the content is missing", rule=Rule.TEMPLATE)
def no_language(ds):
    without(ds, codes.DCM.LanguageOfContentItemAndDescendants)


@fault("SR", what="It is VERIFIED without a verifying observer", rule=Rule.TEMPLATE)
def verified(ds):
    ds.VerificationFlag = "VERIFIED"


@fault("SR", what="It is PARTIAL", rule=Rule.TEMPLATE)
def partial(ds):
    ds.CompletionFlag = "PARTIAL"


@fault("SR", what="The completion flag is no defined term", rule=Rule.TEMPLATE)
def flag_unknown(ds):
    ds.CompletionFlag = "DONE"


@fault("SR", what="An item has no concept name", rule=Rule.TEMPLATE)
def no_concept_name(ds):
    del first(ds, codes.SCT.Volume).ConceptNameCodeSequence


@fault("SR", what="A number has no value", rule=Rule.TEMPLATE)
def number_without_value(ds):
    first(ds, codes.SCT.Volume).MeasuredValueSequence = []


@fault("SR", what="A contour is related to its image by INFERRED FROM", rule=Rule.TEMPLATE)
def wrong_relationship(ds):
    first(ds, codes.DCM.ImageRegion).ContentSequence[0].RelationshipType = "INFERRED FROM"


@fault("SR", what="A group does not tell its finding", rule=Rule.TEMPLATE)
def no_finding(ds):
    without(ds, codes.DCM.Finding, all_of_them=False)


@fault("SR", "refusal SR", what="It does not say research use only", rule=Rule.TEMPLATE)
def no_intended_use(ds):
    without(ds, ours.INTENDED_USE)


@fault("SR", what="The outcome of the analysis is not told", rule=Rule.TEMPLATE)
def no_outcome(ds):
    without(ds, ours.OUTCOME)


@fault("negative SR", what="A negative does not say that the finding is absent", rule=Rule.TEMPLATE)
def no_negative(ds):
    without(ds, codes.DCM.Finding)


@fault("refusal SR", what="A refusal gives no reason", rule=Rule.TEMPLATE)
def no_reason(ds):
    without(ds, ours.REFUSAL_REASON)


@fault("refusal SR", what="A refusal tells a finding, too", rule=Rule.TEMPLATE)
def refused_and_negative(ds):
    container = first(ds, ours.QUALITATIVE_EVALUATIONS)
    item = deepcopy(first(container, ours.OUTCOME))
    item.ConceptNameCodeSequence[0].CodeValue = "121071"
    item.ConceptNameCodeSequence[0].CodingSchemeDesignator = "DCM"
    item.ConceptNameCodeSequence[0].CodeMeaning = "Finding"
    item.ConceptCodeSequence[0].CodeValue = "373572006"
    item.ConceptCodeSequence[0].CodingSchemeDesignator = "SCT"
    item.ConceptCodeSequence[0].CodeMeaning = "Clinical finding absent"
    container.ContentSequence.append(item)


@fault("SR", what="The private coding scheme is not declared", rule=Rule.CODE)
def scheme_undeclared(ds):
    del ds.CodingSchemeIdentificationSequence


@fault("SR", what="A private code is in no table of ours", rule=Rule.CODE)
def private_code_unknown(ds):
    first(ds, ours.OUTCOME).ConceptCodeSequence[0].CodeValue = "PERHAPS"


@fault("SR", what="A code has no meaning", rule=Rule.CODE)
def no_meaning(ds):
    first(ds, codes.DCM.Finding).ConceptCodeSequence[0].CodeMeaning = ""


@fault("SR", what="The title is no title of a report", rule=Rule.TEMPLATE)
def no_title(ds):
    title = ds.ConceptNameCodeSequence[0]
    title.CodeValue, title.CodeMeaning = "126010", "Imaging Measurements"


@fault("SR", what="An item has no relationship to what it is in", rule=Rule.TEMPLATE)
def no_relationship(ds):
    del first(ds, codes.SCT.Volume).RelationshipType


# Evidence


@fault("SR", what="There is no evidence", rule=Rule.EVIDENCE)
def no_evidence(ds):
    del ds.CurrentRequestedProcedureEvidenceSequence


@fault("SR", what="One CT image is missing from the evidence", rule=Rule.EVIDENCE)
def evidence_incomplete(ds):
    del of_class(ds, CT).ReferencedSOPSequence[0]


@fault("SR", what="The image that a contour is drawn on is no evidence", rule=Rule.EVIDENCE)
def contour_without_evidence(ds):
    image = first(ds, codes.DCM.ImageRegion).ContentSequence[0].ReferencedSOPSequence[0]
    series = of_class(ds, CT)
    series.ReferencedSOPSequence = [
        one
        for one in series.ReferencedSOPSequence
        if one.ReferencedSOPInstanceUID != image.ReferencedSOPInstanceUID
    ]


@fault("SR", what="The PET is missing from the evidence", rule=Rule.EVIDENCE)
def evidence_without_pet(ds):
    evidence(ds).remove(of_class(ds, PET))


@fault("SR", what="An instance is in the evidence twice", rule=Rule.EVIDENCE)
def evidence_doubled(ds):
    sequence = of_class(ds, CT).ReferencedSOPSequence
    sequence.append(deepcopy(sequence[0]))


@fault("SR", what="A series has two items in the evidence", rule=Rule.EVIDENCE)
def evidence_series_split(ds):
    item = of_class(ds, CT)
    other = deepcopy(item)
    item.ReferencedSOPSequence = item.ReferencedSOPSequence[:5]
    other.ReferencedSOPSequence = other.ReferencedSOPSequence[5:]
    evidence(ds).append(other)


@fault("SR", what="Evidence is cited under another SOP Class", rule=Rule.EVIDENCE)
def evidence_of_other_class(ds):
    of_class(ds, PET).ReferencedSOPSequence[3].ReferencedSOPClassUID = CT


@fault("SR", what="A contour cites its image under another class", rule=Rule.EVIDENCE)
def contour_cites_other_class(ds):
    image = first(ds, codes.DCM.ImageRegion).ContentSequence[0].ReferencedSOPSequence[0]
    image.ReferencedSOPClassUID = PET


@fault("SR", what="The evidence is of another study", rule=Rule.EVIDENCE)
def evidence_of_other_study(ds):
    ds.CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID = "2.25.999"


@fault("SR", what="The evidence names an instance that does not exist", rule=Rule.EVIDENCE)
def evidence_invented(ds):
    sequence = of_class(ds, CT).ReferencedSOPSequence
    sequence.append(deepcopy(sequence[0]))
    sequence[-1].ReferencedSOPInstanceUID = "2.25.4711"


# What a viewer needs


@fault("SR", what="A group has no Tracking Identifier", rule=Rule.TRACKING)
def tracking_identifier_missing(ds):
    without(ds, codes.DCM.TrackingIdentifier, all_of_them=False)


@fault("SR", what="The Tracking UID is not the segment's", rule=Rule.TRACKING)
def tracking_uid_other(ds):
    first(ds, codes.DCM.TrackingUniqueIdentifier).UID = "2.25.31"


@fault("SR", what="The group refers to a segment that is not there", rule=Rule.TRACKING)
def segment_absent(ds):
    first(ds, codes.DCM.ReferencedSegment).ReferencedSOPSequence[0].ReferencedSegmentNumber = 7


@fault("SR", what="The group refers to no segment", rule=Rule.TRACKING)
def no_segment(ds):
    without(ds, codes.DCM.ReferencedSegment)


@fault("SR", what="The segment is said to come from another series", rule=Rule.TRACKING)
def source_series_other(ds):
    first(ds, codes.DCM.SourceSeriesForSegmentation).UID = "2.25.1200"


@fault("SR", what="No contour: OHIF's viewport stays black", rule=Rule.VIEWER)
def no_contour(ds):
    for region in every(ds, codes.DCM.ImageRegion):
        for item in items(ds):
            if region in item.get("ContentSequence", []):
                item.ContentSequence.remove(region)


@fault("SR", what="A contour of five points: taken for a rectangle", rule=Rule.VIEWER)
def contour_of_five_points(ds):
    region = first(ds, codes.DCM.ImageRegion)
    points = np.reshape(region.GraphicData, (-1, 2))
    low, high = points.min(axis=0), points.max(axis=0)
    corners = [low, (high[0], low[1]), high, (low[0], high[1]), low]
    region.GraphicData = [float(value) for corner in corners for value in corner]


@fault("SR", what="A contour lies 20 pixels beside its segment", rule=Rule.GEOMETRY)
def contour_shifted(ds):
    region = first(ds, codes.DCM.ImageRegion)
    region.GraphicData = [float(value) - 20 for value in region.GraphicData]


@fault("SR", what="A contour has rows and columns exchanged", rule=Rule.GEOMETRY)
def contour_transposed(ds):
    region = first(ds, codes.DCM.ImageRegion)
    points = np.reshape(region.GraphicData, (-1, 2))[:, ::-1]
    region.GraphicData = [float(value) for value in points.ravel()]


@fault("SR", what="A contour lies on a plane that its segment does not reach", rule=Rule.GEOMETRY)
def contour_on_other_plane(ds):
    image = first(ds, codes.DCM.ImageRegion).ContentSequence[0].ReferencedSOPSequence[0]
    image.ReferencedSOPInstanceUID = "2.25.1100.1"


@fault("SR", what="A contour lies on an image that is not there", rule=Rule.GEOMETRY)
def contour_on_no_image(ds):
    image = first(ds, codes.DCM.ImageRegion).ContentSequence[0].ReferencedSOPSequence[0]
    image.ReferencedSOPInstanceUID = "2.25.4711"


@fault("SR", what="A contour leaves its image", rule=Rule.GEOMETRY)
def contour_outside(ds):
    region = first(ds, codes.DCM.ImageRegion)
    region.GraphicData = [float(value) + 1000 for value in region.GraphicData]


@fault("SR", what="A container is CONTINUOUS: numbers lose their names", rule=Rule.VIEWER)
def continuous(ds):
    first(ds, codes.DCM.MeasurementGroup).ContinuityOfContent = "CONTINUOUS"


@fault("SR", what="Under another title no viewer draws the contours", rule=Rule.VIEWER)
def other_title(ds):
    title = ds.ConceptNameCodeSequence[0]
    title.CodeValue, title.CodeMeaning = "126001", "Oncology Measurement Report"


# Numbers


@fault("SR", what="A volume in millimetres", rule=Rule.UNIT)
def unit_of_other_quantity(ds):
    value = first(ds, codes.SCT.Volume).MeasuredValueSequence[0]
    unit = value.MeasurementUnitsCodeSequence[0]
    unit.CodeValue, unit.CodeMeaning = "mm", "millimeter"


@fault("SR", what="A unit that UCUM does not know", rule=Rule.UNIT)
def unit_unknown(ds):
    value = first(ds, codes.SCT.Volume).MeasuredValueSequence[0]
    value.MeasurementUnitsCodeSequence[0].CodeValue = "millilitre"


@fault("SR", what="A unit is missing", rule=Rule.UNIT)
def no_unit(ds):
    del first(ds, codes.SCT.Volume).MeasuredValueSequence[0].MeasurementUnitsCodeSequence


@fault("SR", what="TLG is not SUVmean times metabolic volume", rule=Rule.NUMBER)
def glycolysis_wrong(ds):
    first(ds, codes.DCM.TotalLesionGlycolysis).MeasuredValueSequence[0].NumericValue = "2500"


@fault("SR", what="SUVmean and SUVmax are exchanged", rule=Rule.NUMBER)
def suv_exchanged(ds):
    highest, mean, *_ = every(ds, codes.DCM.Suvbw)
    one, other = highest.MeasuredValueSequence[0], mean.MeasuredValueSequence[0]
    one.NumericValue, other.NumericValue = other.NumericValue, one.NumericValue
