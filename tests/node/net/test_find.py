from itertools import groupby

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from node.config import Peer
from node.errors import PeerUnavailable
from node.net.find import SeriesCount, StudyCounts, count_instances

FIND = "1.2.840.10008.5.1.4.1.2.2.1"

pytestmark = [
    pytest.mark.associations,
    # pynetdicom 3.0.4 leaves the socket of a refused connection to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

# One study: three CT images, two PET images and a report of ours.
IMAGES = [
    *[("1.2.3", "1.2.3.1", "CT", f"1.2.3.1.{n}") for n in range(3)],
    *[("1.2.3", "1.2.3.2", "PT", f"1.2.3.2.{n}") for n in range(2)],
    ("1.2.3", "1.2.3.3", "SR", "1.2.3.3.1"),
]


@pytest.fixture
def pacs(free_port):
    """Starts a PACS that answers C-FIND; ``counts`` says whether it returns the counts."""
    running = []

    def start(*, counts=True, status=0x0000, contexts=(FIND,)):
        def find(event):
            for answer in answers(event.identifier, counts=counts):
                yield 0xFF00, answer
            yield status, None

        ae = AE(ae_title="PACS")
        for context in contexts:
            ae.add_supported_context(context)
        running.append(
            ae.start_server(
                ("127.0.0.1", free_port), block=False, evt_handlers=[(evt.EVT_C_FIND, find)]
            )
        )
        return Peer(ae_title="PACS", host="127.0.0.1", port=free_port)

    yield start
    for server in running:
        server.shutdown()


def answers(query, *, counts):
    matching = [image for image in IMAGES if image[0] == query.StudyInstanceUID]
    if query.QueryRetrieveLevel == "IMAGE":
        for image in matching:
            if image[1] == query.SeriesInstanceUID:
                answer = Dataset()
                answer.QueryRetrieveLevel = "IMAGE"
                answer.SOPInstanceUID = image[3]
                yield answer
        return
    assert query.QueryRetrieveLevel == "SERIES"
    for (series, modality), images in groupby(matching, key=lambda image: image[1:3]):
        answer = Dataset()
        answer.QueryRetrieveLevel = "SERIES"
        answer.SeriesInstanceUID = series
        answer.Modality = modality
        if counts:
            answer.NumberOfSeriesRelatedInstances = len(list(images))
        yield answer


def count(peer, study="1.2.3"):
    return count_instances(peer, study, calling_ae_title="NODE", timeout_s=5)


COUNTED = StudyCounts(
    series=(
        SeriesCount(series_instance_uid="1.2.3.1", modality="CT", instances=3),
        SeriesCount(series_instance_uid="1.2.3.2", modality="PT", instances=2),
    )
)


def test_ct_and_pet_are_counted_by_series_and_our_reports_are_not(pacs):
    assert count(pacs()) == COUNTED


def test_a_pacs_that_returns_no_counts_is_counted_image_by_image(pacs):
    assert count(pacs(counts=False)) == COUNTED


def test_a_pacs_that_does_not_know_the_study_cannot_tell(pacs):
    assert count(pacs(), study="1.9") is None


def test_a_pacs_whose_query_fails_cannot_tell(pacs):
    """0xA700, out of resources, after five pending answers."""
    assert count(pacs(status=0xA700)) is None


def test_a_peer_that_takes_no_queries_cannot_tell(pacs):
    assert count(pacs(contexts=("1.2.840.10008.1.1",))) is None


def test_a_pacs_that_is_down_is_unavailable(free_port):
    with pytest.raises(PeerUnavailable):
        count(Peer(ae_title="PACS", host="127.0.0.1", port=free_port))
