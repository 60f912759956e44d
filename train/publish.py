"""Publish a training run: python train/publish.py RUN_DIR --name rim_euclid64 --galaxies FILE."""

import argparse
from pathlib import Path

from rim_lensing.program import run


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure a training run and put it in the zoo.")
    parser.add_argument(
        "run", type=Path, metavar="RUN_DIR", help="output of train_rim.py or train_lens_cnn.py"
    )
    parser.add_argument("--name", required=True, help="of the model, such as rim_euclid64")
    parser.add_argument(
        "--galaxies",
        type=Path,
        help="HDF5 file of prepare_galaxies.py: measure on its validation split, too",
    )
    parser.add_argument(
        "--systems",
        type=int,
        default=2000,
        help="how many of the validation set's systems to measure on, at most 2000",
    )
    parser.add_argument("--output", type=Path, default=Path("pretrained"), help="folder of the zoo")
    parser.add_argument(
        "--checkpoint", action="store_true", help="publish the last checkpoint of an unfinished run"
    )
    parser.add_argument("--description", help="one line; default: network and grids")
    parser.add_argument("--overwrite", action="store_true", help="replace the model of this name")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Publish, and print the table."""
    options = parse_arguments(arguments)
    for path in (options.run, options.galaxies):
        if path and not path.exists():
            raise FileNotFoundError(f"There is no {path}")
    import json

    from rim_lensing.publishing.measurement import markdown_table
    from rim_lensing.publishing.publishing import METRICS, publish

    folder = publish(
        options.run,
        options.name,
        galaxies=options.galaxies,
        systems=options.systems,
        output=options.output,
        from_checkpoint=options.checkpoint,
        description=options.description,
        overwrite=options.overwrite,
    )
    for content in json.loads((folder / METRICS).read_text()):
        print(f"\n{content['galaxies']}\n\n{markdown_table(content)}")
    print(f"\nPublished in {folder}")
    return 0


if __name__ == "__main__":
    run(main, "interrupted; nothing was published")
