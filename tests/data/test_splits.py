import pytest

from chandraclip.data.splits import SPLITS, TRAIN_SHARE, VALIDATION_SHARE, assign_splits, split_of

NAMES = [f"2CXO J{index:06d}.0-{index % 90:02d}0000" for index in range(20_000)]


def test_shares_are_as_stated():
    assigned = assign_splits(NAMES)
    shares = [assigned.count(split) / len(NAMES) for split in SPLITS]
    expected = [TRAIN_SHARE, VALIDATION_SHARE, 1 - TRAIN_SHARE - VALIDATION_SHARE]
    assert shares == pytest.approx(expected, abs=0.012)  # 4 sigma of a binomial


def test_depends_on_the_name_alone():
    assert assign_splits([*NAMES[:5], *NAMES[:5]]) == assign_splits(NAMES[:5]) * 2
    # Fixed values: a change of the hash would move sources between releases, and test sources into training.
    assert [split_of(name) for name in ("2CXO J004722.6-252050", "2CXO J224030.2+032131", "3C 273")] == [
        "train",
        "train",
        "validation",
    ]


def test_an_empty_name_is_refused():
    with pytest.raises(ValueError, match="source name"):
        split_of("")
