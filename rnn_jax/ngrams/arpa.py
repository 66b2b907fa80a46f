"""Models as ARPA files, which KenLM, SRILM and the decoders of speech recognizers read."""

from collections import Counter
from collections.abc import Sequence
from os import PathLike

import numpy as np

from rnn_jax.ngrams.model import NGramModel

BEGIN, END = "<s>", "</s>"
"""What these programs call the begin marker and the token that ends a sentence."""

ZERO = -99.0
"""log10 of 0, by the convention of the format."""


def write_arpa(model: NGramModel, path: str | PathLike[str], words: Sequence[str]) -> None:
    """Writes a Kneser-Ney model as text.

        \\data\\
        ngram 1=3                                   one line for each order
        \\1-grams:
        -0.30103  film  -0.17609                    log10 P(film), the word, log10 backoff(film); tabs between them

    An interpolated model fits this form: P(w | h) of an n-gram that was seen is the sum, of any other the product.

    Args:
        model: of `rnn_jax.ngrams.fit` with `smoothing="kneser_ney"`.
        path: the file, replaced where there is one.
        words: V, the name of each token, different ones without blanks. `model.end` is written as `</s>`.

    Raises: `ValueError` for a model without smoothing, which the form cannot tell, another number of words, and words
    that are empty, equal, with a blank in them, `<s>`, or `</s>` where it is not the end of a sentence.

    Source: Doug Paul's format, as "ngram-format" of the SRILM manual has it (Stolcke, "SRILM - an extensible language
    modeling toolkit", 2002).
    """
    if model.smoothing == "none":
        raise ValueError("an ARPA file cannot tell a model without smoothing: all its n-grams that were not seen")
    names = _names(model, words)
    texts = names[: model.num_tokens + 1]
    with open(path, "w", encoding="utf-8") as file:
        sizes = [len(names), *(len(table.keys) for table in model.tables[1:])]
        file.write("\\data\\\n")
        file.writelines(f"ngram {order}={size}\n" for order, size in enumerate(sizes, 1))
        for order, table in enumerate(model.tables, 1):
            if order > 1:
                histories, last = (part.tolist() for part in np.divmod(table.keys, model.num_tokens + 1))
                texts = [f"{texts[history]} {names[token]}" for history, token in zip(histories, last, strict=True)]
            probabilities, ends = _log10(table.probabilities), [""] * len(texts)
            if order < model.order:
                ends = [f"\t{weight:.7g}" for weight in _log10(model.tables[order].backoffs[:-1])]
            file.write(f"\n\\{order}-grams:\n")
            for probability, text, backoff in zip(probabilities, texts, ends, strict=True):
                file.write(f"{probability:.7g}\t{text}{backoff}\n")
            if order == 1 and model.end is None:
                file.write(f"{ZERO}\t{END}\n")
        file.write("\n\\end\\\n")


def _names(model: NGramModel, words: Sequence[str]) -> list[str]:
    """Of all unigrams: the vocabulary, the begin marker, and the end of a sentence, which readers insist on."""
    if len(words) != model.num_tokens:
        raise ValueError(f"{model.num_tokens} tokens need as many words, got {len(words)}")
    names = [END if number == model.end else word for number, word in enumerate(words)]
    names += [BEGIN] if model.end is not None else [BEGIN, END]
    wrong = [name for name, number in Counter(names).items() if number > 1 or name.split() != [name]]
    if wrong:
        raise ValueError(f"words must be different, without blanks, and none of {BEGIN} and {END}, got {wrong[:5]}")
    return names


def _log10(values: np.ndarray) -> list[float]:
    return np.log10(values, out=np.full(len(values), ZERO), where=values > 0).tolist()
