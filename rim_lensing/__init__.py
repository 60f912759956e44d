"""Reconstruct strongly lensed galaxies with Recurrent Inference Machines.

The public names are imported when they are first used, so that `import rim_lensing` (and with it
the command line's `--help`) does not wait for TensorFlow.
"""

import importlib

__version__ = "0.2.0"

_PUBLIC = {
    "LensParameters": "rim_lensing.lensing.lens_parameters",
    "MassModel": "rim_lensing.lensing.mass_model",
    "Deflections": "rim_lensing.lensing.given_deflections",
    **dict.fromkeys(
        ("SIE", "EPL", "Shear", "Sheet", "SIS", "PointMass", "NFW", "Multipole"),
        "rim_lensing.lensing.mass_components",
    ),
    "load_pretrained": "rim_lensing.zoo.zoo",
    "list_pretrained": "rim_lensing.zoo.zoo",
    "LensPredictor": "rim_lensing.lens_fit.lens_predictor",
    "LensPrediction": "rim_lensing.lens_fit.lens_predictor",
    "RIMReconstructor": "rim_lensing.reconstruction.rim_reconstructor",
    "Reconstruction": "rim_lensing.results.result",
    "SourceModel": "rim_lensing.reconstruction.source_model",
    "LensLikelihood": "rim_lensing.reconstruction.lens_likelihood",
    "optimise_lens": "rim_lensing.lens_fit.optimise",
    **dict.fromkeys(("fit_cutout", "CutoutFit"), "rim_lensing.cutout_fit.cutout_fit"),
    "Verdict": "rim_lensing.cutout_fit.cutout_verdict",
    "automated_fit": "rim_lensing.lens_fit.automated_fit",
    "check_residuals": "rim_lensing.lens_fit.residual_test",
    "sample_lens_posterior": "rim_lensing.sampling.sample",
    "LensChain": "rim_lensing.sampling.lens_chain",
    "SemilinearInversion": "rim_lensing.reconstruction.semilinear_inversion",
    "LinearReconstruction": "rim_lensing.results.linear_result",
    **dict.fromkeys(
        ("from_lenstronomy", "to_lenstronomy", "from_pyautolens", "to_pyautolens"),
        "rim_lensing.lensing.other_packages",
    ),
    **dict.fromkeys(("read_coolest", "write_coolest"), "rim_lensing.lensing.coolest_files"),
    "fit_lens_light": "rim_lensing.lens_light.fit",
    "LensLight": "rim_lensing.lens_light.light",
    "joint_start": "rim_lensing.cutout_fit.joint_start",
    "JointStart": "rim_lensing.cutout_fit.joint_start",
    "LensPriors": "rim_lensing.lens_fit.lens_priors",
    "Priors": "rim_lensing.simulation.priors",
    "Mask": "rim_lensing.observation.masks",
    "noise_correlation": "rim_lensing.observation.correlated_noise",
    "Observation": "rim_lensing.observation.observation",
    "read_observation": "rim_lensing.observation.reading",
    "VisibilityObservation": "rim_lensing.observation.visibilities",
    **dict.fromkeys(
        ("fit_visibilities", "VisibilityFit"), "rim_lensing.visibility_fit.visibility_fit"
    ),
    "read_visibilities": "rim_lensing.observation.visibility_files",
    "prepare_cutout": "rim_lensing.preparation.prepared_cutout",
    "PreparedCutout": "rim_lensing.preparation.prepared_cutout",
    "SystemsWarning": "rim_lensing.observation.batch_warnings",
    "read_image": "rim_lensing.files.fits_files",
    "read_reconstruction": "rim_lensing.results.result_reader",
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
