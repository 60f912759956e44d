"""How wide a lens CNN's intervals are, decided after its training.

Perreault Levasseur et al. (2017) tune the dropout rate until the intervals cover as often as they
claim. One rate is one number, for seven parameters, and dropout can only make intervals wider. So
here the rate is the one whose predictions make the truth most probable, and what is left is taken
up by a factor for the standard deviations of theta_E, of the two components of the ellipticity, of
the centre, and of the shear: a pair shares its factor, for nothing on the sky prefers a direction.
The errors are not Gaussian all the same, so the intervals have factors of their own, one for each
level: what would have held the truth as often as they claim (split conformal prediction).

All choices are made on development galaxies, which the network was not trained on and which are
not those of the validation set. Intervals have to hold for galaxies of a file and for procedural
ones: half of the systems have the ones, half the others.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from rim_lensing.galaxies.galaxy_pool import development_galaxies
from rim_lensing.lens_fit.intervals import LEVELS, measure_predictions
from rim_lensing.lens_fit.lens_predictor import LensPrediction, combine, prediction_draws
from rim_lensing.networks.lens_cnn import LensCNN
from rim_lensing.simulation.mock_observations import MockObservations, MockSimulator, concatenate
from rim_lensing.simulation.priors import Priors

RATES = (0.0, 0.01, 0.03, 0.05, 0.1)
"""0 shows what dropout does; it is not chosen, since then nothing would be dropped."""

CALIBRATION_SYSTEMS = 1000
_PAIRS = ((0,), (1, 2), (3, 4), (5, 6))
_SEED = 20170817
_BATCH = 16


@dataclass(frozen=True)
class Calibration:
    """The outcome.

    Args:
        network: With the chosen dropout rate; its weights are those of the training.
        std_factors: Of the seven standard deviations.
        interval_factors: Half-widths of the intervals of LEVELS over these, (2, 7).
        systems: How many systems were looked at.
        scan: For each rate (JSON): dropout; score, the mean over systems and parameters of
            -log N(true; mean, (factor std)^2) without its constant, smaller is better; std_factors
            and interval_factors;
            uncalibrated and calibrated, what `measure_predictions` gives without and with them.
    """

    network: LensCNN
    std_factors: tuple[float, ...]
    interval_factors: tuple[tuple[float, ...], ...]
    systems: int
    scan: list[dict]


def calibrate(
    network: LensCNN,
    galaxies: str | Path | None = None,
    systems: int = CALIBRATION_SYSTEMS,
    rates: tuple[float, ...] = RATES,
) -> Calibration:
    """Choose dropout rate and factors, with progress bars.

    Args:
        network: Trained.
        galaxies: File of `train/prepare_galaxies.py`, whose development galaxies are used beside
            procedural ones.
        systems: How many systems are simulated for it.
        rates: Dropout rates to try; at least one of them above 0.
    """
    mocks = _development_systems(network, galaxies, systems)
    inputs = {name: getattr(mocks, name) for name in ("image", "noise", "psf")}
    scan = []
    draws = prediction_draws(network)
    for rate in tqdm(rates, desc="dropout rates"):
        prediction = combine(*with_dropout(network, rate).passes(inputs, draws))
        factors = fit_std_factors(mocks.lens, prediction)
        std = prediction.std * factors
        scan.append(
            {
                "dropout": rate,
                "score": score(mocks.lens, prediction.lens, std),
                "std_factors": _rounded(factors),
                "interval_factors": [
                    _rounded(fit_interval_factors(mocks.lens, prediction.lens, std, level))
                    for level in LEVELS
                ],
                "uncalibrated": measure_predictions(mocks.lens, prediction.lens, prediction.std),
                "calibrated": measure_predictions(mocks.lens, prediction.lens, std),
            }
        )
    best = min((row for row in scan if row["dropout"] > 0), key=lambda row: row["score"])
    return Calibration(
        network=with_dropout(network, best["dropout"]),
        std_factors=tuple(best["std_factors"]),
        interval_factors=tuple(map(tuple, best["interval_factors"])),
        systems=systems,
        scan=scan,
    )


def with_dropout(network: LensCNN, rate: float) -> LensCNN:
    """Return the network with another dropout rate and the same weights."""
    other = LensCNN(replace(network.config, dropout=rate))
    other.build()
    other.set_weights(network.get_weights())
    return other


def fit_std_factors(true: np.ndarray, prediction: LensPrediction) -> np.ndarray:
    """Return the factors (7,) by which standard deviations are too small.

    One factor makes the 68% interval exact, another the 95% interval, unless errors are Gaussian:
    this is their geometric mean.

    Args:
        true: Lenses, (systems, 7).
        prediction: Of the same systems.
    """
    deviations = np.abs(prediction.lens - true) / prediction.std
    factors = np.empty(true.shape[1])
    for pair in _PAIRS:
        at_68, at_95 = np.quantile(deviations[:, pair], (0.6827, 0.95))
        factors[list(pair)] = np.sqrt(at_68 * at_95 / 1.96)
    return factors


def fit_interval_factors(
    true: np.ndarray, mean: np.ndarray, std: np.ndarray, level: float
) -> np.ndarray:
    """Return the half-widths (7,) over `std` of intervals that hold the truth at a rate of `level`.

    Args:
        true: Lenses, (systems, 7).
        mean: Predicted, (systems, 7).
        std: Their standard deviations, (systems, 7).
        level: Between 0 and 1.
    """
    deviations = np.abs(mean - true) / std
    factors = np.empty(true.shape[1])
    for pair in _PAIRS:
        values = deviations[:, pair]
        # One more system than there are is the next one (Papadopoulos et al. 2002).
        rank = min(1.0, level * (values.size + 1) / values.size)
        factors[list(pair)] = np.quantile(values, rank, method="higher")
    return factors


def _rounded(factors: np.ndarray) -> list[float]:
    return [round(float(factor), 4) for factor in factors]


def score(true: np.ndarray, mean: np.ndarray, std: np.ndarray) -> float:
    """Return the mean of -log N(true; mean, std^2) without its constant; smaller is better."""
    return float(np.mean(0.5 * ((true - mean) / std) ** 2 + np.log(std)))


def _development_systems(
    network: LensCNN, galaxies: str | Path | None, systems: int
) -> MockObservations:
    """Simulate systems with the paper's priors, as those of the validation set are."""
    origins = [None, galaxies] if galaxies else [None]
    simulators = [
        MockSimulator(development_galaxies(origin), Priors(), network.config) for origin in origins
    ]
    generator = np.random.default_rng(_SEED)
    parts = []
    with tqdm(total=systems, desc="development systems", unit="system") as bar:
        for number, start in enumerate(range(0, systems, _BATCH)):
            simulator = simulators[number % len(simulators)]
            parts.append(simulator.draw(generator, min(_BATCH, systems - start)))
            bar.update(len(parts[-1].lens))
    return concatenate(parts)
