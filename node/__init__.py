"""The DICOM node: everything that touches a peer, a file or a clock."""
