from ipaddress import ip_address

import pytest

from node.config import ConfigError, settings_from
from node.config import Listener as Policy
from node.net.peers import Caller, Rejection, crowded, normal, refusal
from node.net.tls import Certificate

SHOWN = Certificate(fingerprint="ab" * 32, names=("pacs.hospital.example",))


def caller(title="PACS", address="10.0.0.5", *, called="PETCTNODE", tls=False, certificate=None):
    return Caller(
        calling_ae_title=title,
        called_ae_title=called,
        address=address,
        tls=tls,
        certificate=certificate,
    )


def policy(**settings):
    if settings.pop("with_tls", False):
        settings["tls"] = {"certificate": "node.pem", "ca": "ca.pem"}
    return Policy.model_validate(settings)


def test_without_rules_everybody_is_taken():
    assert refusal(policy(), caller("ANYONE", "203.0.113.9")) is None


@pytest.mark.parametrize(
    ("who", "why"),
    [
        (caller(), None),
        (caller("PACS", "10.0.0.6"), "address"),
        (caller("OTHER", "10.0.0.5"), "AE title"),
        (caller("MODALITY", "10.1.255.255"), None),
        (caller("MODALITY", "10.2.0.0"), "address"),
        (caller("MODALITY", "::ffff:10.1.0.9"), None),
        (caller("MODALITY", "fe80::1%eth0"), None),
        (caller("ANYWHERE", "2001:db8::7"), None),
    ],
)
def test_a_title_is_taken_from_its_addresses_alone(who, why):
    known = policy(
        peers=[
            {"ae_title": "PACS", "addresses": ["10.0.0.5/32"]},
            {"ae_title": "MODALITY", "addresses": ["10.1.0.0/16", "fe80::/10"]},
            {"ae_title": "ANYWHERE"},
        ]
    )

    refused = refusal(known, who)

    assert (refused is None) == (why is None)
    if why is not None:
        assert why in refused.why
        assert refused.rejection is Rejection.CALLING_AE_TITLE


@pytest.mark.parametrize(
    ("rule", "who", "taken"),
    [
        ({"require_tls": True}, caller(tls=True), True),
        ({"require_tls": True}, caller(), False),
        ({"certificate_fingerprints": ["AB:" * 31 + "AB"]}, caller(tls=True), False),
        (
            {"certificate_fingerprints": ["AB:" * 31 + "AB"]},
            caller(tls=True, certificate=SHOWN),
            True,
        ),
        ({"certificate_fingerprints": ["cd" * 32]}, caller(tls=True, certificate=SHOWN), False),
        (
            {"certificate_names": ["PACS.hospital.example"]},
            caller(tls=True, certificate=SHOWN),
            True,
        ),
        ({"certificate_names": ["other.example"]}, caller(tls=True, certificate=SHOWN), False),
        (
            {
                "certificate_names": ["pacs.hospital.example"],
                "certificate_fingerprints": ["cd" * 32],
            },
            caller(tls=True, certificate=SHOWN),
            False,
        ),
    ],
)
def test_a_title_is_taken_with_its_certificate_alone(rule, who, taken):
    known = policy(peers=[{"ae_title": "PACS", **rule}], with_tls=True)

    assert (refusal(known, who) is None) == taken


def test_of_several_entries_with_one_title_one_must_fit():
    known = policy(
        peers=[
            {"ae_title": "PACS", "addresses": ["10.0.0.5"]},
            {"ae_title": "PACS", "addresses": ["10.0.0.6"]},
        ]
    )

    assert refusal(known, caller(address="10.0.0.6")) is None
    assert refusal(known, caller(address="10.0.0.7")) is not None


def test_the_list_of_titles_holds_beside_the_list_of_peers():
    known = policy(calling_ae_titles=["PACS"], peers=[{"ae_title": "PACS"}, {"ae_title": "CT1"}])

    assert refusal(known, caller("PACS")) is None
    assert refusal(known, caller("CT1")) is not None


def test_a_wrong_called_title_is_told_as_such_to_who_is_known():
    known = policy(require_called_ae_title=True, peers=[{"ae_title": "PACS"}])

    assert refusal(known, caller(called="ELSE")).rejection is Rejection.CALLED_AE_TITLE
    assert refusal(known, caller("X", called="ELSE")).rejection is Rejection.CALLING_AE_TITLE


@pytest.mark.parametrize(
    ("open_from", "why"),
    [
        ([], None),
        (["10.0.0.5"], None),
        (["10.0.0.5", "::ffff:10.0.0.5"], "its address"),
        (["10.0.0.1", "10.0.0.2", "10.0.0.3"], "3 associations are open"),
    ],
)
def test_crowds_are_counted_in_all_and_by_address(open_from, why):
    known = policy(max_associations=3, max_associations_per_address=2)

    refused = crowded(known, "10.0.0.5", open_from)

    assert (refused is None) == (why is None)
    if why is not None:
        assert why in refused.why
        assert refused.rejection is Rejection.LOCAL_LIMIT


def test_an_address_is_the_same_through_either_protocol():
    assert normal("::ffff:10.0.0.5") == ip_address("10.0.0.5")


@pytest.mark.parametrize(
    ("listener", "said"),
    [
        ({"peers": [{"ae_title": "A", "require_tls": True}]}, "peer A needs TLS"),
        ({"peers": [{"ae_title": "A", "certificate_names": ["a"]}]}, "peer A needs TLS"),
        ({"peers": [{"ae_title": "A", "addresses": ["10.0.0.5/8"]}]}, "host bits"),
        ({"peers": [{"ae_title": "A", "certificate_fingerprints": ["ab"]}]}, "pattern"),
        ({"tls": {"certificate": "a.pem"}}, "without ca"),
        ({"tls": {"certificate": "a.pem", "profile": "none"}}, "bcp195"),
        ({"idle_timeout_s": 0}, "greater than 0"),
    ],
)
def test_rules_that_cannot_hold_stop_the_start(listener, said):
    with pytest.raises(ConfigError, match=said):
        settings_from({"listener": listener})
