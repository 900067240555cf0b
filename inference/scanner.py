"""Scanners for phantoms: where their lattices lie, how much they blur and how noisy they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from inference.geometry import Grid, Vector


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """A PET/CT scanner and its protocol. Shapes and spacings (mm) are slice, row, column.

    ``centre_lps_mm`` is the middle of both fields of view; PET and CT share it to half a voxel, as
    on real scanners. ``tilt_deg`` turns the lattices about the patient's left-right axis and
    ``roll_deg`` about the head-feet axis.
    """

    name: str
    ct_shape: tuple[int, int, int]
    ct_spacing: Vector
    pet_shape: tuple[int, int, int]
    pet_spacing: Vector
    pet_fwhm_mm: float = 6.0
    pet_noise: float = 0.08
    """SD of the noise where SUV is 1; it grows with the square root of SUV."""
    ct_noise_hu: float = 15.0
    patient_position: str = "HFS"
    tilt_deg: float = 0.0
    roll_deg: float = 0.0
    centre_lps_mm: Vector = (0.0, 0.0, -25.0)
    pet_offset_mm: Vector = (0.0, 0.0, 0.0)
    """How far the middle of the PET lies from that of the CT, in LPS mm."""
    manufacturer: str = "Phantom"
    model_name: str = ""

    def __post_init__(self) -> None:
        if self.patient_position not in ("HFS", "FFS", "HFP", "FFP"):
            raise ValueError(
                f"patient position must be HFS, FFS, HFP or FFP, got {self.patient_position}"
            )
        if min(self.pet_fwhm_mm, self.pet_noise, self.ct_noise_hu) < 0:
            raise ValueError("blur and noise cannot be negative")

    @property
    def direction(self) -> tuple[Vector, Vector, Vector]:
        """Direction cosines of the slice, row and column axes of both lattices.

        The rows and columns follow the table, so that a patient who lies feet first has the
        patient's right at the right-hand edge of the image; slices are stacked along the normal.
        """
        first, facing = self.patient_position[0], self.patient_position[2]
        down = 1.0 if facing == "S" else -1.0
        across = down if first == "H" else -down
        tilt, roll = np.deg2rad(self.tilt_deg), np.deg2rad(self.roll_deg)
        about_x = np.array(
            [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
        )
        about_z = np.array(
            [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
        )
        turn = about_z @ about_x
        along_row = turn @ [across, 0.0, 0.0]
        down_column = turn @ [0.0, down, 0.0]
        normal = np.cross(along_row, down_column)
        slices, rows, columns = (
            (float(v[0]), float(v[1]), float(v[2])) for v in (normal, down_column, along_row)
        )
        return slices, rows, columns

    def ct_grid(self, frame_of_reference_uid: str) -> Grid:
        """Return the lattice of the CT."""
        return self._grid(self.ct_shape, self.ct_spacing, (0.0, 0.0, 0.0), frame_of_reference_uid)

    def pet_grid(self, frame_of_reference_uid: str) -> Grid:
        """Return the lattice of the PET."""
        return self._grid(
            self.pet_shape, self.pet_spacing, self.pet_offset_mm, frame_of_reference_uid
        )

    def _grid(
        self,
        shape: tuple[int, int, int],
        spacing: Vector,
        offset_mm: Vector,
        frame_of_reference_uid: str,
    ) -> Grid:
        centre = np.asarray(self.centre_lps_mm) + np.asarray(offset_mm)
        half = (np.asarray(shape) - 1) / 2 * np.asarray(spacing)
        x, y, z = centre - half @ np.asarray(self.direction)
        return Grid(
            shape=shape,
            spacing=spacing,
            origin=(float(x), float(y), float(z)),
            direction=self.direction,
            frame_of_reference_uid=frame_of_reference_uid,
        )


_SMALL = Scanner(
    name="small",
    ct_shape=(84, 192, 192),
    ct_spacing=(4.5, 2.2, 2.2),
    pet_shape=(84, 96, 96),
    pet_spacing=(4.5, 4.6, 4.6),
    pet_offset_mm=(1.1, -1.1, 0.0),
    model_name="Phantom Small",
)

SCANNERS: Mapping[str, Scanner] = MappingProxyType(
    {
        scanner.name: scanner
        for scanner in (
            _SMALL,
            Scanner(
                name="time-of-flight",
                ct_shape=(198, 512, 512),
                ct_spacing=(2.0, 0.9765625, 0.9765625),
                pet_shape=(132, 200, 200),
                pet_spacing=(3.0, 4.07283, 4.07283),
                pet_fwhm_mm=5.0,
                pet_noise=0.07,
                ct_noise_hu=20.0,
                pet_offset_mm=(0.5, -2.0, 0.0),
                model_name="Phantom Time of Flight",
            ),
            Scanner(
                name="classic",
                ct_shape=(118, 512, 512),
                ct_spacing=(3.27, 0.9765625, 0.9765625),
                pet_shape=(118, 128, 128),
                pet_spacing=(3.27, 5.46875, 5.46875),
                pet_fwhm_mm=7.0,
                pet_noise=0.10,
                ct_noise_hu=18.0,
                model_name="Phantom Classic",
            ),
            Scanner(
                name="wide",
                ct_shape=(96, 512, 512),
                ct_spacing=(4.0, 1.171875, 1.171875),
                pet_shape=(96, 144, 144),
                pet_spacing=(4.0, 4.0, 4.0),
                pet_fwhm_mm=6.0,
                pet_noise=0.12,
                ct_noise_hu=12.0,
                pet_offset_mm=(0.0, 3.0, 1.0),
                model_name="Phantom Wide",
            ),
            Scanner(
                name="feet-first",
                ct_shape=(84, 192, 192),
                ct_spacing=(4.5, 2.2, 2.2),
                pet_shape=(84, 96, 96),
                pet_spacing=(4.5, 4.6, 4.6),
                patient_position="FFS",
                pet_offset_mm=(1.1, -1.1, 0.0),
                model_name="Phantom Feet First",
            ),
            Scanner(
                name="oblique",
                ct_shape=(96, 192, 192),
                ct_spacing=(4.2, 2.3, 2.3),
                pet_shape=(96, 104, 104),
                pet_spacing=(4.2, 4.4, 4.4),
                tilt_deg=9.0,
                roll_deg=5.0,
                model_name="Phantom Oblique",
            ),
        )
    }
)
