"""Reviews from files, the cut of a validation split, repeats and fingerprints."""

import hashlib

import numpy as np
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.text.reviews import (
    CLASSES,
    ReviewData,
    Reviews,
    connected,
    cut_validation,
    fingerprint,
    from_files,
    repeated_in_train,
    select,
)


def reviews(texts, labels):
    return Reviews(list(texts), np.array(labels, np.int32), [f"train/{i}" for i in range(len(texts))])


@pytest.fixture
def data():
    """200 negative and 100 positive texts, of which every fourth one occurs twice in all."""
    texts = [f"text {i - i % 4 if i % 4 == 1 else i}" for i in range(300)]
    test = reviews(["text 0", "text 1", "new"], [0, 0, 1])
    return ReviewData("made_up", CLASSES, reviews(texts, [0] * 200 + [1] * 100), None, test, ("a remark",))


def test_files_become_reviews():
    files = {
        "d/train/pos/1_9.txt": b"hay",
        "d/train/neg/3_1.txt": "dở".encode(),
        "d/train/neg/10_2.txt": b"bad\n",
        "d/train/pos/0_7.txt": b"",
        "d/test/pos/0_7.txt": b"other",
    }
    read = from_files(files, "d/train", 2, "d.tar.xz")
    assert read.texts == ["bad\n", "dở", "", "hay"]
    assert read.labels.dtype == np.int32
    assert read.labels.tolist() == [0, 0, 1, 1]
    assert read.names == ["train/neg/10_2", "train/neg/3_1", "train/pos/0_7", "train/pos/1_9"]


@pytest.mark.parametrize("expected", [0, 2])
def test_number_of_files(expected):
    files = {"d/train/neg/0.txt": b"x", "d/train/pos/0.txt": b"x"}
    with pytest.raises(DataError) as error:
        from_files(files, "d/train", expected, "d.tar.xz")
    assert str(error.value) == (
        f"d.tar.xz: d/train/neg/ should hold {expected} reviews, found 1: fetch the data set again"
    )


def test_not_utf_8():
    files = {"d/train/neg/0.txt": b"fine", "d/train/pos/7.txt": b"caf\xe9"}
    with pytest.raises(DataError, match=r"^d.tar.xz: d/train/pos/7.txt is not UTF-8 \(byte 3\): fetch the data"):
        from_files(files, "d/train", 1, "d.tar.xz")


def test_cut(data):
    cut = cut_validation(data, 0.2, seed=3)
    assert cut.validation is not None
    assert np.bincount(cut.validation.labels).tolist() == [40, 20]
    assert np.bincount(cut.train.labels).tolist() == [160, 80]
    assert not set(cut.train.texts) & set(cut.validation.texts)
    assert sorted(cut.train.names + cut.validation.names) == sorted(data.train.names)
    for split in (cut.train, cut.validation):
        originals = [int(name.removeprefix("train/")) for name in split.names]
        assert originals == sorted(originals)
        assert split.texts == [data.train.texts[i] for i in originals]
        np.testing.assert_array_equal(split.labels, data.train.labels[originals])
    assert (cut.test, cut.remarks) == (data.test, data.remarks)


