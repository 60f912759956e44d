"""RIMs against semilinear inversion on the frozen set of the recipe `sky` (docs/training.md).

    python benchmarks/sky.py --weights published=pretrained/rim_euclid64/rim.weights.h5 \
        new=runs/sky_euclid64/checkpoint.weights.h5 --galaxies galaxies_sky.h5 --output runs/sky

reconstructs the systems with every set of weights, and with the linear inversion with the gradient
and the curvature prior at the strength of the largest evidence, all from the same image, noise map,
PSF, lens and source frame. What a method has measured is kept in METHOD.npz; the same command does
what is missing, and writes table.md.
"""

import argparse
from pathlib import Path

import numpy as np
from galaxy_options import add_galaxies, check_galaxies
from resumable import claim, write_arrays, write_text
from tqdm import tqdm

from rim_lensing.program import run

LINEAR = ("gradient", "curvature")
RATIO_BINS = ((0.6, 1.0), (1.0, 1.5), (1.5, 2.4))
WIDTH_BINS = ((0.0, 0.6), (0.6, 1.2), (1.2, 9.0))


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--weights", nargs="+", default=[], metavar="LABEL=FILE", help="of RIMs of the preset"
    )
    parser.add_argument("--preset", default="euclid64")
    add_galaxies(parser)
    parser.add_argument("--systems", type=int, default=60, help="the first so many")
    parser.add_argument("--without-linear", action="store_true", help="RIMs alone")
    parser.add_argument("--output", type=Path, required=True, help="directory of the run")
    options = parser.parse_args(arguments)
    options.weights = dict(each.split("=", 1) for each in options.weights)
    return options


def main(arguments=None) -> int:
    """Reconstruct what is missing, measure, and write the table."""
    options = parse_arguments(arguments)
    check_galaxies(options)
    for path in map(Path, options.weights.values()):
        if not path.exists():
            raise FileNotFoundError(f"There is no file {path}")
    from rim_lensing.networks.presets import get_preset
    from rim_lensing.simulation.sky.validation import sky_validation_set
    from rim_lensing.zoo.zoo import sha256

    config = get_preset(options.preset)
    systems = sky_validation_set(config, options.galaxies, options.systems)
    claim(
        options.output,
        {
            "validation_set": systems.name,
            "systems": options.systems,
            "galaxies_sha256": options.galaxies and sha256(options.galaxies),
            "weights_sha256": {label: sha256(Path(p)) for label, p in options.weights.items()},
        },
    )
    methods = {
        label: network_sources(config, Path(path)) for label, path in options.weights.items()
    }
    if not options.without_linear:
        methods |= {name: linear_sources(config, name) for name in LINEAR}
    measured = {}
    for label, sources_of in methods.items():
        path = options.output / f"{label}.npz"
        if not path.exists():
            write_arrays(path, measure(systems, sources_of, label))
        measured[label] = dict(np.load(path))
    table = markdown_table(measured, f"{systems.name}, {len(systems)} systems")
    write_text(options.output / "table.md", table)
    print(table)
    return 0


def measure(systems, sources_of, label: str) -> dict[str, np.ndarray]:
    """Return the measures of all systems, and what they are binned by, (systems,) each."""
    from rim_lensing import metrics
    from rim_lensing.forward_model.psf_kernels import gaussian_as_sharp

    rows = {}
    with tqdm(total=len(systems), desc=label, unit="system") as bar:
        for numbers, mocks in systems.batches(range(len(systems))):
            sources, images = sources_of(mocks)
            residual = mocks.image - images
            columns = {
                "rms": metrics.rms_error(sources, mocks.source),
                "galaxy": metrics.galaxy_error(sources, mocks.source),
                "flux": metrics.flux_error(sources, mocks.source),
                "chi2": metrics.chi2_per_pixel(residual, mocks.noise),
                "significance": metrics.chi2_significance(residual, mocks.noise),
                "noise_level": mocks.noise_level,
                "pixel_ratio": mocks.pixel_ratio,
                "psf_width": gaussian_as_sharp(mocks.psf),
                "psf_kind": mocks.psf_kind,
                "noise_kind": mocks.noise_kind,
            }
            for i, number in enumerate(numbers):
                rows[number] = {name: values[i] for name, values in columns.items()}
            bar.update(len(numbers))
    return {name: np.array([rows[i][name] for i in sorted(rows)]) for name in rows[0]}


