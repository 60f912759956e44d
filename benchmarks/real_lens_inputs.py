"""What of real lenses goes into the command: files as they come, or brought to FITS first."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits


@dataclass(frozen=True)
class Case:
    """A cutout.

    Args:
        name: Of the lens.
        image: FITS file, or extension.
        noise: Likewise, or None.
        psf: Likewise, or the width of a Gaussian in arcsec.
        options: More of them.
        variance: `noise` is a variance: its root is written beside the results.
    """

    name: str
    image: Path | str
    noise: Path | str | None
    psf: Path | str
    options: tuple[str, ...] = ()
    variance: bool = False

    def exists(self) -> bool:
        """Return whether the image is there."""
        return Path(str(self.image).partition("[")[0]).exists()

    def arguments(self, folder: Path) -> list[str]:
        """Return what the command is given.

        Args:
            folder: Of the results.
        """
        noise = self.noise
        if self.variance:
            folder.mkdir(parents=True, exist_ok=True)
            rms = np.sqrt(fits.getdata(noise).astype("float64"))
            noise = folder / "noise.fits"
            fits.writeto(noise, rms, overwrite=True)
        told = [] if noise is None else ["--noise", str(noise)]
        return [str(self.image), *told, "--psf", str(self.psf), *self.options]


def other_cases(data: Path) -> list[Case]:
    """Return the other lenses of the data folder."""
    euclid = data / "euclid_102018665" / "102018665_NEG570040238507752998.fits"
    other = data / "euclid_102021990"
    hsc = data / "hsc_SL2SJ2205+0147"
    slacs = data / "slacs0946+1006"
    double = data / "dspl_benslens"
    return [
        Case(
            "euclid_102018665",
            f"{euclid}[VIS_BGSUB]",
            f"{euclid}[VIS_RMS]",
            f"{euclid}[VIS_PSF]",
        ),
        Case(
            "euclid_102021990",
            other / "data.fits",
            other / "noise_map.fits",
            other / "psf.fits",
            ("--pixel-scale", "0.1"),
        ),
        Case(
            "slacs0946+1006",
            slacs / "data.fits",
            slacs / "noise_map.fits",
            slacs / "psf.fits",
            ("--pixel-scale", "0.05"),
        ),
        Case(
            "dspl_benslens",
            double / "f814w_lens_cutout_220x220.fits",
            None,
            double / "f814w_psf_model_svi.fits",
        ),
        *(
            Case(
                f"s4tm_{name}",
                data / "s4tm_f814w" / name / f"{name}.fits[SCI]",
                None,
                "0.045",
            )
            for name in ("SDSSJ1051+4439", "SDSSJ1430+6104")
        ),
        Case(
            "hsc_SL2SJ2205+0147",
            hsc / "220506+014703_g_sci.fits",
            hsc / "220506+014703_g_var.fits",
            hsc / "220506+014703_g_psf.fits",
            ("--pixel-scale", "0.168"),
            variance=True,
        ),
    ]