def test_cut_follows_the_seed(data):
    first, again, other = (cut_validation(data, 0.2, seed).validation.names for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_text_that_repeats_often_is_never_split():
    train = reviews(
        ["same"] * 30 + [f"text {i}" for i in range(30)] + [f"good {i}" for i in range(10)], [0] * 60 + [1] * 10
    )
    for seed in range(20):
        cut = cut_validation(ReviewData("d", CLASSES, train, None, train), 0.5, seed)
        assert ("same" in cut.train.texts) != ("same" in cut.validation.texts)
        assert np.bincount(cut.validation.labels)[1] == 5


def test_own_validation_split_stays(data):
    own = data._replace(validation=data.test)
    assert cut_validation(own, 0.2, seed=0) is own


@pytest.mark.parametrize("share", [0.0, 0.001, 1.0, -0.1])
def test_share_that_leaves_nothing(data, share):
    with pytest.raises(DataError, match=rf"^made_up: a validation share of {share:g} takes .* of class 'negative'"):
        cut_validation(data, share, seed=0)


def test_repeats(data):
    # "text 1" was replaced by a second "text 0".
    assert repeated_in_train(data).tolist() == [True, False, False]


def test_select():
    chosen = select(reviews("abc", [0, 1, 1]), np.array([True, False, True]))
    assert (chosen.texts, chosen.labels.tolist(), chosen.names) == (["a", "c"], [0, 1], ["train/0", "train/2"])


def test_fingerprint_sees_every_change(data):
    one, two = reviews(["ab", "c"], [0, 1]), reviews(["a", "bc"], [0, 1])
    same = reviews(["ab", "c"], [0, 1])._replace(names=["x", "y"])
    base = ReviewData("d", CLASSES, one, None, two)
    assert fingerprint(base) == fingerprint(ReviewData("d", CLASSES, same, None, two))
    changed = [
        base._replace(train=two),
        base._replace(train=reviews(["ab", "c"], [1, 1])),
        base._replace(train=reviews(["c", "ab"], [0, 1])),
        base._replace(validation=one),
        base._replace(validation=reviews([], [])),
        base._replace(train=two, test=one),
    ]
    assert len({fingerprint(each) for each in [base, *changed]}) == 1 + len(changed)


def test_fingerprint_as_it_was():
    """Run folders hold it: what it is made of may not change. Half of a surrogate pair is bytes too."""
    train, test = reviews(["ăn \ud800", ""], [0, 1]), reviews(["c d"], [1])
    content = b"2 0 7 \xc4\x83n \xed\xa0\x80 1 0 " + b"none" + b"1 1 3 c d"
    assert fingerprint(ReviewData("d", CLASSES, train, None, test)) == hashlib.sha256(content).hexdigest()


class TestGroups:
    """Texts that belong together."""

    def grouped(self):
        """40 groups of 5 neighbouring texts, in no order; text 7 of group 1 is also in group 30."""
        texts = [f"text {i}" for i in range(200)]
        texts[152] = "text 7"
        order = np.random.default_rng(0).permutation(200)
        train = reviews([texts[i] for i in order], (order >= 100).astype(int))
        return ReviewData("made_up", CLASSES, train._replace(groups=(order // 5).astype(np.int32)), None, train)

    def test_connected(self):
        train = self.grouped().train
        numbers = connected(train)
        groups = np.where(train.groups == 30, 1, train.groups)  # joined by the text that both have
        for number in np.unique(numbers):
            assert len(set(groups[numbers == number].tolist())) == 1
        assert len(set(numbers.tolist())) == 39

    def test_each_text_is_a_group_of_its_own_where_none_are_given(self):
        numbers = connected(reviews(["a", "b", "a", "c"], [0, 0, 1, 1]))
        assert numbers[0] == numbers[2]
        assert len(set(numbers.tolist())) == 3

    @pytest.mark.parametrize("seed", range(5))
    def test_no_group_is_on_both_sides_of_a_cut(self, seed):
        cut = cut_validation(self.grouped(), 0.2, seed)
        assert not set(cut.train.groups.tolist()) & set(cut.validation.groups.tolist())
        assert not set(cut.train.texts) & set(cut.validation.texts)
        assert 0.1 < len(cut.validation.texts) / 200 <= 0.2
        assert len(cut.train.groups) == len(cut.train.texts)

    @pytest.mark.parametrize("seed", range(5))
    def test_groups_of_both_classes(self, seed):
        """Each class keeps its share, met within one small group, though half of the groups hold both."""
        rng = np.random.default_rng(seed)
        groups = np.sort(rng.integers(0, 60, 1_000))
        labels = np.where(groups < 30, rng.random(1_000) < 0.8, groups >= 45).astype(int)
        train = reviews([f"text {i}" for i in range(1_000)], labels)._replace(groups=groups)
        cut = cut_validation(ReviewData("made_up", CLASSES, train, None, train), 0.2, seed)
        assert not set(cut.train.groups.tolist()) & set(cut.validation.groups.tolist())
        assert {label for group, label in zip(cut.validation.groups, cut.validation.labels, strict=True) if group < 30}
        for held_out, size in zip(np.bincount(cut.validation.labels), np.bincount(labels), strict=True):
            assert 0.2 * size - 15 < held_out <= round(0.2 * size)

    def test_groups_too_large_for_the_share(self):
        train = self.grouped().train
        train = train._replace(groups=train.groups // 20)
        with pytest.raises(DataError, match=r"takes 0 of the 100 texts of class 'negative': take a share that leaves"):
            cut_validation(ReviewData("made_up", CLASSES, train, None, train), 0.2, seed=0)

    def test_select_keeps_the_groups(self):
        train = self.grouped().train
        chosen = train.labels == 1
        np.testing.assert_array_equal(select(train, chosen).groups, train.groups[chosen])
