"""Export the SavedModel of a model of the zoo anew: python train/export.py rim_euclid64."""

import argparse
from pathlib import Path

from rim_lensing.program import run


def main(arguments=None) -> int:
    """Export, and say where."""
    parser = argparse.ArgumentParser(
        description="Export the SavedModel of a model of the zoo anew, as this version does, and "
        "write its card's text; nothing is measured."
    )
    parser.add_argument("name", metavar="NAME", help="a model of the zoo, or its folder")
    options = parser.parse_args(arguments)
    from rim_lensing.publishing.publishing import export_again
    from rim_lensing.publishing.whole_folders import clear_up
    from rim_lensing.zoo.zoo import find_pretrained, zoo_directory

    for folder in (zoo_directory() / options.name, Path(options.name)):
        clear_up(folder)
    folder = find_pretrained(options.name).directory
    export_again(folder)
    print(f"Exported in {folder}")
    return 0


if __name__ == "__main__":
    run(main, "interrupted; the model is what it was")
