"""Arrays and geometry: from a calibrated PET/CT to findings, without DICOM and without SQL."""
