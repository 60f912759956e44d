"""Verify or freeze the validation set of a grid: python train/make_validation_set.py euclid64."""

import argparse
from pathlib import Path

from rim_lensing.program import run


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Make sure that this machine makes the frozen validation set, or freeze one."
    )
    parser.add_argument("preset", metavar="PRESET", help="whose grids: euclid64 or hst192")
    parser.add_argument(
        "--galaxies",
        type=Path,
        help="HDF5 file of prepare_galaxies.py: its validation split; default: procedural ones",
    )
    parser.add_argument(
        "--sky", action="store_true", help="the set of the recipe `sky`; galaxies with outskirts"
    )
    parser.add_argument("--freeze", action="store_true", help="draw the set and write its recipe")
    parser.add_argument("--overwrite", action="store_true", help="freeze what is frozen already")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Freeze if told; then compare galaxies and parameters with the recipe."""
    options = parse_arguments(arguments)
    if options.galaxies and not options.galaxies.exists():
        raise FileNotFoundError(f"There is no {options.galaxies}")
    if options.overwrite and not options.freeze:
        raise ValueError("--overwrite goes with --freeze")
    import json

    from rim_lensing.networks.presets import get_preset
    from rim_lensing.simulation.sky.validation import SKY_RECIPES, freeze_sky, sky_validation_set
    from rim_lensing.simulation.validation_set import (
        PROCEDURAL,
        RECIPES,
        freeze,
        same_galaxies,
        validation_set,
    )

    make, find, recipes = freeze, validation_set, RECIPES
    if options.sky:
        make, find, recipes = freeze_sky, sky_validation_set, SKY_RECIPES
    geometry = get_preset(options.preset)
    if options.freeze:
        name = f"{options.preset}_{'galaxies' if options.galaxies else PROCEDURAL}"
        make(name, geometry, options.galaxies, options.overwrite)
    # One system: what is compared is the whole recipe, and an unfrozen set shall not be drawn.
    systems = find(geometry, options.galaxies, systems=1)
    if systems.name is None:
        raise ValueError(
            f"no set of {options.preset} is frozen for these galaxies; --freeze makes one. "
            f"Received: {options.galaxies or PROCEDURAL}"
        )
    recipe = json.loads((recipes / f"{systems.name}.json").read_text())
    if not same_galaxies(systems.galaxies.means(), recipe):
        raise RuntimeError(f"the {PROCEDURAL} galaxies drawn here are not those of {systems.name}")
    print(
        f"{systems.name}: {len(recipe['candidates'])} systems of "
        f"{len(systems.galaxies)} galaxies, sha256 {recipe['sha256']}"
    )
    return 0


if __name__ == "__main__":
    run(main, "interrupted; nothing was written")
