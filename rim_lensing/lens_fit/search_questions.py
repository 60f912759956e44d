"""What a search for the lens asks of a posterior, and the answers to several searches at once."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from rim_lensing.lens_fit.lens_posterior import LensPosterior


class Wanted(StrEnum):
    """What is asked of lenses (k, f), and the shape of the answer."""

    VALUES = "log-posteriors, (k,)"
    GRADIENTS = "log-posteriors (k,) and their gradients (k, f)"
    RESIDUALS = "log-posteriors (k,), and residuals over the noise, made white, (k, pixels)"


@dataclass(frozen=True)
class Question:
    """What a search asks.

    Args:
        lenses: Free parameters, (k, f).
        wanted: Of them.
    """

    lenses: np.ndarray
    wanted: Wanted = Wanted.VALUES


def answer(posterior: LensPosterior, questions: list[Question]) -> list:
    """Return the answer to each question; those of a kind are one batch of sources."""
    replies: list = [None] * len(questions)
    for wanted in Wanted:
        indices = [i for i, question in enumerate(questions) if question.wanted is wanted]
        if not indices:
            continue
        cuts = np.cumsum([len(questions[i].lenses) for i in indices])[:-1]
        lenses = np.concatenate([questions[i].lenses for i in indices])
        if wanted is Wanted.VALUES:
            found = np.split(posterior.log_posterior(lenses), cuts)
        else:
            if wanted is Wanted.GRADIENTS:
                both = posterior.log_posterior_and_gradient(lenses)
            else:
                both = _values_and_residuals(posterior, lenses)
            found = zip(*(np.split(each, cuts) for each in both), strict=True)
        for i, reply in zip(indices, found, strict=True):
            replies[i] = reply
    return replies


def _values_and_residuals(posterior: LensPosterior, lenses: np.ndarray):
    residuals = posterior.residuals(lenses) / np.sqrt(posterior.temperature)
    likelihood = -0.5 * np.sum(residuals**2, axis=1)
    return likelihood + posterior.support.log_prior(lenses), residuals
