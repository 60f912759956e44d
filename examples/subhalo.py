"""A subhalo next to an arc: how much mass sits at a known place?

The mock is lenstronomy's: a power law in shear, one small isothermal sphere on the arc, a Sersic
galaxy behind. The fit is ours: the RIM makes the source, the slope and the sphere's place are held,
the sphere's Einstein radius and all the rest are free. Ten lines, `fit`, are what a user types.

    python examples/subhalo.py

Needs lenstronomy; takes minutes.
"""

import numpy as np

import rim_lensing as rl

PLACE = (0.95, 0.75)
"""arcsec: of the subhalo, on the arc."""

TRUTH = rl.MassModel(
    lens=rl.EPL(theta_E=1.2, e1=0.08, e2=-0.05, slope=1.0),
    shear=rl.Shear(gamma1=0.03, gamma2=0.02),
    subhalo=rl.SIS(0.12, *PLACE),
)
PSF_SIGMA, FINE = 0.07, 5

TEMPERATURE = 2.0
"""Of a RIM's likelihood, which does not know the source's error: benchmarks/README.md, Posterior of
the lens. It widens errors by its square root."""


def mock(truth: rl.MassModel, noise: float, grid, seed: int = 0) -> np.ndarray:
    """Return lenstronomy's image of a Sersic galaxy behind a lens, with noise over its peak.

    Args:
        truth: The lens.
        noise: rms over the peak of the image.
        grid: Pixels of the image, such as `model.image_grid`.
        seed: Of the noise.
    """
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel
    from scipy.ndimage import gaussian_filter

    names, keywords = rl.to_lenstronomy(truth)
    x, y = grid.coordinates(FINE)
    galaxy = {"amp": 1.0, "R_sersic": 0.25, "n_sersic": 1.0, "e1": 0.1, "e2": 0.15}
    galaxy |= {"center_x": 0.08, "center_y": -0.05}
    beta = LensModel(names).ray_shooting(x, y, keywords)
    image = LightModel(["SERSIC_ELLIPSE"]).surface_brightness(*beta, [galaxy])
    image = gaussian_filter(image, PSF_SIGMA / grid.pixel_scale * FINE)
    image = image.reshape(grid.side, FINE, grid.side, FINE).mean(axis=(1, 3))
    image /= image.max()
    return image + noise * np.random.default_rng(seed).standard_normal(image.shape)


def fit(image: np.ndarray, noise: float, source_model) -> tuple[float, float]:
    """Return the subhalo's Einstein radius and its standard deviation, in arcsec."""
    scene = rl.MassModel(lens=rl.EPL(theta_E=1.15), shear=rl.Shear(), subhalo=rl.SIS(0.0, *PLACE))
    priors = {"lens.slope": 1.0, "subhalo.theta_E": (0.0, 0.5)}
    priors |= {"subhalo.x": PLACE[0], "subhalo.y": PLACE[1]}
    found = rl.optimise_lens(
        image, noise, PSF_SIGMA, source_model=source_model, start=scene, priors=priors
    )
    column = scene.index("subhalo.theta_E")
    return found.lens[column], found.std[column] * TEMPERATURE**0.5


def main() -> None:
    """Make the mock, fit it, and say what was found."""
    noise, model = 0.03, rl.load_pretrained("rim_euclid64")
    theta_E, std = fit(mock(TRUTH, noise, model.image_grid), noise, model)
    true = TRUTH.components["subhalo"].theta_E
    print(f"subhalo: theta_E = {theta_E:.3f} +- {std:.3f} arcsec (the truth: {true:g})")


if __name__ == "__main__":
    main()
