"""DICOM objects to values and back; the only package that imports pydicom and highdicom."""
