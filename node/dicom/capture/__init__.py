"""The findings as pictures: what a viewer without Segmentation and report can still show."""

from node.dicom.capture.colours import SUV_TOP, Pixels
from node.dicom.capture.page import SIDE, render
from node.dicom.capture.projections import Body, body
from node.dicom.capture.rotation import rotate
from node.dicom.capture.sections import seen_box

__all__ = ["SIDE", "SUV_TOP", "Body", "Pixels", "body", "render", "rotate", "seen_box"]