def network_sources(config, weights: Path):
    """Return what reconstructs mocks with a RIM: sources (batch, n, n) and model images."""
    from rim_lensing.backend import compiled
    from rim_lensing.networks.rim import RIM

    networks = {}

    def sources_of(mocks):
        side, count = mocks.image.shape[1], len(mocks.lens)
        if side not in networks:
            network = RIM(config.on_image_grid(side, config.image_pixel_scale))
            network.build()
            network.load_weights(weights)
            networks[side] = network, compiled(network)
        network, graph = networks[side]
        # Always a full batch, so that the graph is compiled for one shape.
        slots = np.resize(np.arange(count), 8)
        inputs = {name: value[slots] for name, value in mocks.network_inputs().items()}
        sources = np.asarray(graph(inputs))[:count, -1]
        return sources, predicted(config, mocks, sources)

    return sources_of


def linear_sources(config, regularization: str):
    """Return what reconstructs mocks with the linear inversion, at the largest evidence."""
    from rim_lensing.forward_model.ray_tracing import lensing_matrices
    from rim_lensing.inversion.evidence import maximise_evidence
    from rim_lensing.inversion.exact import ExactEngine
    from rim_lensing.inversion.linear_system import LinearSystem

    def sources_of(mocks):
        geometry = config.on_image_grid(mocks.image.shape[1], config.image_pixel_scale)
        matrices = lensing_matrices(mocks.lens, geometry, mocks.source_frame)
        sources = []
        for i, matrix in enumerate(matrices):
            system = LinearSystem(matrix, mocks.psf[i], mocks.image[i], mocks.noise[i])
            engine = ExactEngine(system, regularization)
            mean = engine.mean(maximise_evidence(engine))
            sources.append(mean.reshape(config.source_side, -1))
        sources = np.array(sources, "float32")
        return sources, predicted(config, mocks, sources)

    return sources_of


def predicted(config, mocks, sources) -> np.ndarray:
    """Return the model images (batch, m, m) of sources."""
    from rim_lensing.forward_model.forward_model import ForwardModel
    from rim_lensing.lensing.grids import PixelGrid

    grid = PixelGrid(mocks.image.shape[1], config.image_pixel_scale)
    model = ForwardModel(
        mocks.lens, mocks.psf, grid, config.source_grid, config.supersampling, mocks.source_frame
    )
    return np.asarray(model.predict(sources))


def rows_of(measures: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return which systems, (systems,) booleans, are in each row of the table."""
    from rim_lensing.simulation.priors import NOISE_BINS

    rows = {"all": np.ones(len(measures["rms"]), bool)}
    binned = (
        ("noise {:g}-{:g}", "noise_level", NOISE_BINS),
        ("image pixel of {:g}-{:g} source pixels", "pixel_ratio", RATIO_BINS),
        ("PSF of {:g}-{:g} image pixels", "psf_width", WIDTH_BINS),
    )
    for title, name, bins in binned:
        for low, high in bins:
            chosen = (measures[name] >= low) & (measures[name] < high)
            rows[title.format(low, high)] = chosen
    for name in ("psf_kind", "noise_kind"):
        for kind in np.unique(measures[name]):
            rows[f"{name.split('_')[0].replace('psf', 'PSF')}: {kind}"] = measures[name] == kind
    return {label: chosen for label, chosen in rows.items() if chosen.any()}


def markdown_table(measured: dict[str, dict], title: str) -> str:
    """Return the medians of every method, row by row.

    The rms error over the peak, that inside of the galaxy, chi^2 per pixel, and the flux's bias.
    """
    lines = [f"{title}: median rms error, inside of the galaxy, chi^2 per pixel, flux bias", ""]
    lines += ["| systems | number | " + " | ".join(measured) + " |"]
    lines += ["| --- " * (2 + len(measured)) + "|"]
    first = next(iter(measured.values()))
    for label, chosen in rows_of(first).items():
        cells = [
            "{:.2%}, {:.2%}, {:.3f}, {:+.1%}".format(
                *(np.median(values[name][chosen]) for name in ("rms", "galaxy", "chi2", "flux"))
            )
            for values in measured.values()
        ]
        lines.append("| " + " | ".join([label, str(chosen.sum()), *cells]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(main, "interrupted; the same command goes on")
