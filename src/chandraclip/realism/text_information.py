"""What texts give away of a source: its class, and its properties.

A text that names the class makes alignment a matter of reading a label; one that says nothing of the column or the
temperature cannot be aligned with a spectrum. Both are measured by the plainest reader there is, a linear model on
TF-IDF, cross-validated by source; it reads no grammar, so it bounds from below what texts hold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline

from chandraclip.errors import InputFileError

COLUMNS = (
    "name",
    "summary",
    "source_class",
    "true_class",
    "true_spectrum",
    "true_nh",
    "true_gamma",
    "true_kt",
    "true_flux_b",
)
MIN_VALUES = 200  # fewer sources with a property give no R2 worth having
# Numbers are words: "22.3", "10^-14", "kt".
TOKEN = r"[a-z][a-z0-9'^-]*|10\^-?\d+|\d+(?:\.\d+)?"
WORD = re.compile(r"[A-Za-z][A-Za-z'-]+")


@dataclass(frozen=True)
class TextInformation:
    """What a linear model on TF-IDF reads from N texts, one a source.

    Attributes:
        balanced_accuracy: of the class; NaN where fewer than two classes are there.
        r2: property -> R2 of ridge regression.
        num_words: median words a text. num_word_types: different alphabetic words, case aside, of all texts.
    """

    balanced_accuracy: float
    r2: dict[str, float]
    num_words: float
    num_word_types: int


def text_information(
    texts: Sequence[str],
    source_class: np.ndarray,
    properties: dict[str, np.ndarray],
    num_folds: int = 5,
    seed: int = 0,
) -> TextInformation:
    """Cross-validated; every row must be another source, so that folds are split by source.

    Args:
        texts: N. source_class: (N,) names; an empty one is left out.
        properties: name -> (N,) values, NaN where a source has none; less than `MIN_VALUES` are left out.

    Raises:
        ValueError: lengths differ, or there are fewer texts than folds.
    """
    lengths = {len(texts), len(source_class), *map(len, properties.values())}
    if len(lengths) != 1 or len(texts) < num_folds:
        raise ValueError(f"texts, classes and properties must be of one length, at least {num_folds}, not {lengths}")
    folds = KFold(num_folds, shuffle=True, random_state=seed)
    label = np.asarray(source_class)
    labelled = np.flatnonzero(label != "")
    balanced_accuracy = float("nan")
    if len(np.unique(label[labelled])) >= 2:
        classifier = make_pipeline(_words(), LogisticRegression(C=10.0, class_weight="balanced", max_iter=300))
        guess = cross_val_predict(classifier, [texts[row] for row in labelled.tolist()], label[labelled], cv=folds)
        balanced_accuracy = float(balanced_accuracy_score(label[labelled], guess))
    r2 = {}
    for name, value in properties.items():
        rows = np.flatnonzero(np.isfinite(value))
        if len(rows) >= MIN_VALUES:
            model: Pipeline = make_pipeline(_words(), Ridge(1.0))
            guess = cross_val_predict(model, [texts[row] for row in rows.tolist()], value[rows], cv=folds)
            r2[name] = float(r2_score(value[rows], guess))
    return TextInformation(
        balanced_accuracy=balanced_accuracy,
        r2=r2,
        num_words=float(np.median([len(text.split()) for text in texts])),
        num_word_types=len({word.lower() for text in texts for word in WORD.findall(text)}),
    )


def information_of_dataset(dataset: Path, max_sources: int) -> tuple[int, TextInformation] | None:
    """Number of texts read, and what those of a simulated dataset give away: one a source, the first `max_sources`.

    The temperature is that of sources whose main component is thermal, the slope that of power laws.

    Returns:
        None where the dataset has no texts, or no truth to compare them with.

    Raises:
        InputFileError: no dataset.
    """
    files = sorted((dataset / "data").glob("*.parquet"))
    if not files:
        raise InputFileError(dataset, "no data/*.parquet here, so no dataset that scripts/build_dataset.py built")
    if any(set(COLUMNS) - set(pq.read_schema(file).names) for file in files):
        return None
    frame = pd.concat([pq.read_table(file, columns=list(COLUMNS)).to_pandas() for file in files])
    frame = frame.dropna(subset="summary").drop_duplicates("name").iloc[:max_sources]
    if frame.empty:
        return None
    powerlaw = frame["true_spectrum"].str.startswith("powerlaw").to_numpy(bool)
    return len(frame), text_information(
        frame["summary"].tolist(),
        frame["true_class"].where(frame["source_class"].notna(), "").to_numpy(str),
        {
            "log N_H": np.log10(frame["true_nh"].to_numpy(float)),
            "photon index": np.where(powerlaw, frame["true_gamma"], np.nan),
            "log kT": np.where(powerlaw, np.nan, np.log10(frame["true_kt"].to_numpy(float))),
            "log flux": np.log10(frame["true_flux_b"].to_numpy(float)),
        },
    )


def _words() -> TfidfVectorizer:
    return TfidfVectorizer(token_pattern=TOKEN, min_df=3, sublinear_tf=True)
