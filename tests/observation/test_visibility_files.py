"""Visibilities from files, written here by astropy and NumPy from the formula of a point."""

import numpy as np
import pytest
from astropy.io import fits

from rim_lensing.observation.visibility_files import read_visibilities

RADIANS = np.pi / 180 / 3600
LIGHT = 299792458.0
EAST, NORTH = 0.4, -0.7


def point(u, v, sign=1):
    return np.exp(sign * 2j * np.pi * RADIANS * (u * EAST + v * NORTH))


def metres(count=20):
    return np.random.default_rng(0).normal(0, 300, (2, count))


def check_point(seen, x=-EAST, y=NORTH):
    """By the definition in VisibilityObservation, East on the left."""
    expected = np.exp(-2j * np.pi * RADIANS * (seen.u * x + seen.v * y))
    used = seen.weights > 0
    np.testing.assert_allclose(seen.visibilities[used], expected[used], atol=1e-5)


def write_uvfits(path, frequencies, windows=1, hands=(-5, -6)):
    """As CASA's exportuvfits writes it, but for the AN table; the last hand's first is flagged."""
    u, v = metres()
    channels, step = frequencies, frequencies[1] - frequencies[0]
    offsets = 2e9 * np.arange(windows)
    full = (offsets[:, None] + channels) / LIGHT
    vis = point(u[:, None, None] * full, v[:, None, None] * full)
    data = np.zeros((len(u), 1, 1, windows, len(channels), len(hands), 3), "float32")
    data[..., 0], data[..., 1] = (
        vis.real[:, None, None, ..., None],
        vis.imag[:, None, None, ..., None],
    )
    data[..., 2] = 4.0
    data[0, ..., 0, -1, :] = [99, 99, -4]
    first, second = np.arange(20) % 4 + 1, np.arange(20) % 4 + 6
    pars = ["UU---SIN", "VV---SIN", "WW---SIN", "DATE", "DATE", "BASELINE"]
    values = [u / LIGHT, v / LIGHT, 0 * u, np.full(20, 2459000.5), np.arange(20.0) / 86400]
    values.append(256.0 * first + second)
    groups = fits.GroupData(data, bitpix=-32, parnames=pars, pardata=values)
    hdu = fits.GroupsHDU(groups)
    axes = ("COMPLEX", "STOKES", "FREQ", "IF", "RA", "DEC")
    for i, name in enumerate(axes, 2):
        hdu.header[f"CTYPE{i}"], hdu.header[f"CRPIX{i}"] = name, 1.0
        hdu.header[f"CRVAL{i}"], hdu.header[f"CDELT{i}"] = 1.0, 1.0
    hdu.header["CRVAL3"] = hands[0]
    hdu.header["CDELT3"] = hands[1] - hands[0] if len(hands) > 1 else -1
    hdu.header["CRVAL4"], hdu.header["CDELT4"], hdu.header["CRPIX4"] = channels[1], step, 2.0
    hdus = [hdu]
    if windows > 1:
        column = fits.Column("IF FREQ", f"{windows}D", array=offsets[None])
        hdus.append(fits.BinTableHDU.from_columns([column], name="AIPS FQ"))
    fits.HDUList(hdus).writeto(path)


@pytest.mark.parametrize("windows", [1, 2])
def test_uvfits(tmp_path, windows):
    write_uvfits(tmp_path / "a.uvfits", 230e9 + 1e8 * np.arange(4), windows)
    seen = read_visibilities(tmp_path / "a.uvfits")
    assert len(seen) == 20 * windows * 4 * 2
    check_point(seen)
    assert np.sum(seen.weights == 0) == windows and set(seen.weights) == {0.0, 4.0}
    u, _ = metres()
    assert seen.u.max() == pytest.approx(
        max(u) * (230e9 + 3e8 + 2e9 * (windows - 1)) / LIGHT, rel=1e-5
    )
    assert set(zip(*seen.antennas.tolist(), strict=True)) == {(1, 6), (2, 7), (3, 8), (4, 9)}
    assert np.ptp(seen.time) == pytest.approx(19, abs=0.01)


def test_cross_hands_are_left_out(tmp_path):
    write_uvfits(tmp_path / "a.fits", 230e9 + 1e8 * np.arange(4), hands=(-5, -6, -7, -8))
    assert len(read_visibilities(tmp_path / "a.fits")) == 20 * 4 * 2


def test_pyautolens_triple(tmp_path):
    u, v = metres() * 1e3
    vis = point(u, v, -1)
    for name, columns in (
        ("data", [vis.real, vis.imag]),
        ("noise_map", np.full((2, 20), 0.5)),
        ("uv_wavelengths", [u, v]),
    ):
        fits.PrimaryHDU(np.transpose(columns)).writeto(tmp_path / f"{name}.fits")
    for path in (tmp_path, tmp_path / "data.fits"):
        seen = read_visibilities(path)
        check_point(seen, EAST, NORTH)
        np.testing.assert_allclose(seen.weights, 4.0)
    (tmp_path / "noise_map.fits").unlink()
    with pytest.raises(FileNotFoundError, match="noise_map.fits"):
        read_visibilities(tmp_path)


@pytest.mark.parametrize("scalar", [True, False])
def test_npz_in_metres(tmp_path, scalar):
    u, v = metres()
    frequency = 345e9 if scalar else 345e9 + 1e9 * np.arange(3)
    full = np.asarray(frequency)[..., None] / LIGHT
    np.savez(
        tmp_path / "a.npz",
        **{
            "u": u,
            "v": v,
            "vis": point(u * full, v * full),
            "weight": np.full((u * full).shape, 2),
        },
        freqs=frequency,
    )
    seen = read_visibilities(tmp_path / "a.npz")
    assert len(seen) == (20 if scalar else 60)
    check_point(seen)


def test_npz_in_wavelengths_with_noise(tmp_path):
    u, v = metres() * 1e3
    vis = point(u, v)
    np.savez(tmp_path / "a.npz", u=u, v=v, real=vis.real, imag=vis.imag, noise=np.full(20, 0.5))
    seen = read_visibilities(tmp_path / "a.npz")
    check_point(seen)
    np.testing.assert_allclose(seen.weights, 4.0)
    with pytest.raises(ValueError, match="weights"):
        np.savez(tmp_path / "b.npz", u=u, v=v, real=vis.real, imag=vis.imag)
        read_visibilities(tmp_path / "b.npz")


def test_a_table_in_metres_needs_a_frequency(tmp_path):
    u, v = metres()
    vis = point(u * 1e3, v * 1e3)
    table = np.transpose([u, v, vis.real, vis.imag, np.full(20, 3.0)])
    path = tmp_path / "uvtable.txt"
    np.savetxt(path, table, header="Columns are: u [m], v [m], Re [Jy], Im [Jy], weights")
    with pytest.raises(ValueError, match="metres"):
        read_visibilities(path)
    check_point(read_visibilities(path, frequency=1e3 * LIGHT))
    np.savetxt(path, table * [1e3, 1e3, 1, 1, 1], header="u [lambda] v [lambda]")
    check_point(read_visibilities(path))


def test_what_is_no_file_of_visibilities(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_visibilities(tmp_path / "none.txt")
    fits.PrimaryHDU(np.ones((4, 4))).writeto(tmp_path / "image.fits")
    with pytest.raises(ValueError, match="random groups"):
        read_visibilities(tmp_path / "image.fits")
    (tmp_path / "a.txt").write_text("1 2 3\n")
    with pytest.raises(ValueError, match="five columns"):
        read_visibilities(tmp_path / "a.txt")
