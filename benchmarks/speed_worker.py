"""Times a model of one checkout for `paired_speed.py`, which starts this program.

It imports what users of every version import: it also runs in checkouts of old commits.

    PYTHONPATH=CHECKOUT python speed_worker.py CHECKOUT MODEL MOCK.npz

reads the name of a case a line, and answers each with a line of JSON: its seconds, by wall and by
processor.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

CASES = ("one system", "16 systems", "likelihood gradient")
BATCH = 16


def main(checkout: str, model_name: str, mock_path: str) -> None:
    """Load, warm up, and answer."""
    import rim_lensing

    if not Path(rim_lensing.__file__).is_relative_to(Path(checkout).resolve()):
        sys.exit(f"error: {rim_lensing.__file__} is not the package of {checkout}")
    warnings.simplefilter("ignore")
    mock = dict(np.load(mock_path))
    runs = runners(rim_lensing.load_pretrained(model_name), mock)
    for run in runs.values():
        run()
        run()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        runs[line.strip()]()
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(json.dumps({"wall": wall, "processor": processor}), flush=True)


def runners(model, mock: dict) -> dict:
    """Return a function for each of CASES.

    Args:
        model: A RIM of the zoo.
        mock: image, noise and psf, (k, k) each, and lens, (7,).
    """
    posterior, lens = posterior_of(model, mock), mock["lens"][None].astype("float64")
    batch = {name: np.repeat(value[None], BATCH, axis=0) for name, value in mock.items()}
    functions = (
        lambda: model.reconstruct(**mock),
        lambda: model.reconstruct(**batch),
        lambda: posterior.log_posterior_and_gradient(lens),
    )
    return dict(zip(CASES, functions, strict=True))


def posterior_of(model, mock: dict):
    """Return the posterior that `optimise_lens` maximises.

    Modules and arguments have moved from version to version, the public function has not: it is
    run once, and what it makes is kept.
    """
    import rim_lensing

    module, made = sys.modules[rim_lensing.optimise_lens.__module__], []
    make = module.lens_posterior

    def kept(*arguments, **more):
        made.append(make(*arguments, **more))
        return made[-1]

    module.lens_posterior = kept
    seen = {name: mock[name] for name in ("image", "noise", "psf")}
    rim_lensing.optimise_lens(**seen, source_model=model, start=mock["lens"])
    return made[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
