"""Wall time and peak memory of the RIM against linear inversions, and how they grow.

    python benchmarks/speed.py --output runs/speed.json

Every size has n x n image and n x n source pixels over the same field (6.4" and 3.2"), PSF sigma
0.05", noise 3% of the peak. What is timed is what a new lens costs: building what depends on it,
and the source. All methods of a size are timed in turn in one process, several times over, so that
their ratios hold when the machine's speed drifts; memory is measured in a process for each method.
Compilation and loading are not in it. The untrained sizes serve for time, not for fidelity. A run
that was interrupted goes on with the same command.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

from resumable import write_text

from rim_lensing.plain_numbers import plain
from rim_lensing.program import run
from rim_lensing.zoo.zoo import find_pretrained, read_config, sha256

SIZES = (32, 64, 96, 128, 192, 256)
RIM_BATCHES = (1, 16)
METHODS = {
    **{f"rim, batch {batch}": batch for batch in RIM_BATCHES},
    "exact, one strength": 1,
    "exact, evidence": 1,
    "matrix-free, one strength": 1,
    "matrix-free, evidence": 1,
}
FIELD, SOURCE_FIELD, PSF_SIGMA, NOISE, SEED = 6.4, 3.2, 0.05, 0.03, 0
LIMIT_S = 100.0


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="rim_euclid64", help="whose network is timed")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES, help="multiples of its stride"
    )
    parser.add_argument("--repeats", type=int, default=3, help="of every method")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Measure what is missing, and print the tables."""
    options = parse_arguments(arguments)
    if options.child:
        print(json.dumps(_child(options)))
        return 0
    model = find_pretrained(options.model, "rim")
    stride = read_config(model.directory).network.stride
    bad = [size for size in options.sizes if size % stride or size < 16]
    if bad or options.repeats < 1:
        raise ValueError(
            f"--sizes must be multiples of {stride} from 16 on, --repeats positive: {bad}"
        )
    settings = {"weights_sha256": sha256(model.weights), "repeats": options.repeats}
    stored = json.loads(options.output.read_text()) if options.output.exists() else {}
    if stored and stored.get("settings") != settings:
        raise FileExistsError(f"{options.output} holds times of other settings: choose another")
    results = stored.get("sizes", {})
    stored = {"settings": settings, "sizes": results}
    slow: set = set()
    for size in sorted(options.sizes):
        methods = [name for name in METHODS if name not in slow]
        key = str(size)
        if key not in results:
            results[key] = {"times": _start(options, "times", size, *methods), "memory": {}}
            _save(options.output, stored)
        for name in results[key]["times"]:
            if name not in results[key]["memory"]:
                results[key]["memory"][name] = _start(options, "memory", size, name)
                _save(options.output, stored)
        # The next size takes at least four times as long: that of the inversions grows faster.
        slow |= {
            name
            for name, runs in results[key]["times"].items()
            if 4 * min(run["wall"] for run in runs) > LIMIT_S
        }
    print(_tables(results))
    return 0


def _start(options: argparse.Namespace, *child) -> dict:
    """Run a measurement in a process of its own, and return what it prints."""
    command = [sys.executable, __file__, "--output", "-", "--model", options.model]
    command += ["--repeats", str(options.repeats), "--child", *map(str, child)]
    print("measuring", *child, file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"The measurement {child} failed; its message is above")
    return json.loads(done.stdout.splitlines()[-1])


def _save(path: Path, results: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(plain(results), indent=1) + "\n")


def _child(options: argparse.Namespace) -> dict:
    """Measure times of several methods in turn, or the memory of one."""
    kind, size, *names = options.child
    mocks, geometry = _mock(int(size))
    if kind == "memory":
        runs = _runner(names[0], mocks, geometry, options.model)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        runs()
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"peak_MB": round(after / 1024), "growth_MB": round((after - before) / 1024)}
    runners = {name: _runner(name, mocks, geometry, options.model) for name in names}
    for name, reconstruct in runners.items():
        if name.startswith("rim"):
            reconstruct()
    times: dict = {name: [] for name in names}
    for _ in range(options.repeats):
        for name, reconstruct in runners.items():
            wall, processor = time.perf_counter(), time.process_time()
            reconstruct()
            times[name].append(
                {
                    "wall": (time.perf_counter() - wall) / METHODS[name],
                    "processor": (time.process_time() - processor) / METHODS[name],
                }
            )
    return times


