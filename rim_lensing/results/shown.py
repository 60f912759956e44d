"""What pictures and notebooks show of a reconstruction."""

from typing import TYPE_CHECKING

from rim_lensing.files.sky_directions import described
from rim_lensing.lensing.mass_model import SHORT_FORMS, MassModel
from rim_lensing.notebooks import as_html, lens_table
from rim_lensing.results.in_words import as_range

if TYPE_CHECKING:
    from astropy.io.fits import Header

_NUMBERS = ("source_flux", "total_magnification", "log_evidence")


def panels(result, header: "Header | None" = None) -> dict:
    """Return what `figures` draws of one system: arrays, pixel scales, critical curves.

    Args:
        result: A Reconstruction, of one system.
        header: The image's own cards: they tell north and the unit.
    """
    from rim_lensing.lensing.critical_curves import critical_curves, cut, to_source

    lens = result.mass_model
    known = isinstance(lens, MassModel)
    curves = critical_curves(lens) if known else []
    source_curves = [to_source(lens, curve) for curve in curves]
    if known and result.form == SHORT_FORMS[7]:
        source_curves.append(cut(result.lens))
    return {
        "image": result.image - result.template_image,
        "noise": result.noise,
        "model_image": result.model_image,
        "source": result.source,
        "constrained": result.constrained,
        "image_pixel_scale": result.image_pixel_scale,
        "source_grid": result.source_grid,
        "critical_curves": curves,
        "caustics": source_curves,
        **described(header, result.image.shape),
    }


def html(result) -> str:
    """Return what a notebook shows of a Reconstruction: numbers and, of one system, the picture."""
    name, grid = f"chi^2 per {result.counted}", {"source": result.source_grid}
    if result.is_batch:
        facts = {"systems": len(result), name: as_range(result.chi2)}
        return as_html(result.model, facts | grid)
    metrics = result.metrics()
    numbers = {
        each.replace("_", " "): f"{metrics[each]:.4g}" for each in _NUMBERS if each in metrics
    }
    lens = result.mass_model
    return as_html(
        result.model,
        {name: f"{result.chi2:.3f}"} | grid | numbers,
        lens_table(lens.labels, lens.values) if isinstance(lens, MassModel) else (),
        result.plot(),
        {"What the numbers do not tell": result.caveats},
    )
