import io
from dataclasses import replace

import numpy as np
import pytest

from inference.bundle import default_path, load, save
from inference.card import Familiarity
from inference.errors import BundleUnusable
from inference.familiar import Familiar, packed, read

SHAPES = [
    ({"mean": np.zeros((2, 2))}, "shapes do not fit"),
    ({"mean": np.zeros(3)}, "shapes do not fit"),
    ({"offset": np.ones(3)}, "shapes do not fit"),
    ({"whitening": np.zeros(2)}, "shapes do not fit"),
    ({"whitening": np.zeros((0, 2))}, "there must be features"),
    ({"offset": np.array([1.0, 0.0])}, "offsets must be positive"),
    ({"mean": np.array([0.0, np.nan])}, "finite, those of mean are not"),
    ({"whitening": np.full((2, 2), np.inf)}, "finite, those of whitening are not"),
]


def familiar(mean, whitening, offset=None):
    offset = np.ones(len(mean)) if offset is None else offset
    arrays = {"offset": offset, "mean": mean, "whitening": whitening}
    return Familiar(**{name: np.asarray(array, np.float32) for name, array in arrays.items()})


def features(*logarithms):
    """Whose logarithms these are once the offset, 1, is added."""
    return np.exp(np.asarray(logarithms, float)) - 1


def test_where_logarithms_are_white_the_distance_is_euclids():
    """3 and 4 away: 5."""
    known = familiar([1, 2], np.eye(2))

    assert known.distances(features([4, 6], [1, 2])) == pytest.approx([5, 0], abs=1e-6)


def test_a_distance_counts_standard_deviations():
    """SDs of 2 and 5: 4 and 15 away are 2 and 3 SDs, and the root of 13 together."""
    known = familiar([0, 0], np.diag([1 / 2, 1 / 5]))

    assert known.distances(features([4, 15])) == pytest.approx([13**0.5])


def test_what_goes_with_the_spread_is_nearer_than_what_goes_against_it():
    """Covariance [[1, .8], [.8, 1]]: 1 + .8 along the diagonal, 1 - .8 across it.

    From (1, 1), (2, 2) is 2 / 1.8 away, squared, and (2, 0) is 2 / 0.2.
    """
    along, across = np.array([1, 1]) / np.sqrt(2), np.array([1, -1]) / np.sqrt(2)
    known = familiar([1, 1], [along / np.sqrt(1.8), across / np.sqrt(0.2)])

    squared = known.distances(features([2, 2], [2, 0])) ** 2

    assert squared == pytest.approx([2 / 1.8, 10], rel=1e-5)


def test_a_feature_of_nothing_is_as_far_away_as_its_offset_allows():
    """The log of 1 is 0, with an offset of 1 / 100 it is 4.6 below that of 1: log 100."""
    known = familiar([0.0], [[1.0]], offset=[0.01])

    assert known.distances([[0.0], [0.99]]) == pytest.approx([np.log(100), 0], abs=1e-6)


@pytest.mark.parametrize(("change", "told"), SHAPES)
def test_statistics_that_do_not_fit_are_refused(change, told):
    fitting = {"offset": np.ones(2), "mean": np.zeros(2), "whitening": np.eye(2)}

    with pytest.raises(ValueError, match=told):
        familiar(**{**fitting, **change})


def test_numbers_of_another_precision_are_refused():
    exact = np.ones(2, np.float32)

    with pytest.raises(ValueError, match="float32, those of mean are not"):
        Familiar(offset=exact, mean=np.zeros(2), whitening=np.eye(2, dtype=np.float32))


def test_what_is_packed_is_what_is_read_and_always_the_same_bytes(tmp_path):
    rng = np.random.default_rng(0)
    known = familiar(rng.normal(size=5), rng.normal(size=(5, 5)))
    path = tmp_path / "known.npz"
    path.write_bytes(packed(known))

    again = read(path)

    for name, array in vars(known).items():
        assert np.array_equal(getattr(again, name), array)
    assert packed(again) == packed(known)


def npy(array, *, pickled=False):
    held = io.BytesIO()
    np.save(held, array, allow_pickle=pickled)
    return held.getvalue()


def npz(**arrays):
    held = io.BytesIO()
    np.savez(held, **arrays)
    return held.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 cut off",
        npy(np.zeros(3)),
        npz(mean=np.zeros(2, np.float32)),
        npz(offset=np.ones(2), mean=np.zeros(2), whitening=np.eye(2)),
        npz(offset=np.array([{}], object), mean=np.zeros(1), whitening=np.eye(1)),
    ],
    ids=["nothing", "cut off", "one array", "no whitening", "float64", "pickled"],
)
def test_a_file_that_is_no_statistics_is_refused_by_name(data, tmp_path):
    path = tmp_path / "broken.npz"
    path.write_bytes(data)

    with pytest.raises(BundleUnusable, match=r"broken\.npz"):
        read(path)


def test_statistics_that_are_missing_are_refused_by_name(tmp_path):
    with pytest.raises(BundleUnusable, match=r"nowhere\.npz"):
        read(tmp_path / "nowhere.npz")


@pytest.fixture
def with_statistics(tmp_path):
    """The shipped bundle with statistics of four features for its first task."""
    shipped = load(default_path())
    first, *others = shipped.tasks
    limit = Familiarity(
        file="seen.npz",
        distance_max=3.0,
        cases=99,
        share_beyond_expected=0.01,
        share_beyond_test=0.02,
    )
    contents = {name: (default_path() / name).read_bytes() for name in shipped.card.files}
    contents["seen.npz"] = packed(familiar(np.arange(4), np.eye(4)))
    card = replace(
        shipped.card,
        tasks=(
            replace(first, familiarity=limit),
            *(replace(one, familiarity=None) for one in others),
        ),
        files=dict.fromkeys(contents, ""),
    )
    return save(tmp_path / "bundle", card, contents)


def test_a_bundle_holds_the_statistics_of_the_tasks_that_have_them(with_statistics):
    assert list(with_statistics.familiar) == ["occult_n1"]
    assert with_statistics.familiar["occult_n1"].mean.tolist() == [0, 1, 2, 3]


def test_a_bundle_whose_statistics_were_damaged_is_refused_with_file_and_digests(with_statistics):
    path = with_statistics.folder / "seen.npz"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)

    with pytest.raises(BundleUnusable, match=r"seen\.npz: sha256:\w{64} differs from .*sha256:"):
        load(with_statistics.folder)


def test_a_bundle_whose_listed_statistics_are_none_is_refused_by_name(with_statistics):
    contents = {
        name: (with_statistics.folder / name).read_bytes() for name in with_statistics.card.files
    }
    folder = with_statistics.folder.with_name("other")

    with pytest.raises(BundleUnusable, match=r"seen\.npz"):
        save(folder, with_statistics.card, {**contents, "seen.npz": b"nothing"})


def test_a_limit_that_is_no_distance_is_refused():
    with pytest.raises(ValueError, match="distance_max must be positive"):
        Familiarity(
            file="x.npz",
            distance_max=0.0,
            cases=9,
            share_beyond_expected=0.1,
            share_beyond_test=0.1,
        )
