"""Sources far from the training set: RIM against semilinear inversion (paper figure 10).

    python benchmarks/out_of_distribution.py --output runs/out_of_distribution_text

needs no download: rendered text beside procedural galaxies, the yardstick. More classes of sources
come with `--digits` (MNIST's file of images), `--photographs` (a folder of photographed text) and
`--galaxies` with `--survey` (kinds of the galaxy file that are compared with its other kinds). Only
galaxies of the validation split are used. "Another survey" is not one that the network has never
seen: other galaxies of these kinds are in the training split, where they are the few.

System i has the same lens, PSF, noise, and the same place, size and angle of its source in all
classes. They are drawn from the package's priors until the sources of ALL classes meet the
constraints on magnification and borders, so the galaxies here are not quite those of fidelity.py:
text fills its square, which must therefore lie further inside. The linear inversion is the one of
fidelity.py: gradient prior, the strength of the largest evidence, matrix-free.

Text that fills the source grid is seen through one lens at three levels of noise besides. Arrays
are kept in chunks: a run that was interrupted goes on with the same command, and a finished one is
drawn again. Then it writes measures.npz, table.md and the figures.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from fidelity import arrays_of_systems
from resumable import (
    claim_run,
    in_processes,
    read_arrays,
    run_parser,
    write_arrays,
    write_text,
)

from rim_lensing.program import run

CHUNK = 5
PAGE_NOISE = (0.01, 0.03, 0.1)
_MAX_CANDIDATES = 2000
_PAGE_RADIUS = 0.2  # Einstein radius over the width of the image
_PAGE_LENS = (0.08, 0.06, 0.0, 0.0, 0.04, -0.03)  # e1, e2, x, y, gamma1, gamma2


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = run_parser(__doc__.split("\n")[0], systems=100)
    parser.add_argument(
        "--survey",
        nargs="+",
        default=(),
        metavar="KIND",
        help="of --galaxies, compared with the rest",
    )
    parser.add_argument("--digits", type=Path, help="MNIST's idx file of images, or its folder")
    parser.add_argument("--photographs", type=Path, help="folder of photographed text")
    parser.add_argument("--seed", type=int, default=0, help="of the systems")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Reconstruct what is missing, measure, draw."""
    options = parse_arguments(arguments)
    if options.seed < 0:
        raise ValueError(f"--seed must not be negative. Received: {options.seed}")
    sources = _sources(options)
    claim_run(options, {"seed": options.seed, "sources": sources.digest()})
    jobs = [(path, systems, options) for path, systems in _chunks(options) if not path.exists()]
    if not _page_path(options).exists():
        jobs.append((_page_path(options), None, options))
    if jobs:
        in_processes(_reconstruct, jobs, options.workers, f"{CHUNK} systems")
    _report(options)
    return 0


def _sources(options: argparse.Namespace):
    from out_of_distribution_sources import Sources

    return Sources(
        options.galaxies, options.survey, options.photographs, options.digits, options.seed
    )


def _chunks(options: argparse.Namespace) -> list[tuple[Path, range]]:
    """Return the file and the systems of every chunk."""
    chunks = []
    for start in range(0, options.systems, CHUNK):
        systems = range(start, min(start + CHUNK, options.systems))
        name = f"systems_{systems.start:04d}_{systems.stop:04d}.npz"
        chunks.append((options.output / name, systems))
    return chunks


def _page_path(options: argparse.Namespace) -> Path:
    return options.output / "pages.npz"


_loaded: dict = {}


def _reconstruct(job: tuple) -> None:
    """Reconstruct one chunk of systems, or the pages, and write the file."""
    from rim_lensing.simulation.mock_observations import SystemRenderer
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.zoo.zoo import load_pretrained

    path, systems, options = job
    if not _loaded:
        model = load_pretrained(options.model)
        renderer = SystemRenderer(Priors(), model.network.config)
        _loaded.update(model=model, renderer=renderer, sources=_sources(options))
    model, sources = _loaded["model"], _loaded["sources"]
    geometry = model.network.config
    if systems is None:
        mocks, labels = page_mocks(sources.pages(geometry.source_side), geometry, options.seed)
        write_arrays(path, labels | reconstruct_all(model, mocks))
        return
    rows = []
    for system in systems:
        mocks, labels = matched_mocks(sources, system, _loaded["renderer"], options.seed)
        rows.append(labels | reconstruct_all(model, mocks))
    write_arrays(path, {name: np.concatenate([row[name] for row in rows]) for name in rows[0]})


