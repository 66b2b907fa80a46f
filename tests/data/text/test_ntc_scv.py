"""The Vietnamese reviews: the language filter, a small imitation, and facts of the real files."""

import os

import numpy as np
import pytest

from rnn_jax.data.errors import DataError
from rnn_jax.data.text import ntc_scv
from rnn_jax.data.text.cleaning import clean_words
from rnn_jax.data.text.ntc_scv import vietnamese
from rnn_jax.data.text.reviews import fingerprint, repeated_in_train

pytest.importorskip("py3langid")
real = pytest.mark.skipif("RNN_JAX_DATA" not in os.environ, reason="RNN_JAX_DATA is not set")


@pytest.mark.parametrize(
    "text",
    [
        "Quán_ăn ngon , giá rẻ !",
        "An ngon , gia re , sach se mat me con gi bang",
        "Gia mac , do an thi ko tuoi , noi chung ko nen den wan nay",
        "Qua \u0301 n gâ \u0300 n nha \u0300 , like tra \u0300 xanh",
        "cake bankem coffee icecream bakery",  # names of dishes are in no language for sure
        "shop nên bổ_sung thêm nhiều loại : tiramisu , fondant , coffee mousse , passion fruit mousse , green tea",
        "👍 10/10",
        "",
    ],
)
def test_vietnamese(text):
    assert vietnamese(text)


@pytest.mark.parametrize(
    "text",
    [
        "The room is cheap ! It ' s near the city center . The staff is so nice : - D",
        "Poor_Phở , broth is merely hot water , noodles are thin and they don ' t provide all options of vegetables",
        "Les ouefs au bacon , le pain est bon , les croissants sublimes .",
        "이 곳 은 저 렴 하 면 서 도 맛 있 는 로 컬 음 식 점 입 니 다 .",
    ],
)
def test_not_vietnamese(text):
    assert not vietnamese(text)


@pytest.fixture
def imitation(tmp_path, monkeypatch):
    """Three reviews of each label in each split, one of them in English."""
    splits = {split: (folder, 3) for split, (folder, _) in ntc_scv.SPLITS.items()}
    monkeypatch.setattr(ntc_scv, "SPLITS", splits)
    for folder, _ in splits.values():
        for kind in ("neg", "pos"):
            path = tmp_path / "ntc-scv" / folder / kind
            path.mkdir(parents=True)
            (path / "1.txt").write_text(f"Quán {folder} {kind} rất ngon_lắm\n", encoding="utf-8")
            (path / "2.txt").write_text(f"Giá_cả {folder} {kind} quá đắt\n", encoding="utf-8")
            (path / "3.txt").write_text("The food was good , the staff was friendly and nice", encoding="utf-8")
    return tmp_path


def test_read(imitation):
    data = ntc_scv.read(imitation)
    assert (data.name, data.classes) == ("ntc_scv", ("negative", "positive"))
    assert [len(split.texts) for split in (data.train, data.validation, data.test)] == [4, 4, 6]
    assert data.train.names[:2] == ["data_train/train/neg/1", "data_train/train/neg/2"]
    assert data.validation.texts[3] == "Giá_cả data_train/test pos quá đắt\n"
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert clean_words(data.train.texts[0]) == "quán data_train train neg rất ngon_lắm"
    assert data.remarks == (
        "ntc_scv: dropped 2 of 6 reviews of the train split that are not in Vietnamese",
        "ntc_scv: dropped 2 of 6 reviews of the validation split that are not in Vietnamese",
        "ntc_scv: 2 of 6 reviews of the test split are not in Vietnamese (kept, so that figures compare)",
    )


def test_incomplete(imitation):
    (imitation / "ntc-scv/data_train/test/pos/2.txt").unlink()
    with pytest.raises(DataError, match=r"/ntc-scv: ntc-scv/data_train/test/pos/ should hold 3 reviews, found 2: "):
        ntc_scv.read(imitation)


def test_absent(tmp_path):
    with pytest.raises(DataError) as error:
        ntc_scv.read(tmp_path)
    assert str(error.value) == (
        f"no ntc-scv in data_dir={tmp_path}: get data_train and data_test from "
        "https://github.com/congnghia0609/ntc-scv and unpack both into ntc-scv there"
    )


def test_without_the_detector(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "py3langid.langid", None)
    ntc_scv._detector.cache_clear()
    with pytest.raises(DataError, match=r"^ntc_scv needs a language detector: pip install py3langid$"):
        vietnamese("The food was good")


@pytest.fixture(scope="module")
def files():
    return ntc_scv.read(os.environ["RNN_JAX_DATA"])


@real
def test_facts(files):
    assert np.bincount(files.test.labels).tolist() == [5_000, 5_000]
    assert [len(split.texts) for split in (files.train, files.validation, files.test)] == [29_802, 9_939, 10_000]
    assert [remark.split()[1:3] for remark in files.remarks] == [["dropped", "198"], ["dropped", "61"], ["61", "of"]]
    assert repeated_in_train(files).sum() < 16
    assert len(fingerprint(files)) == 64


@real
def test_cleaned_words_are_words(files):
    for text in files.test.texts[::20]:
        words = clean_words(text).split()
        assert words
        assert all(part.isalpha() for word in words for part in word.split("_"))
