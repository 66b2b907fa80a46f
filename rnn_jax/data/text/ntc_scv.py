"""Restaurant reviews in Vietnamese: 30,000 to train on, 10,000 to validate and 10,000 to test on, half positive.

Source: NTC-SCV, reviews of Foody.vn collected by the authors of the blog Street Code VN,
https://github.com/congnghia0609/ntc-scv. The texts are already cut into words: `_` joins the syllables of a word.

A few hundred reviews are in another language, nearly all of them in English. They are dropped from the training and the
validation split. The test split is kept whole, so that figures compare with those of others.
"""

import importlib
import re
from functools import cache
from os import PathLike
from typing import Any

import numpy as np

from rnn_jax.data.errors import DataError
from rnn_jax.data.text import archive, cleaning
from rnn_jax.data.text.reviews import CLASSES, ReviewData, Reviews, from_files, select

__all__ = ["CLASSES", "NAME", "read", "vietnamese"]

NAME = "ntc_scv"
"""Of the data set, as its texts and results carry it."""

FOLDER = "ntc-scv"
ARCHIVES = ("ntc-scv.tar.xz", "ntc-scv.tar.gz")
MEMBERS = re.compile(r"ntc-scv/(?:data_train/train|data_train/test|data_test/test)/(?:neg|pos)/[^/]+\.txt")
# Which of the two folders named test is for validation: as in most published code, that beside the training data.
SPLITS = {
    "train": ("data_train/train", 15_000),
    "validation": ("data_train/test", 5_000),
    "test": ("data_test/test", 5_000),
}


# Letters that Vietnamese has and hardly any other language.
VIETNAMESE_LETTER = re.compile("[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]")
ENOUGH_LETTERS = 0.1
"""A text with this share of such letters is Vietnamese; the detector is not asked, which saves nearly all the time."""

LANGUAGES = ("vi", "en", "fr", "de", "es", "it", "nl", "ru", "zh", "ja", "ko", "th")
"""What the detector chooses from: among all it knows, Vietnamese without accents passes for Creole or Acehnese."""

SURE = 0.9
"""A review is dropped only if another language is at least this probable: Vietnamese without accents, slang and lists
of dishes are doubtful, English is not."""


def read(data_dir: str | PathLike[str]) -> ReviewData:
    """Reads the folder `ntc-scv` of `data_dir`, or the archive `ntc-scv.tar.xz` or `ntc-scv.tar.gz`.

    The texts are raw; `cleaning.clean_words` is what to apply to them.

    Returns:
        Three splits; remarks say how many reviews are not Vietnamese, see `vietnamese`.

    Raises:
        DataError: neither folder nor archive, with where to get it; files missing or damaged.
    """
    files = archive.read_members(data_dir, FOLDER, ARCHIVES, MEMBERS)
    if files is None:
        raise DataError(
            f"no {FOLDER} in data_dir={data_dir}: get data_train and data_test from "
            f"https://github.com/congnghia0609/ntc-scv and unpack both into {FOLDER} there"
        )
    source = str(archive.find(data_dir, FOLDER, ARCHIVES))
    splits = {
        split: from_files(files, f"{FOLDER}/{folder}", expected, source) for split, (folder, expected) in SPLITS.items()
    }
    kept, remarks = {}, []
    for split, reviews in splits.items():
        kept[split], remark = _filtered(reviews, split)
        remarks.append(remark)
    return ReviewData(NAME, CLASSES, kept["train"], kept["validation"], kept["test"], tuple(remarks))


def vietnamese(text: str) -> bool:
    """Whether a text is in Vietnamese, or may be; with accents or without.

    >>> vietnamese("Quán_ăn rất ngon"), vietnamese("Do an ngon , gia re , se quay lai")
    (True, True)
    >>> vietnamese("The food was slow and not that good")
    False
    """
    plain = cleaning.nfc(text.lower())
    if len(VIETNAMESE_LETTER.findall(plain)) > ENOUGH_LETTERS * len(plain):
        return True
    language, probability = _detector().classify(cleaning.clean_words(text).replace("_", " "))
    return language == "vi" or probability < SURE


def _filtered(reviews: Reviews, split: str) -> tuple[Reviews, str]:
    right = np.array([vietnamese(text) for text in reviews.texts])
    number = f"{np.sum(~right):,} of {len(right):,} reviews"
    if split == "test":
        return reviews, f"{NAME}: {number} of the test split are not in Vietnamese (kept, so that figures compare)"
    return select(reviews, right), f"{NAME}: dropped {number} of the {split} split that are not in Vietnamese"


@cache
def _detector() -> Any:
    """The detector of M. Lui and T. Baldwin, "langid.py: An Off-the-shelf Language Identification Tool", ACL 2012."""
    # Imported where it is used: a list of data sets can be shown, and the others read, without this package.
    try:
        langid: Any = importlib.import_module("py3langid.langid")
    except ImportError as error:
        raise DataError(f"{NAME} needs a language detector: pip install py3langid") from error
    detector = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    detector.set_languages(LANGUAGES)
    return detector