def matched_mocks(sources, system: int, renderer, seed: int):
    """Make systems that differ in nothing but the class of the source.

    Args:
        sources: Of the stamps, see `out_of_distribution_sources.Sources`.
        system: Its number.
        renderer: SystemRenderer, whose priors are drawn from.
        seed: Of lens, placement and noise.

    Returns:
        MockObservations, one for each class; and arrays that say of which class, system, source
        and kind each is.

    Raises:
        RuntimeError: Hardly any candidate meets the constraints in all classes.
    """
    from rim_lensing.simulation.mock_observations import observe

    stamps = sources.stamps(system)
    count = len(stamps)
    pictures = np.stack([stamp.picture for stamp in stamps])
    for candidate in range(_MAX_CANDIDATES):
        generator = np.random.default_rng([seed, system, candidate])
        drawn = renderer.priors.draw(generator, 1)
        parameters = {name: np.repeat(value, count, axis=0) for name, value in drawn.items()}
        rendered = renderer.render(pictures, parameters)
        if renderer.meets_constraints(rendered).all():
            break
    else:
        raise RuntimeError(
            f"None of {_MAX_CANDIDATES} candidates of system {system} meets the constraints of "
            f"{renderer.priors} with the sources of all classes: {', '.join(sources.classes)}"
        )
    shape = rendered["image"].shape
    draws = generator.standard_normal(shape[1:], dtype="float32")
    labels = {
        "label": np.array(sources.classes),
        "system": np.full(count, system),
        "source_number": np.array([stamp.source for stamp in stamps]),
        "kind": np.array([stamp.kind for stamp in stamps]),
    }
    return observe(rendered, np.broadcast_to(draws, shape), np.arange(count)), labels


def page_mocks(pages: dict[str, np.ndarray], geometry, seed: int):
    """See every page through one lens, at each level of noise; the same deviates for all.

    Args:
        pages: Sources (n, n) by name, peak 1.
        geometry: Grids, PSF side and supersampling; a RIMConfig is one.
        seed: Of the noise.

    Returns:
        MockObservations, and an array that says of which page each is.
    """
    from keras import ops

    from rim_lensing.forward_model.forward_model import ForwardModel, total_magnification
    from rim_lensing.forward_model.psf import gaussian_kernel
    from rim_lensing.simulation.mock_observations import observe

    image_grid, source_grid = geometry.image_grid, geometry.source_grid
    source = np.repeat(np.stack(list(pages.values())), len(PAGE_NOISE), axis=0)
    count, scale = len(source), geometry.image_pixel_scale
    lens = np.float32([[_PAGE_RADIUS * image_grid.width, *_PAGE_LENS]] * count)
    psf = gaussian_kernel(np.full(count, scale / 2, "float32"), geometry.psf_side, scale)
    model = ForwardModel(lens, psf, image_grid, source_grid, geometry.supersampling)
    unblurred = model.ray_tracer.apply(source)
    image = ops.convert_to_numpy(model.blur.apply(unblurred))
    magnification = total_magnification(source, unblurred, source_grid, image_grid)
    rendered = {
        "source": source,
        "image": image,
        "psf": ops.convert_to_numpy(psf),
        "lens": lens,
        "noise_level": np.float32(PAGE_NOISE * len(pages)),
        "magnification": ops.convert_to_numpy(magnification),
    }
    draws = np.random.default_rng(seed).standard_normal(image.shape[1:], dtype="float32")
    labels = {"label": np.repeat(list(pages), len(PAGE_NOISE))}
    return observe(rendered, np.broadcast_to(draws, image.shape), np.arange(count)), labels


def reconstruct_all(model, mocks) -> dict[str, np.ndarray]:
    """Reconstruct mock observations with the RIM, refined too, and with the linear inversion.

    Args:
        model: A RIMReconstructor.
        mocks: MockObservations on its grids.

    Returns:
        What the report needs, arrays (batch, ...): truths, images, noise, sources and model images.
    """
    from rim_lensing.publishing.rim_evaluation import reconstruct
    from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion

    rims = reconstruct(model, mocks), reconstruct(model.refined(), mocks)
    inversion = SemilinearInversion("gradient", engine="matrix-free", geometry=model.network.config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        # One by one, or it draws a progress bar of its own.
        linear = [
            inversion.reconstruct(*one, uncertainties=False)
            for one in zip(mocks.image, mocks.noise, mocks.psf, mocks.lens, strict=True)
        ]
    return arrays_of_systems(mocks, *rims) | {
        "linear_source": np.array([one.source for one in linear], "float32"),
        "linear_model": np.array([one.model_image for one in linear], "float32"),
        "linear_strength": np.array([one.strength for one in linear]),
    }


def _report(options: argparse.Namespace) -> None:
    """Measure and draw what the chunks hold."""
    from out_of_distribution_report import draw, measure, report

    arrays = read_arrays([path for path, _ in _chunks(options)])
    pages = read_arrays([_page_path(options)])
    measures, page_measures = measure(arrays), measure(pages)
    write_arrays(options.output / "measures.npz", measures)
    text = report(measures, page_measures)
    write_text(options.output / "table.md", text)
    draw((arrays, measures), (pages, page_measures), options.output)
    print(text)


if __name__ == "__main__":
    run(main, "interrupted; the same command goes on")
