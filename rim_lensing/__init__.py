"""Reconstruct strongly lensed galaxies with Recurrent Inference Machines.

The public names are imported when they are first used, so that `import rim_lensing` (and with it
the command line's `--help`) does not wait for TensorFlow.
"""

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "LensParameters": "rim_lensing.lensing.lens_parameters",
    "load_pretrained": "rim_lensing.zoo",
    "list_pretrained": "rim_lensing.zoo",
    "LensPredictor": "rim_lensing.inference.lens_predictor",
    "LensPrediction": "rim_lensing.inference.lens_predictor",
    "RIMReconstructor": "rim_lensing.inference.rim_reconstructor",
    "Reconstruction": "rim_lensing.inference.result",
    "optimise_lens": "rim_lensing.inference.optimise",
    "automated_fit": "rim_lensing.inference.automated_fit",
    "check_residuals": "rim_lensing.inference.residual_test",
    "sample_lens_posterior": "rim_lensing.inference.sample",
    "LensChain": "rim_lensing.inference.lens_chain",
    "SemilinearInversion": "rim_lensing.inference.semilinear_inversion",
    "LinearReconstruction": "rim_lensing.inference.semilinear_inversion",
    "Priors": "rim_lensing.simulation.priors",
    "noise_correlation": "rim_lensing.inference.correlated_noise",
    "read_image": "rim_lensing.io",
    "read_reconstruction": "rim_lensing.io",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str):
    """Import a public name on first use (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    """Names that completion offers."""
    return sorted(__all__)
