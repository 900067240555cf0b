from itertools import groupby

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from node.config import Peer
from node.errors import PeerUnavailable
from node.net.find import Series, SeriesCount, StudyCounts, count_instances, find_instances

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


CT_SERIES = Series(study_instance_uid="1.2.3", series_instance_uid="1.2.3.1")
SR_SERIES = Series(study_instance_uid="1.2.3", series_instance_uid="1.2.3.3")


def test_instances_that_the_pacs_holds_are_found_and_no_others(pacs):
    """The PACS answers with the whole series, which says nothing of what was not asked about."""
    wanted = {CT_SERIES: ["1.2.3.1.0", "1.2.3.1.2", "1.2.3.1.9"], SR_SERIES: ["1.2.3.3.1"]}

    found = find_instances(pacs(), wanted, calling_ae_title="NODE")

    assert found == {"1.2.3.1.0", "1.2.3.1.2", "1.2.3.3.1"}


def test_many_instances_are_asked_about_in_several_queries(free_port):
    asked = []

    def find(event):
        uids = event.identifier.SOPInstanceUID
        asked.append([uids] if isinstance(uids, str) else list(uids))
        for uid in asked[-1]:
            answer = Dataset()
            answer.QueryRetrieveLevel = "IMAGE"
            answer.SOPInstanceUID = uid
            yield 0xFF00, answer

    ae = AE(ae_title="PACS")
    ae.add_supported_context(FIND)
    server = ae.start_server(
        ("127.0.0.1", free_port), block=False, evt_handlers=[(evt.EVT_C_FIND, find)]
    )
    peer = Peer(ae_title="PACS", host="127.0.0.1", port=free_port)
    uids = [f"2.25.{number}" for number in range(101)]

    found = find_instances(peer, {CT_SERIES: uids}, calling_ae_title="NODE")
    server.shutdown()

    assert found == set(uids)
    assert [len(one) for one in asked] == [50, 50, 1]


@pytest.mark.parametrize("status", [0x0122, 0xA900])
def test_a_pacs_that_never_finds_instances_cannot_tell_which_it_holds(pacs, status):
    peer = pacs(status=status)

    assert find_instances(peer, {CT_SERIES: ["1.2.3.1.0"]}, calling_ae_title="NODE") is None


def test_a_peer_that_takes_no_queries_cannot_tell_which_instances_it_holds(pacs):
    peer = pacs(contexts=("1.2.840.10008.1.1",))

    assert find_instances(peer, {CT_SERIES: ["1.2.3.1.0"]}, calling_ae_title="NODE") is None


@pytest.mark.parametrize("status", [0xA700, 0xC000])
def test_a_search_for_instances_that_fails_for_now_is_made_again(pacs, status):
    with pytest.raises(PeerUnavailable, match=f"0x{status:04X}"):
        find_instances(pacs(status=status), {CT_SERIES: ["1.2.3.1.0"]}, calling_ae_title="NODE")
