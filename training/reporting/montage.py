"""Pictures of the cases that fusion told best and worst, with where its network looked."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from inference.bundle import Bundle
from inference.card import Inputs
from inference.engine import Engine
from inference.onnx_engine import open_engine
from inference.preprocess import normalise
from inference.volume import Voxels
from training.reporting.answers import Extremes, TaskRun
from training.reporting.page import Block, Paragraph, Picture, Tabular
from training.reporting.words import number
from training.statistics.values import Floats, UnusableScores

PET_SHOWN = (0.0, 15.0)
"""SUVbw from white to black."""
CT_SHOWN = (-1000.0, 200.0)
"""HU from black to white: lung and soft tissue in one."""
SHADES, VEILS = 32, 8
"""Of a picture: that many greys below that many strengths of a red veil, 256 colours in all."""
RED = (225.0, 45.0, 0.0)
STRONGEST = 0.7
"""How much the strongest veil hides."""
GAP = 2
WORDS = {
    "positive-right": "metastasis, told most surely",
    "negative-right": "none, told most surely",
    "positive-wrong": "metastasis, missed most",
    "negative-wrong": "none, called most",
}
PLANES_SHOWN = ((0, "axial"), (1, "coronal"))

Bytes = NDArray[np.uint8]


def montage(run: TaskRun, bundle: Bundle) -> tuple[Block, ...]:
    """Return the cases as a table of pictures, or the reason why there are none."""
    if run.extremes is None:
        return (Paragraph(text="No pictures of cases were kept."),)
    inputs = bundle.card.inputs
    _require_fit(run.extremes, inputs)
    maps = _looked(open_engine(bundle.onnx_path(run.task), threads=1), run.extremes, inputs)
    places = [int(place) for kind in WORDS for place in np.flatnonzero(run.extremes.kind == kind)]
    rows = [_row(run, place, None if maps is None else maps[place]) for place in places]
    side = inputs.crop_side * inputs.spacing_mm
    low, high = PET_SHOWN
    dark, light = CT_SHOWN
    what = "PET, CT" if maps is None else "PET, CT, and CT with where the network looked"
    note = (
        f"Each picture: {what}; the axial plane, then the coronal, {side:g} mm wide, through the "
        f"lesion. PET from SUV {low:g} (white) to {high:g} (black), CT from {dark:g} to {light:g} "
        "HU."
    )
    if maps is not None:
        note += (
            " The map is HiResCAM of the fused features, from the network's second output, for the "
            "answer yes; the network joins its three planes, so that one map stands for all. It "
            "tells where the network looked, not why."
        )
    table = Tabular(
        caption=f"Cases of the {run.part} part that fusion told best and worst, of each class.",
        heads=("case", "truth and answer", "probability", "pictures"),
        rows=tuple(rows),
        note=note,
        words=True,
    )
    return (table,)


def _require_fit(extremes: Extremes, inputs: Inputs) -> None:
    asked = (2, len(inputs.planes), inputs.crop_side, inputs.crop_side)
    if extremes.planes.shape[1:] != asked or len(extremes.planes) != len(extremes.case):
        raise UnusableScores(
            f"pictures of cases are {extremes.planes.shape}, the network sees {asked} of each"
        )


def _looked(engine: Engine, extremes: Extremes, inputs: Inputs) -> Voxels | None:
    """Return ``(case, row, column)``: where the network looked, or None if it does not tell."""
    planes = extremes.planes.astype(np.float32)
    pet, ct = normalise(planes[:, 0], inputs.pet), normalise(planes[:, 1], inputs.ct)
    return engine.explained(pet, ct)[1]


def _row(run: TaskRun, place: int, cells: Voxels | None) -> tuple[str, str, str, Picture]:
    assert run.extremes is not None
    case, kind = str(run.extremes.case[place]), str(run.extremes.kind[place])
    probability = number(float(run.probability(run.extremes.margin[place : place + 1])[0]))
    planes = run.extremes.planes[place].astype(np.float32)
    told = "PET and CT" if cells is None else "PET, CT and saliency"
    picture = Picture(
        data=_strip(planes, cells),
        mime="image/png",
        alt=f"{told} of case {case}: {WORDS[kind]}, probability {probability}.",
        caption="",
    )
    return case, WORDS[kind], probability, picture


def _strip(planes: Voxels, cells: Voxels | None) -> bytes:
    """Lay the pictures of one case beside each other, as a PNG."""
    tiles = []
    for plane, _ in PLANES_SHOWN:
        pet, ct = _upright(planes[0, plane], plane), _upright(planes[1, plane], plane)
        tiles += [_gray(1 - _scaled(pet, PET_SHOWN)), _gray(_scaled(ct, CT_SHOWN))]
        if cells is not None:
            looked = _upright(_enlarged(cells, len(ct)), plane)
            tiles.append(tiles[-1] + _veil(looked))
    gap: Bytes = np.full((tiles[0].shape[0], GAP), SHADES - 1, np.uint8)
    parts = [part for tile in tiles for part in (tile, gap)][:-1]
    image = Image.fromarray(np.concatenate(parts, axis=1)).convert("P")
    image.putpalette(_palette())
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return data.getvalue()


def _upright(plane_values: Voxels, plane: int) -> Voxels:
    """Show the head above: the rows of coronal planes run from the feet up."""
    shown: Voxels = plane_values if plane == 0 else plane_values[::-1]
    return shown


def _scaled(values: Voxels, window: tuple[float, float]) -> Floats:
    low, high = window
    scaled: Floats = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return scaled


def _gray(shade: Floats) -> Bytes:
    """Return the places of greys in the palette, black being 0."""
    gray: Bytes = np.round((SHADES - 1) * shade).astype(np.uint8)
    return gray


def _veil(looked: Voxels) -> Bytes:
    """Return what leads from a grey to the same grey below a veil."""
    veil: Bytes = (SHADES * np.round((VEILS - 1) * np.clip(looked, 0, 1))).astype(np.uint8)
    return veil


def _palette() -> bytes:
    """Return the colours: all greys below no veil, then below one veil after the other."""
    strengths = np.linspace(0, STRONGEST, VEILS)[:, np.newaxis, np.newaxis]
    grays = np.linspace(0, 255, SHADES)[np.newaxis, :, np.newaxis]
    colors = grays * (1 - strengths) + np.array(RED) * strengths
    return np.round(colors).astype(np.uint8).tobytes()


def _enlarged(cells: Voxels, pixels: int) -> Voxels:
    """Interpolate the map at the pixels; cell ``i`` lies on pixel ``i * pixels / cells``."""
    at = np.arange(pixels) * (len(cells) / pixels)
    places = np.meshgrid(at, at, indexing="ij")
    found = ndimage.map_coordinates(cells.astype(np.float64), places, order=1, mode="nearest")
    greatest = found.max()
    enlarged: Voxels = (found / greatest if greatest > 0 else found).astype(np.float32)
    return enlarged
