"""Visibilities read from files: UVFITS, FITS triples, npz and text tables. No Keras."""

import os
import re
from pathlib import Path

import numpy as np

from rim_lensing.observation.visibilities import SPEED_OF_LIGHT, VisibilityObservation

_DATA_NAMES = ("data.fits", "visibilities.fits")
_NAMES = {
    "u": ("u", "uu"),
    "v": ("v", "vv"),
    "visibilities": ("visibilities", "vis", "V", "data"),
    "weights": ("weights", "weight", "wgts", "wt"),
    "frequency": ("frequency", "frequencies", "freq", "freqs"),
    "time": ("time", "times"),
    "antenna1": ("antenna1", "ant1"),
    "antenna2": ("antenna2", "ant2"),
}
"""Of the arrays of an npz file, and what other programs call them."""

_PARALLEL_HANDS = (1, -1, -2, -5, -6)
"""Stokes numbers of UVFITS that measure I, of a source without polarisation: I, RR, LL, XX, YY."""


def read_visibilities(
    path: str | os.PathLike,
    frequency: float | None = None,
    convention: str | None = None,
    **more,
) -> VisibilityObservation:
    """Read visibilities from a file, by its ending.

    - `.uvfits`, or any other FITS file of random groups: all channels, and all polarisations that
      measure I, as one set. Weights are the file's; flagged data (weights of 0 and less) go.
    - A folder of FITS files as PyAutoLens has them, or the one of them that holds the visibilities
      (`data.fits` or `visibilities.fits`): `uv_wavelengths.fits` and `noise_map.fits`, the rms of
      real and imaginary parts, lie beside it.
    - `.npz` with u, v, visibilities (or real and imag) and weights (or noise, an rms), each (k,) or
      (channels, k), and perhaps time, antenna1 and antenna2. With `frequency` in Hz, a number or
      (channels,), u and v are metres.
    - Any other: a text table of u, v, real part, imaginary part, weight, as CASA's users export it
      and galario reads it.

    Args:
        path: The file.
        frequency: Hz: u and v are in metres. By default the file tells, or they are wavelengths.
        convention: See `VisibilityObservation`. By default "casa", of PyAutoLens's FITS files
            "image".
        more: Other arguments of `VisibilityObservation`: phase_centre, primary_beam, unit.

    Raises:
        FileNotFoundError: There is no such file, or one that belongs to it is not there.
        ValueError: It does not hold what it should.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}")
    if path.is_dir() or path.name in _DATA_NAMES:
        found, usual = _read_triple(path), "image"
        if frequency is not None:
            raise ValueError(
                f"`frequency` must be left out: {path} has wavelengths. Received: {frequency}"
            )
    elif path.suffix.lower() in (".uvfits", ".fits", ".uvf", ".uvfit"):
        found, usual = _read_uvfits(path), "casa"
        if frequency is not None:
            raise ValueError(f"`frequency` must be left out: {path} tells. Received: {frequency}")
    elif path.suffix.lower() == ".npz":
        found, usual = _read_npz(path, frequency), "casa"
    else:
        found, usual = _read_table(path, frequency), "casa"
    return VisibilityObservation(**(found | {"convention": convention or usual} | more))


def _read_triple(path: Path) -> dict:
    from rim_lensing.files.fits_files import read_image

    folder = path if path.is_dir() else path.parent
    names = _DATA_NAMES if path.is_dir() else (path.name,)
    data = next((folder / name for name in names if (folder / name).exists()), None)
    if data is None:
        raise FileNotFoundError(f"There is neither {' nor '.join(names)} in {folder}")
    pairs = {}
    for name, file in (
        ("visibilities", data),
        ("noise_map", folder / "noise_map.fits"),
        ("uv_wavelengths", folder / "uv_wavelengths.fits"),
    ):
        if not file.exists():
            raise FileNotFoundError(f"{data.name} needs {file.name} beside it. {file} is not there")
        pairs[name] = read_image(file).array
        if pairs[name].shape[-1:] != (2,) or pairs[name].shape != pairs["visibilities"].shape:
            raise ValueError(
                f"{file} must hold two columns, and as many rows as {data.name}, "
                f"{len(pairs['visibilities'])}. Received: shape {pairs[name].shape}"
            )
    real, imaginary = pairs["noise_map"].T
    if not np.allclose(real, imaginary, rtol=1e-3):
        raise ValueError(
            f"{folder / 'noise_map.fits'} must have one rms for real and imaginary part of a "
            f"visibility. Received: ratios of {(real / imaginary).min():g} to "
            f"{(real / imaginary).max():g}"
        )
    return {
        "u": pairs["uv_wavelengths"][:, 0],
        "v": pairs["uv_wavelengths"][:, 1],
        "visibilities": pairs["visibilities"] @ [1, 1j],
        "weights": 1 / real**2,
    }


def _read_uvfits(path: Path) -> dict:
    from astropy.io import fits

    with fits.open(path) as hdus:
        groups = hdus[0]
        if not isinstance(groups, fits.GroupsHDU):
            raise ValueError(
                f"{path} must be a UVFITS file, of random groups; of PyAutoLens's files give the "
                "one with the visibilities, data.fits or visibilities.fits, or their folder. "
                f"Received: a {type(groups).__name__}"
            )
        header, data = groups.header, groups.data
        seconds = {axis: _parameter(data, axis, path) for axis in ("UU", "VV")}
        values, names = _in_order(header, data.data)
        frequencies = _frequencies(hdus, header)
        # (group, if, channel, stokes, complex); other axes are of length 1.
        stokes = _axis(header, "STOKES", values.shape[3])
        kept = np.isin(np.round(stokes).astype(int), _PARALLEL_HANDS)
        if not kept.any():
            raise ValueError(
                f"{path} must have a polarisation that measures I: {_PARALLEL_HANDS} in the FITS "
                f"numbers. Received: {stokes.tolist()}"
            )
        values = np.asarray(values[:, :, :, kept], "float64")
        found = _times(data)
    weights = np.where(np.isfinite(values).all(axis=-1), values[..., 2], 0.0)
    weights = np.maximum(weights, 0.0)
    visibilities = np.where(weights > 0, values[..., 0] + 1j * values[..., 1], 0.0)
    wide = {
        name: np.broadcast_to(
            second[:, None, None, None] * frequencies[None, :, :, None], weights.shape
        )
        for name, second in (("u", seconds["UU"]), ("v", seconds["VV"]))
    }
    times = {
        name: np.broadcast_to(
            array[..., None, None, None], (*array.shape[:-1], *weights.shape)
        ).reshape(*array.shape[:-1], -1)
        for name, array in found.items()
    }
    flat = {name: array.ravel() for name, array in wide.items()}
    return flat | {"visibilities": visibilities.ravel(), "weights": weights.ravel()} | times


def _parameter(data, axis: str, path: Path) -> np.ndarray:
    """Return u or v of all groups, in seconds."""
    names = [name for name in data.parnames if re.match(rf"{axis}(-|\b)", name.upper())]
    if not names:
        raise ValueError(f"{path} must have a group parameter {axis}. Received: {data.parnames}")
    return np.asarray(data.par(names[0]), "float64")


def _times(data) -> dict[str, np.ndarray]:
    """Return time (seconds) and antennas of all groups, where the file has them."""
    names, found = [name.upper() for name in data.parnames], {}
    if "DATE" in names:
        found["time"] = np.asarray(data.par("DATE"), "float64") * 86400
    if "BASELINE" in names:
        baseline = np.floor(np.asarray(data.par("BASELINE"), "float64")).astype(int)
        # AIPS: 256 first + second; with more antennas 2048 first + second + 65536.
        many = baseline > 65536
        first = np.where(many, (baseline - 65536) // 2048, baseline // 256)
        second = np.where(many, (baseline - 65536) % 2048, baseline % 256)
        found["antennas"] = np.stack([first, second])
    elif {"ANTENNA1", "ANTENNA2"} <= set(names):
        found["antennas"] = np.stack([data.par("ANTENNA1"), data.par("ANTENNA2")])
    return found


def _in_order(header, values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the data as (group, IF, channel, stokes, complex)."""
    # FITS counts axes from the last; axis 1 has no length: these are groups.
    names = [str(header.get(f"CTYPE{i}", "")).strip() for i in range(header["NAXIS"], 1, -1)]
    wanted = ["IF", "FREQ", "STOKES", "COMPLEX"]
    lacking = [name for name in wanted[1:] if name not in names]
    if lacking:
        raise ValueError(f"A UVFITS file must have axes {wanted}. Received: {names}")
    if "IF" not in names:
        names, values = ["IF", *names], values[:, None]
    others = tuple(i + 1 for i, name in enumerate(names) if name not in wanted)
    names = [name for name in names if name in wanted]
    values = np.squeeze(values, axis=others)
    return np.transpose(values, [0, *(names.index(name) + 1 for name in wanted)]), names


