"""Measure a model of the zoo again: python train/evaluate.py rim_euclid64 --galaxies FILE."""

import argparse
from pathlib import Path

from rim_lensing.program import run


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure a model of the zoo on unseen galaxies.")
    parser.add_argument("name", metavar="NAME", help="a model of the zoo, or its folder")
    parser.add_argument(
        "--galaxies",
        type=Path,
        help="HDF5 file of prepare_galaxies.py: its validation split; default: procedural ones",
    )
    parser.add_argument(
        "--systems",
        type=int,
        default=2000,
        help="how many of the validation set's systems, at most 2000; 200 give a quick look",
    )
    parser.add_argument(
        "--image-grid",
        nargs=2,
        metavar=("SIDE", "SCALE"),
        help="on images of SIDE pixels of SCALE arcsec instead of the model's own (a RIM)",
    )
    parser.add_argument(
        "--update-card",
        action="store_true",
        help="write the model's card, metrics and pictures anew, of these systems",
    )
    options = parser.parse_args(arguments)
    if options.image_grid:
        try:
            options.image_grid = int(options.image_grid[0]), float(options.image_grid[1])
        except ValueError:
            parser.error(
                f"--image-grid takes an integer and a number. Received: {options.image_grid}"
            )
    if options.update_card and options.image_grid:
        raise ValueError("--update-card: the card is about the model's own grid, not --image-grid")
    return options


def main(arguments=None) -> int:
    """Measure, and print the table beside the published one."""
    options = parse_arguments(arguments)
    import json

    from rim_lensing.zoo.zoo import find_pretrained, load_pretrained, zoo_directory

    if options.update_card:
        from rim_lensing.publishing.whole_folders import clear_up

        for folder in (zoo_directory() / options.name, Path(options.name)):
            clear_up(folder)
    # A lens CNN reads the image itself: other pixels are nothing that it knows.
    found = find_pretrained(options.name, "rim" if options.image_grid else None)
    if options.galaxies and not options.galaxies.exists():
        raise FileNotFoundError(f"There is no {options.galaxies}")

    if options.update_card:
        from rim_lensing.publishing.publishing import update_card

        update_card(found.directory, options.galaxies, options.systems)
        print((found.directory / "README.md").read_text())
        return 0

    from rim_lensing.publishing.lens_cnn_evaluation import evaluate_lens_predictor
    from rim_lensing.publishing.measurement import markdown_table
    from rim_lensing.publishing.publishing import METRICS, warn_of_other_galaxies
    from rim_lensing.publishing.rim_evaluation import evaluate_model

    if options.galaxies:
        warn_of_other_galaxies(found.directory, options.galaxies)
    model = load_pretrained(options.name)
    if options.image_grid:
        model = model.with_image_grid(*options.image_grid)
    evaluate = evaluate_model if found.kind == "rim" else evaluate_lens_predictor
    measured = evaluate(model, options.galaxies, options.systems).metrics()
    published = json.loads((found.directory / METRICS).read_text())
    same = [
        content
        for content in published
        if all(content.get(key) == measured[key] for key in ("galaxies", "validation_set"))
        and not options.image_grid
    ]
    for title, contents in (("measured", [measured]), ("published", same)):
        for content in contents:
            print(
                f"\n{found.name}, {title}: {content['systems']} systems, validation set "
                f"{content.get('validation_set')}, galaxies {content['galaxies']}\n\n"
                f"{markdown_table(content)}"
            )
    return 0


if __name__ == "__main__":
    run(main)
