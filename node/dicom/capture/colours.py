"""What colour a number has: HU, SUV and saliency as red, green and blue from 0 to 1."""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from node.dicom.planes import Image

Pixels: TypeAlias = NDArray[np.uint8]
Colours: TypeAlias = NDArray[np.float32]
Ink: TypeAlias = tuple[int, int, int]

SUV_TOP: Final = 10.0
"""The SUV at and above which all is equally dark: the same in every study, to compare by eye."""
INK: Final[Ink] = (235, 235, 235)
MUTED: Final[Ink] = (165, 170, 178)
WARN: Final[Ink] = (255, 200, 60)
PAPER: Final[Ink] = (0, 0, 0)
NO_DATA: Final[Ink] = (34, 38, 46)
FRAME: Final[Ink] = (70, 75, 84)
PRIMARY: Final[Ink] = (0, 200, 255)
FURTHER: Final[Ink] = (255, 90, 255)

_OVERLAY: Final = 0.65
_LOOKED: Final = 0.9
_STOPS: Final = np.array(
    [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], dtype=np.float32
)
"""Dark violet to yellow, of even steps to the eye and to the colour-blind (viridis)."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """What of the CT is shown: HU around ``level``, ``width`` wide."""

    width: float
    level: float

    @override
    def __str__(self) -> str:
        return f"W {self.width:.0f} L {self.level:.0f} HU"


SOFT_TISSUE: Final = Window(width=400, level=40)
LUNG: Final = Window(width=1500, level=-600)


def grey(hu: Image, window: Window) -> Colours:
    """Return the CT, black at the window's lower end; where there is no CT, ``NO_DATA``."""
    shown = np.clip((hu - window.level) / window.width + 0.5, 0, 1)
    return _known(_equal(shown), np.isfinite(hu))


def inverse(suv: Image) -> Colours:
    """Return the PET, white at 0 and black at ``SUV_TOP``; where there is no PET, ``NO_DATA``."""
    return _known(_equal(1 - _heat(suv)), np.isfinite(suv))


def fused(hu: Image, suv: Image, window: Window) -> Colours:
    """Return the CT in grey and over it the PET, the more the hotter it is."""
    seen = np.isfinite(hu) | np.isfinite(suv)
    heat = _heat(np.nan_to_num(suv))
    opacity: Image = np.float32(_OVERLAY) * np.sqrt(heat)
    beneath = np.where(np.isfinite(hu), hu, np.float32(-1e4))
    both = _over(grey(beneath, window), hot(heat), opacity)
    return _known(both, seen)


def looked(hu: Image, saliency: Image, window: Window) -> Colours:
    """Return the CT in grey and over it the saliency of 0 to 1, the more the higher it is."""
    share: Image = np.clip(np.nan_to_num(saliency), 0, 1)
    places = np.linspace(0, 1, len(_STOPS))
    opacity: Image = np.float32(_LOOKED) * np.sqrt(share)
    colour: Colours = np.stack(
        [np.interp(share, places, stops / 255) for stops in _STOPS.T], axis=-1
    ).astype(np.float32)
    return _known(_over(grey(hu, window), colour, opacity), np.isfinite(hu))


def hot(heat: Image) -> Colours:
    """Return black, red, yellow, white for 0 to 1 (the map that nuclear medicine calls hot)."""
    channels: Colours = np.stack(
        [np.clip(heat * 3 - offset, 0, 1) for offset in range(3)], axis=-1
    ).astype(np.float32)
    return channels


def pixels(colours: Colours) -> Pixels:
    """Return the colours as bytes."""
    rounded: Pixels = np.round(np.clip(colours, 0, 1) * 255).astype(np.uint8)
    return rounded


def _heat(suv: Image) -> Image:
    heat: Image = np.clip(suv / np.float32(SUV_TOP), 0, 1)
    return heat


def _equal(shown: Image) -> Colours:
    channels: Colours = np.repeat(shown[..., None], 3, axis=-1)
    return channels


def _over(beneath: Colours, above: Colours, opacity: Image) -> Colours:
    share = opacity[..., None]
    mixed: Colours = ((1 - share) * beneath + share * above).astype(np.float32)
    return mixed


def _known(colours: Colours, known: NDArray[np.bool_]) -> Colours:
    if known.all():
        return colours
    nothing = np.asarray(NO_DATA, dtype=np.float32) / 255
    shown: Colours = np.where(known[..., None], colours, nothing)
    return shown