def _axis(header, name: str, length: int) -> np.ndarray:
    """Return the coordinates along an axis."""
    i = next(i for i in range(2, header["NAXIS"] + 1) if header.get(f"CTYPE{i}") == name)
    value, step, pixel = (header.get(f"{key}{i}", 1.0) for key in ("CRVAL", "CDELT", "CRPIX"))
    return value + step * (np.arange(length) + 1 - pixel)


def _frequencies(hdus, header) -> np.ndarray:
    """Return the frequencies in Hz, (IF, channel)."""
    i = next(i for i in range(2, header["NAXIS"] + 1) if header.get(f"CTYPE{i}") == "FREQ")
    channels = _axis(header, "FREQ", header[f"NAXIS{i}"])
    offsets = np.zeros(1)
    if "AIPS FQ" in hdus:
        offsets = np.atleast_1d(np.squeeze(hdus["AIPS FQ"].data["IF FREQ"])).astype("float64")
    return offsets[:, None] + channels


def _read_npz(path: Path, frequency) -> dict:
    with np.load(path) as file:
        arrays = {
            name: next((file[each] for each in spellings if each in file), None)
            for name, spellings in _NAMES.items()
        }
        if arrays["visibilities"] is None and {"real", "imag"} <= set(file):
            arrays["visibilities"] = file["real"] + 1j * file["imag"]
        if arrays["weights"] is None and "noise" in file:
            arrays["weights"] = 1 / file["noise"].astype("float64") ** 2
        there = list(file)
    lacking = [name for name in ("u", "v", "visibilities", "weights") if arrays[name] is None]
    if lacking:
        raise ValueError(
            f"{path} must have arrays u, v, visibilities (or real and imag) and weights (or "
            f"noise). Received: {there}"
        )
    frequency = arrays.pop("frequency") if frequency is None else frequency
    first, second = arrays.pop("antenna1"), arrays.pop("antenna2")
    if first is not None and second is not None:
        arrays["antennas"] = np.stack([first, second])
    if frequency is not None:
        arrays |= _in_wavelengths(arrays["u"], arrays["v"], frequency)
    return arrays


