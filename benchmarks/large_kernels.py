"""Convolutions in tiles (overlap-save) against direct ones, on this processor.

    python benchmarks/large_kernels.py --network

times single convolutions of the paper's network and of the compact ones, and, with `--network`, a
whole reconstruction by the paper's, which takes minutes.
"""

import argparse
import resource
import time
from unittest import mock

from rim_lensing.program import run

CONVOLUTIONS = {
    "paper192, second ConvGRU": (1, 192, 160, 384, 11),
    "paper192, first ConvGRU": (1, 96, 160, 384, 11),
    "32 to 64 channels": (8, 64, 32, 64, 11),
    "hst192, first ConvGRU": (4, 24, 96, 192, 5),
    "euclid64, first ConvGRU": (8, 16, 80, 144, 5),
    "hst192, second ConvGRU": (4, 96, 84, 96, 3),
    "euclid64, second ConvGRU": (8, 64, 53, 96, 3),
}
"""Batch, pixels of the side, channels in and out, kernel; a ConvGRU's two convolutions as one."""


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", action="store_true", help="the paper's network, too")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        raise ValueError(f"--repeats must be positive. Received: {options.repeats}")
    return options


def main(arguments=None) -> int:
    """Measure, and print what was measured."""
    options = parse_arguments(arguments)
    import keras

    print(f"{keras.backend.backend()}; seconds, best of {options.repeats}\n")
    print("| convolution | direct | in tiles | ratio | its kernel's spectrum | difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    for label, shape in CONVOLUTIONS.items():
        print(_convolution_row(label, *shape, options.repeats), flush=True)
    if options.network:
        print("\n| paper192 | direct | in tiles | ratio | difference |")
        print("| --- | --- | --- | --- | --- |")
        print(_network_row(), flush=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"\nPeak memory {peak:.1f} GiB")
    return 0


def _convolution_row(label, batch, side, inputs, outputs, kernel_side, repeats) -> str:
    import numpy as np
    from keras import ops

    from rim_lensing.backend import compiled
    from rim_lensing.networks.overlap_save import convolve, kernel_spectrum

    generator = np.random.default_rng(0)
    images = generator.standard_normal((batch, side, side, inputs)).astype("float32")
    shape = (kernel_side, kernel_side, inputs, outputs)
    kernel = generator.standard_normal(shape).astype("float32") / (kernel_side * inputs**0.5)
    images, kernel = ops.convert_to_tensor(images), ops.convert_to_tensor(kernel)
    direct = compiled(lambda images, kernel: ops.conv(images, kernel, 1, "same"))
    in_tiles = compiled(lambda images, spectrum: convolve(images, spectrum, kernel_side))
    transform = compiled(kernel_spectrum)
    spectrum = transform(kernel)
    expected, found = (
        ops.convert_to_numpy(value)
        for value in (direct(images, kernel), in_tiles(images, spectrum))
    )
    times = [
        _best(repeats, function, *values)
        for function, values in (
            (direct, (images, kernel)),
            (in_tiles, (images, spectrum)),
            (transform, (kernel,)),
        )
    ]
    return (
        f"| {label}: {batch} x {side} x {side}, {inputs} to {outputs}, "
        f"{kernel_side} x {kernel_side} | {times[0]:.4f} | {times[1]:.4f} | "
        f"{times[0] / times[1]:.1f} | {times[2]:.4f} | "
        f"{np.abs(found - expected).max() / np.abs(expected).max():.0e} |"
    )


def _best(repeats: int, function, *values) -> float:
    from keras import ops

    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        ops.convert_to_numpy(function(*values))
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _network_row() -> str:
    """Reconstruct one system twice each way; the second time counts: the first compiles."""
    import keras
    import numpy as np

    from rim_lensing.galaxies.procedural import draw_procedural_galaxies
    from rim_lensing.networks.conv_gru import ConvGRU
    from rim_lensing.networks.presets import get_preset
    from rim_lensing.networks.rim import RIM
    from rim_lensing.simulation.mock_observations import MockSimulator
    from rim_lensing.simulation.priors import Priors

    config = get_preset("paper192")
    galaxies = draw_procedural_galaxies(1, 0, side=96)
    mocks = MockSimulator(galaxies, Priors(), config).draw(np.random.default_rng(0), 1)

    def measured() -> tuple[float, np.ndarray]:
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model = RIM(config)
        model.build()
        for _ in range(2):
            started = time.perf_counter()
            result = model.predict_on_batch(mocks.network_inputs())
            seconds = time.perf_counter() - started
        return seconds, np.asarray(result)

    in_tiles, found = measured()
    with mock.patch.object(ConvGRU, "spectra", lambda self: None):
        direct, expected = measured()
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    return (
        f"| a reconstruction of one system | {direct:.1f} | {in_tiles:.1f} | "
        f"{direct / in_tiles:.1f} | {difference:.0e} |"
    )


if __name__ == "__main__":
    run(main)
