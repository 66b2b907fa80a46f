"""Cleaning of texts, the same in training and in prediction.

`clean_markup` takes out what is no text at all; `clean_words` leaves nothing but words. Everything here runs in time
proportional to the text: no pattern can be made slow by a long run of one character, nor `nfc` by one of accents.
"""

import html
import re
import unicodedata

# Only these are taken for markup: "a < b and c > d" and "<3" are text.
TAGS = (
    "a|abbr|acronym|address|area|b|base|big|blockquote|body|br|button|caption|center|cite|code|"
    "col|dd|del|dfn|div|dl|dt|em|embed|fieldset|font|form|frame|h1|h2|h3|h4|h5|h6|head|hr|"
    "html|i|iframe|img|input|ins|kbd|label|legend|li|link|map|meta|nobr|object|ol|option|p|"
    "param|pre|q|s|samp|script|select|small|span|strike|strong|style|sub|sup|table|tbody|td|"
    "textarea|tfoot|th|thead|title|tr|tt|u|ul|var|video"
)
ANGLES = re.compile(r"<([^<>]*+)>")
# What stands between the angles: an opening tag, a closing one, or one with a first attribute. Some data sets have
# blanks inside; an opening tag alone has none at its start, or "a < b > c" would lose its b.
TAG = re.compile(
    rf"(?:{TAGS})\s*+/?+\s*+|\s?/\s?(?:{TAGS})\s*+|\s?(?:{TAGS})\s++[a-z:-]++\s*+=.*+|!--.*--",
    re.IGNORECASE | re.DOTALL,
)
# With its semicolon and of bounded length: "AT&T" is no entity, and a number of a million digits is none either.
ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
URL = re.compile(r"(?:\bhttps?\s?:\s?/\s?/\s?|\bwww\.)\S*+", re.IGNORECASE)
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x9f]")
# Soft hyphens, zero-width blanks, marks of direction and private use characters: not seen, so nothing in their place.
UNSEEN = re.compile(r"[\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ue000-\uf8ff]")

# Emoticons with letters in them; all others go with the punctuation. Lower case, some with blanks inside.
EMOTICON = re.compile(
    r"[:;=]\s?-?\s?(?:d+|p+|v+|o|s)(?!\w)"  # :D :p =v ;o
    r"|(?<!\w)xd+(?!\w)"  # xD xDD
    r"|(?<!\w)([toux])\s?_\s?\1(?!\w)"  # T_T o_o
    r"|\^\s?[ov]\s?\^"  # ^o^
    r"|\(\s?y\s?\)"  # (y), thumbs up
)
# A tone or vowel mark that was cut off its letter, and the end of that syllable: "râ ́ t ngon" is "rất ngon".
# c, ch, i, m, n and so on end syllables and hardly ever stand alone.
CUT_MARK = re.compile(
    r"(?<=[^\W\d_])\s?([\u0300-\u0303\u0306\u0309\u031b\u0323]+)(?:\s(ch|ng|nh|[acimnoptuy])(?![\w\u0300-\u036f]))?"
)
LOOSE_UNDERSCORE = re.compile(r"(?<![^\W\d_])_|_(?![^\W\d_])")
LOOSE_MARK = re.compile(r"(?<!\S)[\u0300-\u036f]++")

MOST_MARKS = 30
"""On one letter. No language has more than a few; to put n of them in order takes a time of n^2."""

# Marks are neither letters nor blanks. Only runs long enough to have too many of them are looked at.
MANY_MARKS = re.compile(rf"[^\w\s]{{{MOST_MARKS + 1},}}")


def clean_markup(text: str) -> str:
    """Takes out what is no text: tags, entities, web addresses, control characters; lower case, single blanks.

    Punctuation and digits stay. Unicode is in NFC, so that a letter with its accent is one character.

    >>> clean_markup("A <b>GREAT</b> film.<br /><br />10/10 &amp; more: http://example.com/x <3")
    'a great film. 10/10 & more: <3'
    >>> clean_markup("if a < b and c > d")
    'if a < b and c > d'
    >>> clean_markup("< a class = ' link ' href = ' / x ' > # Cake </a>")
    '# cake'
    """
    text = ANGLES.sub(_blank_for_tag, text)
    text = ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = URL.sub(" ", text)
    text = UNSEEN.sub("", CONTROLS.sub(" ", text))
    return " ".join(nfc(text.lower()).split())


def nfc(text: str) -> str:
    """The text in NFC, without the marks that are too many on their letter, see `MOST_MARKS`.

    Source: Unicode Standard Annex 15, "Unicode normalization forms", section 13, the stream-safe text format.

    >>> len(nfc("a" + "\u0323\u0301" * 500_000))
    30
    """
    return unicodedata.normalize("NFC", MANY_MARKS.sub(_few_marks, text))


def clean_words(text: str) -> str:
    """The text as of `clean_markup`, and of it nothing but words: no punctuation, digits, emoticons, emoji or flags.

    An underscore between two letters stays, as it joins the syllables of a Vietnamese word. Accents that a blank cuts
    off their letter, as some keyboards and tokenizers leave them, go back to it.

    >>> clean_words("Quán_ăn rất NGON :D =)) <3 ^^ 10/10 , giá 45k ! ! _ \U0001f1fb\U0001f1f3\u2764\ufe0f")
    'quán_ăn rất ngon giá k'
    >>> clean_words("phu \u0323 c vu \u0323 râ \u0301 t tô \u0301 t")
    'phục vụ rất tốt'
    """
    text = EMOTICON.sub(" ", clean_markup(text))
    text = text.translate(_KEPT)
    text = " ".join(LOOSE_UNDERSCORE.sub(" ", text).split())
    text = CUT_MARK.sub(r"\1\2", text)
    return " ".join(nfc(LOOSE_MARK.sub(" ", text)).split())


def _few_marks(match: re.Match[str]) -> str:
    kept, marks = [], 0
    for character in match[0]:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def _blank_for_tag(match: re.Match[str]) -> str:
    return " " if TAG.fullmatch(match[1]) else match[0]


class _Kept(dict[int, int]):
    """For `str.translate`: letters, their marks and the underscore stay, all else becomes a blank."""

    def __missing__(self, code: int) -> int:
        category = unicodedata.category(chr(code))
        # Variation selectors choose how an emoji looks and are marks only by their category.
        selector = 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF
        keep = category[0] == "L" or (category in {"Mn", "Mc"} and not selector) or code == ord("_")
        self[code] = code if keep else ord(" ")
        return self[code]


_KEPT = _Kept()
