"""The raw mocks: frozen, adding up, with the noise and the lens that their truth says."""

import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import raw_mocks  # noqa: E402
from raw_mock_planes import (  # noqa: E402
    FINE,
    SOURCE_PIXEL,
    drizzle_correlation,
    drizzled_noise,
    half_light_radius,
    lens_model,
    moffat,
    on_pixels,
)
from raw_mock_recipe import DEVELOPMENT, FROZEN, draw_truth, kind_of  # noqa: E402

FROZEN_DIGEST = "f0447f1f28c41cfe97de2a4cf13bce08f934061c6f8a7381de294ce9d9502377"


def numbers_of(value):
    """All numbers and words of a truth, in order, floats as the four bytes of a float32."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield key.encode()
            yield from numbers_of(value[key])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from numbers_of(each)
    elif isinstance(value, str | bool):
        yield str(value).encode()
    else:
        yield np.float32(value).tobytes()


@pytest.fixture(scope="module")
def mocks():
    made = {}

    def make(index):
        if index not in made:
            made[index] = raw_mocks.raw_mock(index)
        return made[index]

    return make


def test_the_frozen_mocks_are_frozen():
    digest = hashlib.sha256()
    for index in range(FROZEN):
        for part in numbers_of(draw_truth(index)[0]):
            digest.update(part)
    assert digest.hexdigest() == FROZEN_DIGEST


def test_shares_of_kinds_are_those_of_the_recipe():
    assert Counter(kind_of(index) for index in range(FROZEN)) == {
        "lens": 170, "elliptical": 10, "ring": 10, "quasar": 10,
    }  # fmt: skip
    assert DEVELOPMENT >= FROZEN


@pytest.mark.parametrize("kind", ["lens", "elliptical", "ring", "quasar"])
def test_planes_and_sky_add_up_to_the_image(mocks, kind):
    index = next(i for i in range(1000, 1020) if kind_of(i) == kind)
    observed, truth = mocks(index)
    planes = truth["planes"]
    names = ("LIGHT", "ARCS", "NEIGHBOURS", "RAYS", "NOISE")
    total = sum(planes[name] for name in names) + truth["sky"]
    known = np.isfinite(observed["image"])
    np.testing.assert_allclose(observed["image"][known], total[known], rtol=1e-10)
    assert (planes["ARCS"].max() > 0) == (kind in ("lens", "quasar"))
    assert observed["psf"].sum() == pytest.approx(1)
    assert observed["psf"].shape[0] % 2 == 1


def test_the_noise_map_is_wrong_by_the_factor_that_the_truth_says(mocks):
    ratios = []
    for index in (1000, 1003, 1005):
        observed, truth = mocks(index)
        used = observed["noise"] < 1e7
        scatter = (truth["planes"]["NOISE"] / observed["noise"])[used].std()
        ratios.append(scatter * truth["noise_map_factor"])
    np.testing.assert_allclose(ratios, 1, atol=0.02)


@pytest.mark.parametrize("share", [0.08, 0.18])
def test_the_noise_is_correlated_as_the_recipe_says(share):
    noise = drizzled_noise(np.random.default_rng(0), 1200, share)
    expected = drizzle_correlation(share)
    measured = [
        [np.mean((noise * np.roll(noise, (i, j), (0, 1)))[3:-3, 3:-3]) for j in range(-3, 4)]
        for i in range(-3, 4)
    ]
    np.testing.assert_allclose(measured, expected, atol=5e-3)


def test_arcs_keep_the_surface_brightness_of_the_source(mocks):
    """Rays of the arcs' bright pixels hit the source where it is as bright, but for the PSF."""
    observed, truth = mocks(1014)
    arcs, source = truth["planes"]["ARCS"], truth["planes"]["SOURCE"]
    side, scale = truth["side"], truth["pixel_scale"]
    y, x = (np.indices(arcs.shape) - (side - 1) / 2) * scale
    model, keywords = lens_model(truth["lens"])
    bright = arcs > 0.5 * arcs.max()
    hit_x, hit_y = model.ray_shooting(x[bright], y[bright], keywords)
    half = len(source) // 2
    rows = np.round((hit_y - truth["lens"]["y"]) / SOURCE_PIXEL).astype(int) + half
    columns = np.round((hit_x - truth["lens"]["x"]) / SOURCE_PIXEL).astype(int) + half
    seen = source[rows, columns]
    assert np.corrcoef(seen, arcs[bright])[0, 1] > 0.3
    assert 0.7 < np.median(arcs[bright] / seen) < 1.3
    assert truth["magnification"] > 1.5
    noise = truth["rms"] * np.sqrt(
        1 + (arcs + truth["planes"]["LIGHT"]) / truth["exposure"] / truth["rms"] ** 2
    )
    assert (arcs / noise).max() == pytest.approx(truth["source"]["peak_signal_to_noise"])


def test_images_of_a_quasar_are_of_one_point(mocks):
    observed, truth = mocks(1019)
    images = truth["quasar_images"]
    assert len(images) >= 2
    model, keywords = lens_model(truth["lens"])
    x, y = (np.array([image[name] for image in images]) for name in "xy")
    hit = np.array(model.ray_shooting(x, y, keywords))
    place = np.array([truth["source"]["x"], truth["source"]["y"]])
    np.testing.assert_allclose(hit, np.repeat(place[:, None], len(x), 1), atol=1e-3)


def test_a_psf_on_image_pixels_is_the_fine_one_summed():
    kernel = moffat(0.1, 3.0, 0.01)
    coarse = on_pixels(kernel)
    assert coarse.sum() == pytest.approx(1)
    middle, half = len(kernel) // 2, FINE // 2
    around = slice(middle - half, middle + half + 1)
    assert coarse.max() == pytest.approx(kernel[around, around].sum())
    assert coarse[len(coarse) // 2, len(coarse) // 2] == coarse.max()


def test_half_light_radius_of_a_gaussian():
    y, x = np.indices((121, 121)) - 60
    assert half_light_radius(np.exp(-0.5 * (x**2 + y**2) / 10**2)) == pytest.approx(
        10 * np.sqrt(2 * np.log(2)), abs=0.3
    )


def test_the_command_writes_what_is_missing(tmp_path):
    command = ["--output", str(tmp_path), "--first", "1003", "--count", "1"]
    assert raw_mocks.main(command) == 0
    import rim_lensing

    file = tmp_path / "raw_mock_1003.fits"
    observed = rim_lensing.read_observation(f"{file}[IMAGE]", f"{file}[NOISE]", f"{file}[PSF]")
    truth = json.loads((tmp_path / "raw_mock_1003.json").read_text())
    assert observed.pixel_scale == pytest.approx(truth["pixel_scale"])
    written = file.stat().st_mtime_ns
    assert raw_mocks.main(command) == 0
    assert file.stat().st_mtime_ns == written


def test_the_raw_lens_that_is_bundled_is_a_mock():
    from astropy.io import fits

    from rim_lensing.demo import RAW_DEMO_FILE, RAW_DEMO_LENS

    observed, truth = raw_mocks.raw_mock(2021)
    assert truth["lens"] == pytest.approx(RAW_DEMO_LENS, abs=1e-5)
    with fits.open(RAW_DEMO_FILE) as file:
        for name in ("image", "noise", "psf"):
            np.testing.assert_allclose(
                file[name.upper()].data, observed[name], rtol=1e-4, atol=1e-6
            )
    assert RAW_DEMO_FILE.stat().st_size < 400_000