def _mock(size: int):
    """Draw one system; a procedural galaxy, so that it is the same everywhere."""
    import numpy as np

    from rim_lensing.forward_model.geometry import Geometry
    from rim_lensing.galaxies.procedural import draw_procedural_galaxies
    from rim_lensing.simulation.mock_observations import MockSimulator
    from rim_lensing.simulation.priors import Priors

    geometry = Geometry(
        image_side=size,
        image_pixel_scale=FIELD / size,
        source_side=size,
        source_pixel_scale=SOURCE_FIELD / size,
        psf_side=2 * int(np.ceil(5 * PSF_SIGMA * size / FIELD)) + 1,
    )
    priors = Priors(psf_sigma=(PSF_SIGMA, PSF_SIGMA), noise=(NOISE, NOISE), theta_E=(1.2, 1.2))
    stamps = draw_procedural_galaxies(1, SEED)
    return MockSimulator(stamps, priors, geometry).draw(np.random.default_rng(SEED), 1), geometry


def _runner(name: str, mocks, geometry, model_name: str):
    """Return a function that reconstructs the system once, or a batch of copies of it."""
    if name.startswith("rim"):
        return _rim_runner(METHODS[name], mocks, geometry, model_name)
    return _linear_runner(name, mocks, geometry)


def _rim_runner(batch: int, mocks, geometry, model_name: str):
    from dataclasses import asdict, replace

    import numpy as np

    from rim_lensing.backend import compiled
    from rim_lensing.networks.rim import RIM
    from rim_lensing.zoo.zoo import load_pretrained

    trained = load_pretrained(model_name).network
    network = RIM(replace(trained.config, **asdict(geometry)))
    network.build()
    network.set_weights(trained.get_weights())
    inputs = {key: np.repeat(value, batch, axis=0) for key, value in mocks.network_inputs().items()}
    compute = compiled(lambda values: network(values)[:, -1])
    return lambda: np.asarray(compute(inputs))


def _linear_runner(name: str, mocks, geometry):
    import numpy as np

    from rim_lensing.forward_model.ray_tracing import RayTracer
    from rim_lensing.inversion.evidence import maximise_evidence
    from rim_lensing.inversion.exact import ExactEngine
    from rim_lensing.inversion.linear_system import LinearSystem
    from rim_lensing.inversion.matrix_free import MatrixFreeEngine

    kind = ExactEngine if name.startswith("exact") else MatrixFreeEngine

    def engine():
        tracer = RayTracer(mocks.lens, geometry.image_grid, geometry.source_grid)
        system = LinearSystem(tracer.as_matrix()[0], mocks.psf[0], mocks.image[0], mocks.noise[0])
        return kind(system, "gradient")

    def invert():
        found = engine()
        # The size of a good strength: the gradients of a source of peak 1 over its n pixels.
        strength = 50.0 * (geometry.source_side / 64) ** 2
        if name.endswith("evidence"):
            strength = maximise_evidence(found)
        return np.asarray(found.mean(strength))

    return invert


def _tables(results: dict) -> str:
    """Return times, their ratios to the RIM's, growth and memory as Markdown."""
    sizes = sorted(map(int, results))
    names = [name for name in METHODS if any(name in results[str(n)]["times"] for n in sizes)]
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    lines = [f"Seconds a system, wall, median of the repeats (smallest to largest); {machine}.", ""]
    lines += _table(sizes, names, lambda size, name: _times(results, size, name))
    lines += ["", "Ratio to the RIM at batch 1, of the medians (the RIM at batch 16: below 1).", ""]
    lines += _table(sizes, names, lambda size, name: _ratio(results, size, name))
    lines += [
        "",
        "Growth of the peak memory during one reconstruction, MB (batch 16: of all 16).",
        "",
    ]
    lines += _table(sizes, names, lambda size, name: _memory(results, size, name))
    return "\n".join(lines)


def _table(sizes: list, names: list, cell) -> list[str]:
    rows = [["method", *(f"{n} x {n}" for n in sizes)], ["---"] * (len(sizes) + 1)]
    rows += [[name, *(cell(str(size), name) for size in sizes)] for name in names]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _walls(results: dict, size: str, name: str) -> list[float]:
    return sorted(run["wall"] for run in results[size]["times"].get(name, []))


def _times(results: dict, size: str, name: str) -> str:
    walls = _walls(results, size, name)
    if not walls:
        return "not run"
    return f"{walls[len(walls) // 2]:.3g} ({walls[0]:.3g} to {walls[-1]:.3g})"


def _ratio(results: dict, size: str, name: str) -> str:
    walls, rim = _walls(results, size, name), _walls(results, size, "rim, batch 1")
    if not walls or not rim:
        return "not run"
    return f"{walls[len(walls) // 2] / rim[len(rim) // 2]:.2g}"


def _memory(results: dict, size: str, name: str) -> str:
    memory = results[size]["memory"].get(name)
    return f"{memory['growth_MB']:,}" if memory else "not run"


if __name__ == "__main__":
    run(main, "interrupted; the same command goes on")