def _in_wavelengths(u, v, frequency) -> dict[str, np.ndarray]:
    """Return u and v of metres, (k,), at frequencies in Hz: (k,), or (channels, k)."""
    frequency = np.asarray(frequency, "float64")
    if not np.all(np.isfinite(frequency) & (frequency > 0)) or frequency.ndim > 1:
        raise ValueError(
            "`frequency` must be positive, in Hz, a number or (channels,). "
            f"Received: {frequency.tolist()}"
        )
    per_metre = frequency[..., None] / SPEED_OF_LIGHT
    return {name: np.asarray(each) * per_metre for name, each in (("u", u), ("v", v))}


def _read_table(path: Path, frequency: float | None) -> dict:
    with open(path, errors="replace") as file:
        head = [line for line in (next(file, "") for _ in range(50)) if line.startswith("#")]
    try:
        table = np.loadtxt(path, comments="#", ndmin=2)
    except ValueError as error:
        raise ValueError(
            f"{path} must be a table of numbers: u, v, real, imaginary, weight. {error}"
        ) from None
    if table.shape[1] != 5:
        raise ValueError(
            f"{path} must have five columns: u, v, real, imaginary, weight. "
            f"Received: {table.shape[1]}"
        )
    u, v, real, imaginary, weights = table.T
    found = {"visibilities": real + 1j * imaginary, "weights": weights, "u": u, "v": v}
    if frequency is not None:
        return found | _in_wavelengths(u, v, frequency)
    if any(re.search(r"\bu\s*[\[(]\s*m\s*[\])]", line) for line in head):
        raise ValueError(f"`frequency` must be given, in Hz: u and v of {path} are in metres")
    return found
