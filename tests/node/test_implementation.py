"""One implementation is named wherever other programs can read it."""

import io

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from node.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.net.part10 import part10
from tests import made_study
from tests.made_study import analyzed


def test_results_received_files_and_associations_name_one_implementation(
    tmp_path, listening, data_set
):
    names = set()
    for one in analyzed(made_study.study(tmp_path)):
        meta = dcmread(io.BytesIO(one.part10)).file_meta
        names.add((meta.ImplementationClassUID, meta.ImplementationVersionName))
    kind = {
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        "sop_instance_uid": "1.2.3",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
    }
    received = dcmread(io.BytesIO(part10(data_set("1.2.3"), **kind))).file_meta
    names.add((received.ImplementationClassUID, received.ImplementationVersionName))
    peer = listening(lambda _arrival: None)
    ae = AE()
    ae.add_requested_context(Verification)
    association = ae.associate(peer.host, peer.port, ae_title=peer.ae_title)
    names.add(
        (
            association.acceptor.implementation_class_uid,
            association.acceptor.implementation_version_name,
        )
    )
    association.release()

    assert names == {(IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME)}
