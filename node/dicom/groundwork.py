"""What the results of a study say whatever is found in it, made before that is known."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final, Literal

from pydicom.dataset import Dataset

from inference.petct import PetCt
from node.dicom import source
from node.dicom.capture import Body, body
from node.dicom.image_library import SourceSeries
from node.dicom.lint import Source
from node.dicom.provenance import Equipment, Provenance
from node.dicom.saliency_map import Frames, whole_frames
from node.dicom.seg_head import Head
from node.dicom.series import Choice

_SHARED: Final = ("subject", "source", "frames", "series", "body", "head")


@dataclass(frozen=True, kw_only=True, eq=False)
class Groundwork:
    """Patient, images, frames of maps and more: each made when it is first asked for, and kept.

    ``lay`` asks for all of it while a search keeps another core busy.
    """

    choice: Choice
    petct: PetCt
    equipment: Equipment
    key: str
    when: datetime
    maps: bool = True
    """Whether there will be maps, of which most is the same for all of them."""
    key_image: bool = True
    segmented_on: Literal["CT", "PET"] = "CT"
    provenance: Provenance | None = None
    """Of the findings to come, where that is known already."""
    tasks: Sequence[str] = ()
    """What there may be a map of."""

    @source.tolerant()
    def lay(self) -> None:
        """Make what can be made; what cannot fails where it is needed, if it ever is."""
        wanted = {"frames": self.maps, "body": self.key_image}
        for name in _SHARED:
            if wanted.get(name, True):
                with suppress(Exception):
                    getattr(self, name)
        for one in self.series:
            with suppress(Exception):
                one.prepare()
        with suppress(Exception):
            self._begin_maps()

    @cached_property
    def subject(self) -> Dataset:
        """What the images tell of patient and study, for those who write."""
        return source.subject_of((self.choice.ct, self.choice.pet))

    @cached_property
    def source(self) -> Source:
        """What the images say, told anew for those who judge what was written."""
        return Source.of(self.choice, self.petct)

    @cached_property
    def frames(self) -> Frames | None:
        """What maps say of their frames; None where they do not cover the whole PET."""
        grid = self.petct.pet.grid
        return whole_frames(self.choice.pet, grid, self.subject, self._provenance)

    @cached_property
    def head(self) -> Head:
        """What the Segmentation says whatever is segmented."""
        on_ct = (self.choice.ct, self.petct.ct.grid)
        on_pet = (self.choice.pet, self.petct.pet.grid)
        series, grid = on_ct if self.segmented_on == "CT" else on_pet
        return Head.of(series, grid, self.subject, self._provenance)

    @cached_property
    def series(self) -> tuple[SourceSeries, SourceSeries]:
        """The CT and the PET of the image library."""
        ct, pet = self.petct.ct, self.petct.pet
        facts = self.petct.pet_facts
        return (
            SourceSeries(series=self.choice.ct, grid=ct.grid),
            SourceSeries(series=self.choice.pet, grid=pet.grid, pet_facts=facts),
        )

    @cached_property
    def body(self) -> Body:
        """The part of the PET that projections show."""
        return body(self.petct.pet)

    def _begin_maps(self) -> None:
        if self.maps and self.frames is not None and self.provenance is not None:
            for number, task in enumerate(self.tasks, 1):
                self.frames.begun(task, number, self.subject, self.provenance)

    @property
    def _provenance(self) -> Provenance:
        return Provenance(equipment=self.equipment, key=self.key, when=self.when)
