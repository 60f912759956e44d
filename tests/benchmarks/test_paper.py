"""The paper's figures and table, from small arrays that are made up here."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import automated_fit  # noqa: E402
import paper  # noqa: E402
import paper_arrays  # noqa: E402
import paper_figures  # noqa: E402
import paper_lens_rows  # noqa: E402
import paper_source_rows  # noqa: E402
import paper_table  # noqa: E402
import resumable  # noqa: E402

GENERATOR = np.random.default_rng(0)
SYSTEMS, IMAGE, SOURCE = 8, 12, 10
RUN = {"model": "rim_a", "weights_sha256": "w", "galaxies_sha256": "g"}
CIRCLE = np.stack([np.cos(np.linspace(0, 6.3, 50)), np.sin(np.linspace(0, 6.3, 50))], axis=-1)


def images(*shape: int) -> np.ndarray:
    return GENERATOR.uniform(0.1, 1, shape)


def write(directory: Path, files: dict[str, dict], run: dict | None = None) -> Path:
    directory.mkdir(exist_ok=True)
    if run is not None:
        (directory / "run.json").write_text(json.dumps(run))
    for name, arrays in files.items():
        np.savez(directory / f"{name}.npz", **arrays)
    return directory


def fidelity_measures() -> dict:
    return {
        "noise_level": np.linspace(0.01, 0.08, SYSTEMS),
        "true_flux": np.geomspace(10, 100, SYSTEMS),
        "true_log_prior": np.zeros(SYSTEMS),
        "rim_rms_error": np.array([1, 1, 1, 2, 2, 3, 3, 3]) / 100,  # median 2%
        "linear_rms_error": np.full(SYSTEMS, 0.04),
        "rim_flux_error": np.array([-4, -3, -2, 1, 1, 3, 4, 5]) / 100,  # |.|: 3%; bias 1%
        "linear_flux_error": np.zeros(SYSTEMS),
        "rim_coherence": np.tile([1.0, 0.5, 0.2, 0.05, 0.3], (SYSTEMS, 1)),
        "linear_coherence": np.tile([0.9, 0.4, 0.3, 0.0, 0.0], (SYSTEMS, 1)),
        "rim_log_prior": np.full(SYSTEMS, 2.0),  # sqrt(2 x 2) = 2 sigma
        "linear_log_prior": np.full(SYSTEMS, 72.0),  # 12 sigma
        "rim_negative_pixels": np.zeros(SYSTEMS),
        "linear_negative_pixels": np.full(SYSTEMS, 0.25),
    }


def fidelity_examples() -> dict:
    truth = images(7, SOURCE, SOURCE)
    truth[:, :2] = 0
    return {
        "image": images(7, IMAGE, IMAGE),
        "noise_rms": np.linspace(0.1, 0.2, 7),
        "true_source": truth,
        "rim_source": images(7, SOURCE, SOURCE),
        "rim_model": images(7, IMAGE, IMAGE),
        "linear_source": images(7, SOURCE, SOURCE),
        "linear_model": images(7, IMAGE, IMAGE),
    }


def fit_measures() -> dict:
    """Four systems: unaffected; affected; grossly; and a lens that led nowhere."""
    return {
        "noise_level": np.linspace(0.01, 0.08, SYSTEMS)[:4],
        "converged": np.array([True, True, True, False]),
        "optimisations": np.array([0, 1, 1, 1]),
        "evaluations": np.array([1, 40, 60, 80]),
        "true_rms_error": np.full(4, 0.01),
        "predicted_rms_error": np.array([0.011, 0.02, 0.05, np.nan]),
        "fitted_rms_error": np.array([0.011, 0.01, 0.013, 0.02]),
        "true_flux_error": np.zeros(4),
        "predicted_flux_error": np.array([0.01, -0.06, 0.1, np.nan]),
        "fitted_flux_error": np.full(4, 0.01),
    }


def fit_example() -> dict:
    one = {
        "image": images(IMAGE, IMAGE),
        "noise": np.full((IMAGE, IMAGE), 0.1),
        "true_source": images(SOURCE, SOURCE),
        "image_pixel_scale": 0.3,
        "source_pixel_scale": 0.2,
    }
    for name, radius in (("true", 1.0), ("predicted", 0.9), ("fitted", 0.8)):
        one[f"{name}_lens_source"] = images(SOURCE, SOURCE)
        one[f"{name}_lens_model"] = images(IMAGE, IMAGE)
        one[f"{name}_critical_curves"] = automated_fit.joined([radius * CIRCLE])
        one[f"{name}_caustics"] = automated_fit.joined([0.5 * radius * CIRCLE, 0.1 * CIRCLE])
    return one


def chain(width: float, truth: float) -> dict:
    """Draws on a regular grid of `width`; e1 and gamma1, and e2 and gamma2, the same."""
    generator = np.random.default_rng(1)
    draws = generator.permuted(np.tile(np.linspace(-width, width, 2001), (7, 1)), axis=1).T
    draws[:, 5], draws[:, 6] = draws[:, 1], draws[:, 2]
    return {"samples": draws, "truth": np.full(7, truth), "pixels": 256}


def out_of_distribution(label: str = "text") -> dict:
    truth = images(3, SOURCE, SOURCE)
    truth /= truth.max(axis=(1, 2), keepdims=True)
    return {
        "label": np.array([label] * 3),
        "system": np.arange(3),
        "image": images(3, IMAGE, IMAGE),
        "noise_rms": np.full(3, 0.1),
        "true_source": truth,
        "rim_source": truth + np.array([0.01, 0.02, 0.05])[:, None, None],
        "linear_source": truth + 0.04,
        "rim_model": images(3, IMAGE, IMAGE),
        "linear_model": images(3, IMAGE, IMAGE),
    }


def places(*chunks: dict) -> dict:
    """What measures.npz says of systems: which they are."""
    return {key: np.concatenate([one[key] for one in chunks]) for key in ("label", "system")}


@pytest.fixture
def runs(tmp_path) -> dict[str, Path]:
    fits = fit_measures()
    parts = {
        f"system_{i:04d}": {name: array[i : i + 1] for name, array in fits.items()}
        for i in range(4)
    }
    examples = {f"example_{i:04d}": fit_example() for i in range(3)}
    chains = {
        **{f"rim_{i:04d}": chain(1.0, 0.5) for i in range(2)},
        **{f"linear_{i:04d}": chain(2.0, 0.5) for i in range(3)},
    }
    return {
        "fidelity": write(
            tmp_path / "fidelity",
            {"measures": fidelity_measures(), "systems_0000_0007": fidelity_examples()},
            RUN,
        ),
        "automated-fit": write(
            tmp_path / "fits", parts | examples, RUN | {"lens_model": "lens_cnn_a"}
        ),
        "coverage": write(tmp_path / "coverage", chains, {"model": "rim_small"}),
        "out-of-distribution": write(
            tmp_path / "odd",
            {
                "systems_0000_0003": out_of_distribution(),
                "pages": out_of_distribution(),
                "measures": places(out_of_distribution()),
            },
            {"model": "rim_a"},
        ),
    }


@pytest.fixture
def quick(monkeypatch):
    """Draw nothing into the figures: to draw all takes seconds."""

    class Blank:
        def __getattr__(self, name):
            return lambda *arguments: Figure(figsize=(1, 1))

    monkeypatch.setattr(paper, "figures", Blank())


def options(runs: dict[str, Path], output: Path, *more: str) -> list[str]:
    given = [text for name, path in runs.items() for text in (f"--{name}", str(path))]
    return [*given, "--output", str(output), *more]


def by_measure(rows) -> dict:
    return {row.measure: row for row in rows}


def drawn(axis) -> np.ndarray:
    return np.ma.filled(axis.images[0].get_array(), np.nan)


def test_draws_every_figure_and_the_table(runs, tmp_path, capsys):
    output = tmp_path / "out"
    assert paper.main(options(runs, output)) == 0
    expected = {f"figure{i}.png" for i in range(3, 11)} | {"table.md"}
    assert {path.name for path in output.iterdir()} == expected
    text = (output / "table.md").read_text()
    assert text in capsys.readouterr().out
    assert "rim_a" in text and "lens_cnn_a" in text and "rim_small" in text
    assert f"image {IMAGE} x {IMAGE}, source {SOURCE} x {SOURCE}" in text


def test_needs_no_tensorflow():
    code = "import sys, paper; sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras')))"
    subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, check=True)


@pytest.mark.parametrize(
    "left_out, figures",
    [
        ("fidelity", {3, 4, 5, 6}),
        ("automated-fit", {4, 7, 8}),
        ("coverage", {9}),
        ("out-of-distribution", {10}),
    ],
)
def test_what_was_not_given_is_skipped_with_its_command(
    runs, quick, tmp_path, capsys, left_out, figures
):
    given = {name: path for name, path in runs.items() if name != left_out}
    assert paper.main(options(given, tmp_path / "out")) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "skipped" in line]
    assert len(said) == len(figures)
    for number, line in zip(sorted(figures), said, strict=True):
        assert line.startswith(f"figure {number} skipped")
        program = {"coverage": "lens_coverage"}.get(left_out, left_out.replace("-", "_"))
        assert f"python benchmarks/{program}.py" in line
        assert not (tmp_path / "out" / f"figure{number}.png").exists()


def test_a_run_that_kept_no_examples_is_drawn_without_them(runs, quick, tmp_path, capsys):
    for path in runs["automated-fit"].glob("example_*"):
        path.unlink()
    assert paper.main(options(runs, tmp_path / "out")) == 0
    assert "figure 7 skipped" in capsys.readouterr().out
    assert (tmp_path / "out" / "figure4.png").exists()


def test_overwrites_only_when_told(runs, quick, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "figure9.png").write_text("mine")
    with pytest.raises(FileExistsError, match="figure9.png exists; --overwrite"):
        paper.main(options(runs, output))
    assert [path.name for path in output.iterdir()] == ["figure9.png"]
    assert paper.main(options(runs, output, "--overwrite")) == 0
    assert (output / "figure9.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_given(tmp_path):
    with pytest.raises(ValueError, match="--fidelity, --automated-fit, --coverage"):
        paper.main(["--output", str(tmp_path / "out")])


@pytest.mark.parametrize(
    "run, name",
    [
        ("fidelity", "measures.npz"),
        ("fidelity", "systems_0000_0007.npz"),
        ("automated-fit", "system_0002.npz"),
        ("automated-fit", "example_0001.npz"),
        ("coverage", "rim_0001.npz"),
        ("out-of-distribution", "systems_0000_0003.npz"),
        ("out-of-distribution", "pages.npz"),
        ("out-of-distribution", "measures.npz"),
    ],
)
@pytest.mark.parametrize("kept", [0, 0.5, 0.999])
def test_a_damaged_file_is_named(runs, tmp_path, run, name, kept):
    path = runs[run] / name
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        paper.main(options(runs, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("changed", [{}, {"run.json": "{"}, {"measures.npz": None}])
def test_what_is_no_run_is_refused(runs, tmp_path, changed):
    directory = tmp_path / "empty"
    directory.mkdir()
    if changed:
        directory = runs["fidelity"]
        for name, text in changed.items():
            (directory / name).unlink()
            if text is not None:
                (directory / name).write_text(text)
    with pytest.raises((FileNotFoundError, ValueError), match="run.json|measures.npz"):
        paper.main(options({"fidelity": directory}, tmp_path / "out"))


def test_a_missing_array_and_unequal_lengths_are_told(runs, tmp_path):
    measures = fidelity_measures()
    write(runs["fidelity"], {"measures": measures | {"true_flux": np.ones(3)}})
    with pytest.raises(ValueError, match="not of the same systems.*'true_flux': 3"):
        paper_arrays.read_fidelity(runs["fidelity"])
    del measures["rim_coherence"]
    write(runs["fidelity"], {"measures": measures})
    with pytest.raises(ValueError, match="measures.npz misses the arrays rim_coherence"):
        paper_arrays.read_fidelity(runs["fidelity"])


def test_runs_of_other_systems_are_not_compared(runs, tmp_path):
    (runs["automated-fit"] / "run.json").write_text(json.dumps(RUN | {"galaxies_sha256": "h"}))
    with pytest.raises(ValueError, match="same weights and galaxies.*galaxies_sha256 g and h"):
        paper.main(options(runs, tmp_path / "out"))
    (runs["automated-fit"] / "run.json").write_text(json.dumps(RUN))
    measures = fidelity_measures()
    measures["noise_level"] = measures["noise_level"][::-1]
    write(runs["fidelity"], {"measures": measures})
    with pytest.raises(ValueError, match="same systems"):
        paper.main(options(runs, tmp_path / "out"))


def test_out_of_distribution_is_sorted_by_label(tmp_path):
    first, second, pages = (out_of_distribution() for _ in range(3))
    first |= {"label": np.array(["text", "rendered", "text"]), "system": np.array([0, 0, 1])}
    second |= {"label": np.array(["rendered", "rendered", "text"]), "system": np.array([1, 2, 2])}
    files = {"systems_0000_0002": first, "systems_0002_0003": second, "pages": pages}
    files["measures"] = places(first, second)
    found = paper_arrays.read_out_of_distribution(write(tmp_path / "odd", files, {}))
    assert list(found.classes) == ["page of text", "rendered text", "text"]
    np.testing.assert_array_equal(found.classes["page of text"]["image"], pages["image"])
    text = [first["rim_source"][0], first["rim_source"][2], second["rim_source"][2]]
    np.testing.assert_array_equal(found.classes["text"]["rim_source"], text)


def test_out_of_distribution_counts_every_system_of_its_measures_once(tmp_path):
    small, grown, pages = (out_of_distribution() for _ in range(3))
    small |= {"system": np.array([5, 6, 7])}
    grown |= {"system": np.array([6, 7, 8])}
    files = {"systems_0005_0008": small, "systems_0005_0010": grown, "pages": pages}
    directory = write(tmp_path / "odd", files | {"measures": places(small)}, {})

    def sources() -> np.ndarray:
        return paper_arrays.read_out_of_distribution(directory).classes["text"]["rim_source"]

    # The larger run was interrupted before it measured: the smaller one is what there is.
    np.testing.assert_array_equal(sources(), small["rim_source"])
    four = {"label": np.array(["text"] * 4), "system": np.arange(5, 9)}
    write(directory, {"measures": four})
    expected = [*small["rim_source"], grown["rim_source"][2]]
    np.testing.assert_array_equal(sources(), expected)
    write(directory, {"measures": {"label": np.array(["text"]), "system": np.array([9])}})
    with pytest.raises(ValueError, match="measures.npz has system 9 of text, which no systems_"):
        sources()


def test_an_interrupted_out_of_distribution_run_is_refused(runs):
    (runs["out-of-distribution"] / "measures.npz").unlink()
    with pytest.raises(FileNotFoundError, match="measures.npz: let the program"):
        paper_arrays.read_out_of_distribution(runs["out-of-distribution"])


def test_numbers_behind_the_true_lens():
    found = paper_arrays.Fidelity(RUN, fidelity_measures(), fidelity_examples())
    rows = paper_source_rows.fidelity_rows(found)
    bound, single = (row for row in rows if row.measure == "rms error, RIM")
    table = by_measure(rows)
    assert bound.ours.startswith("2.00% ±") and bound.verdict == "no"  # not below 0.5%
    assert single.verdict == "no, worse"  # 2% / 1.2% > 1.5
    flux = table["abs. flux error, RIM, true lens"]
    assert flux.ours.startswith("3.00% ±") and flux.verdict == "same"
    bias = table["flux bias, RIM"]
    assert bias.ours.startswith("+1.00% ±") and bias.verdict == "no, worse"
    ratio = table["rms error, RIM over linear"]
    assert ratio.ours == "0.50" and ratio.verdict == "same"  # 0.02 / 0.04
    above = table["wavenumbers at which the RIM is above linear (all)"]
    assert above.ours == "4 of 5" and above.verdict == "no"
    reach = table["mean coherence above 0.1 up to k, RIM"]
    assert reach.ours == "3" and reach.verdict == "no, worse"
    linear = table["log-prior, linear above truth"]
    assert linear.ours == "+72 ± 0 (+12.0 sigma)" and linear.verdict == "same"
    assert table["log-prior, RIM from truth, in sigma"].ours.startswith("2.0 ±")
    assert table["negative pixels, linear; RIM (some; none)"].ours == "25%; 0%"
    assert all(row.systems in (SYSTEMS, 7) for row in rows)


def test_rows_of_sources_by_hand():
    truth = np.zeros((4, 6, 6))
    truth[:, :3] = 2.0
    dark = np.where(truth > 0, 0, 2.0)
    examples = {
        "true_source": truth,
        "rim_source": truth + 0.01 * dark,
        "linear_source": truth + 0.05 * dark,
    }

    def rows(**changes):
        measures = fidelity_measures() | changes
        found = paper_arrays.Fidelity(RUN, measures, examples)
        return by_measure(paper_source_rows.fidelity_rows(found))

    table = rows()
    row = table["noise where there is no flux, RIM over linear (below one half)"]
    assert (row.ours, row.verdict) == ("0.20", "same")
    row = table["brightest linear pixel where there is no flux (2% to 10%)"]
    assert row.ours.startswith("5.00% ±") and row.verdict == "same"
    row = table["bias over scatter (below one half)"]
    assert (row.ours, row.verdict) == ("0.30", "same")
    assert table["log-prior, RIM from truth, in sigma"].verdict == "no, worse"
    negative = "negative pixels, linear; RIM (some; none)"
    coherence = "mean coherence at k = 1, RIM (above 0.99)"
    assert table[negative].verdict == table[coherence].verdict == "same"
    assert table["rms error, linear"].verdict == "same"  # 4% of 2.7%
    table = rows(
        rim_negative_pixels=np.full(SYSTEMS, 0.1),
        rim_coherence=np.full((SYSTEMS, 5), 0.98),
        linear_rms_error=np.full(SYSTEMS, 0.1),
    )
    assert table[negative].verdict == table[coherence].verdict == "no"
    assert table["rms error, linear"].verdict == "no, worse"


def test_a_linear_source_below_the_truth_is_not_the_papers():
    measures = fidelity_measures() | {"linear_log_prior": np.full(SYSTEMS, -72.0)}
    found = paper_arrays.Fidelity(RUN, measures, fidelity_examples())
    row = by_measure(paper_source_rows.fidelity_rows(found))["log-prior, linear above truth"]
    assert row.ours == "-72 ± 0 (-12.0 sigma)" and row.verdict == "no, other sign"


@pytest.mark.parametrize(
    "difference, words", [(3.0, "smoother than"), (-3.0, "rougher than"), (0.0, "as smooth as")]
)
def test_the_reasons_say_of_the_log_prior_what_the_numbers_say(difference, words):
    log_priors = {f"{name}_log_prior": np.full(SYSTEMS, difference) for name in ("rim", "linear")}
    found = paper_arrays.Fidelity(RUN, fidelity_measures() | log_priors, fidelity_examples())
    table = by_measure(paper_source_rows.fidelity_rows(found))
    for measure in ("log-prior, linear above truth", "log-prior, RIM from truth, in sigma"):
        assert table[measure].why.endswith(f"ours: {words} the truth")


def test_noise_where_there_is_no_flux():
    truth = np.zeros((2, 4, 4))
    truth[0, :2], truth[1] = 2.0, 1.0  # the second has no dark pixel
    rim, linear = truth.copy(), truth.copy()
    rim[0, :2] += 1.0  # inside of the galaxy: does not count
    linear[0, 2:] = [[0.2, -0.2, 0.2, -0.2], [0.2, 0.2, 0.2, -0.6]]
    found = paper_source_rows.dark_noise(
        {"true_source": truth, "rim_source": rim, "linear_source": linear}
    )
    np.testing.assert_allclose(found["rim"], [0, np.nan])
    np.testing.assert_allclose(found["linear_peak"], [0.3, np.nan])
    np.testing.assert_allclose(found["linear"], [np.sqrt((7 * 0.01 + 0.09) / 8), np.nan])


def test_numbers_with_the_predicted_lens():
    found = paper_arrays.Fits(RUN, np.arange(4), fit_measures(), [])
    table = by_measure(paper_lens_rows.fit_rows(found))
    unaffected = table[
        "unaffected by the CNN's lens: rms error below 1.2 x that with the true lens"
    ]
    assert unaffected.ours.startswith("25.0% ±") and unaffected.verdict == "no, worse"
    assert table["unaffected by the CNN's lens: residuals are noise"].ours.startswith("25.0% ±")
    flux = table["abs. flux error with the CNN's lens, the affected"]
    assert flux.ours.startswith("8.00% ±") and flux.verdict == "same" and flux.systems == 3
    assert table["abs. flux error with the CNN's lens, all"].ours.startswith("6.00% ±")
    rms = table["rms error with the CNN's lens, the affected"]
    assert rms.ours.startswith("3.50% ±") and rms.verdict == "no, better"
    gross = table["rms error above 3 x that with the true lens: residuals tell (95%)"]
    assert gross.ours.startswith("100.0% ±") and gross.systems == 2 and gross.verdict == "same"
    steps = table["steps of the optimiser, 80% of the systems (within 10 to 500)"]
    assert steps.ours == "60 (44 to 76)" and steps.verdict == "same" and steps.systems == 3
    after = table["rms error after optimisation over that with the true lens (below 1.2)"]
    assert after.ours == "1.30" and after.verdict == "no"
    assert table["residuals are noise in the end (all)"].ours.startswith("75.0% ±")


def test_numbers_of_the_posteriors():
    chains = paper_arrays.Chains(
        {"model": "rim_small"},
        [chain(1.0, 0.5), chain(1.0, 0.97)],
        [chain(2.0, 0.5), chain(2.0, 0.97)],
    )
    table = by_measure(paper_lens_rows.chain_rows(chains))
    rim = table["truths inside of the 95% intervals, RIM (90% or more)"]
    assert rim.ours.startswith("50.0% ±") and rim.verdict == "no"
    assert rim.why == "rim_small, 256 pixels of the image"
    linear = table["truths inside of the 95% intervals, linear (90% or more)"]
    assert linear.ours.startswith("100.0% ±") and linear.verdict == "same"
    assert table["width of the 68% intervals, RIM over linear (below 1)"].ours.startswith("0.50 ±")
    confused = table["correlation of ellipticity and shear, RIM (stronger than 0.5)"]
    assert confused.ours.startswith("+1.00 ±") and confused.verdict == "same"


def test_numbers_out_of_distribution():
    (row,) = paper_source_rows.out_of_distribution_rows(
        paper_arrays.OutOfDistribution(
            {}, {"text": out_of_distribution(), "galaxies": out_of_distribution()}
        )
    )
    assert row.ours.startswith("0.50 ±") and row.ours.endswith("worst 1.25")
    assert row.verdict == "same" and row.systems == 3


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "table.md"
    resumable.write_text(path, "old")

    class Interrupted(Figure):
        def savefig(self, part, **options):
            Path(part).write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resumable.write_figure(path, Interrupted())
    assert path.read_text() == "old"
    resumable.write_text(path, "new")
    resumable.write_figure(tmp_path / "figure.png", Figure(figsize=(1, 1)), dpi=72)
    resumable.write_arrays(tmp_path / "arrays.npz", {"a": np.arange(3)})
    assert path.read_text() == "new"
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert np.load(tmp_path / "arrays.npz")["a"].tolist() == [0, 1, 2]
    # No temporary file stays.
    assert {one.name for one in tmp_path.iterdir()} == {"table.md", "figure.png", "arrays.npz"}


def test_near_is_a_factor_of_one_and_a_half():
    assert [paper_table.near(value, 3) for value in (1.9, 2.1, 4.4, 4.6)] == [
        "no, better",
        "same",
        "same",
        "no, worse",
    ]
    assert paper_table.near(1.9, 3, lower_is_better=False) == "no, worse"


def test_figures_3_and_6_show_the_first_systems():
    examples = fidelity_examples()
    figure = paper_figures.reconstructions_figure(examples)
    panels = np.array(figure.axes[:36]).reshape(6, 6)
    assert len(figure.axes) == 36 + 6
    for i, row in enumerate(panels):
        np.testing.assert_allclose(drawn(row[3]), examples["true_source"][i])
        np.testing.assert_allclose(drawn(row[4]), examples["rim_source"][i])
        sigma = (examples["image"][i] - examples["rim_model"][i]) / examples["noise_rms"][i]
        np.testing.assert_allclose(drawn(row[2]), sigma)
    panels = np.array(paper_figures.comparison_figure(examples).axes[:8]).reshape(2, 4)
    truth = examples["true_source"][0]
    np.testing.assert_allclose(drawn(panels[1, 0]), truth)
    for row, name in zip(panels, ("rim", "linear"), strict=True):
        source = examples[f"{name}_source"][0]
        np.testing.assert_allclose(drawn(row[1]), source)
        np.testing.assert_allclose(drawn(row[2]), (source - truth) / truth.max())
        sigma = (examples["image"][0] - examples[f"{name}_model"][0]) / 0.1
        np.testing.assert_allclose(drawn(row[3]), sigma)


def test_figure_4_pairs_the_fits_with_the_fluxes_of_their_systems():
    fidelity = paper_arrays.Fidelity(RUN, fidelity_measures(), {})
    # System 9 is not among the eight of the fidelity run.
    fits = paper_arrays.Fits(RUN, np.array([1, 3, 5, 9]), fit_measures(), [])
    figure = paper_figures.flux_figure(*paper._fluxes(fidelity, fits))
    upper, lower = figure.axes
    flux = fidelity.measures["true_flux"]
    true, predicted, fitted, one_to_one = upper.lines
    np.testing.assert_allclose(true.get_xdata(), flux)
    np.testing.assert_allclose(true.get_ydata(), flux * (1 + fidelity.measures["rim_flux_error"]))
    np.testing.assert_allclose(predicted.get_xdata(), flux[[1, 3, 5]])
    np.testing.assert_allclose(predicted.get_ydata(), flux[[1, 3, 5]] * [1.01, 0.94, 1.1])
    np.testing.assert_allclose(fitted.get_ydata(), flux[[1, 3, 5]] * 1.01)
    np.testing.assert_array_equal(one_to_one.get_xdata(), one_to_one.get_ydata())
    np.testing.assert_allclose(lower.lines[1].get_ydata(), [1, -6, 10])


def test_figure_5_shows_the_mean_spectra():
    spectra = {"RIM": images(6, 5), "linear": images(6, 5)}
    (axis,) = paper_figures.coherence_figure(spectra).axes
    for container, spectrum in zip(axis.containers, spectra.values(), strict=True):
        np.testing.assert_allclose(
            container.lines[0].get_xydata(),
            np.stack([np.arange(1, 6), spectrum.mean(axis=0)], axis=-1),
        )


@pytest.mark.parametrize("lens, radius", [("predicted", 0.9), ("fitted", 0.8)])
def test_figures_7_and_8_show_the_lens_and_the_true_one(lens, radius):
    examples = [fit_example() for _ in range(3)]
    figure = paper_figures.lens_examples_figure(examples, lens)
    panels = np.array(figure.axes[:18]).reshape(3, 6)
    for row, one in zip(panels, examples, strict=True):
        np.testing.assert_allclose(drawn(row[4]), one[f"{lens}_lens_source"])
        assert not row[2].lines and not row[5].lines
        true, drawn_lens = row[1].lines
        middle, pixel = (IMAGE - 1) / 2, 0.3
        # The curve is a circle about the middle of the grid.
        for line, expected in ((true, 1.0), (drawn_lens, radius)):
            distance = np.hypot(*(line.get_xydata() - middle).T) * pixel
            np.testing.assert_allclose(distance[:-1], expected)
        assert row[1].get_xlim() == (-0.5, IMAGE - 0.5)


def test_figure_9_has_a_panel_per_pair():
    figure = paper_figures.posterior_figure(chain(1.0, 0.5), chain(2.0, 0.5))
    assert len(figure.axes) == 49
    # The narrower histogram is the higher one, and is not cut off by the other's panel.
    for axis in figure.axes[::8]:
        heights = [line.get_ydata().max() for line in axis.lines if len(line.get_ydata()) > 2]
        assert len(heights) == 2
        assert axis.get_ylim()[1] > max(heights)


def test_figure_10_shows_the_first_of_each_kind():
    one, other = out_of_distribution(), out_of_distribution()
    figure = paper_figures.out_of_distribution_figure({"a": one, "b": other})
    panels = np.array(figure.axes).reshape(2, 6)
    assert [axis.get_title() for axis in panels[0]] == [
        "observed image",
        "model, linear",
        "model, RIM",
        "ground truth",
        "source, linear",
        "source, RIM",
    ]
    for row, arrays in zip(panels, (one, other), strict=True):
        np.testing.assert_allclose(drawn(row[5]), arrays["rim_source"][0])
        peak = arrays["image"][0].max()
        np.testing.assert_allclose(drawn(row[2]), arrays["rim_model"][0] / peak)
        np.testing.assert_allclose(drawn(row[0]), arrays["image"][0] / peak)
        assert "4.0% of peak" in row[4].get_xlabel()
        assert "1.0% of peak" in row[5].get_xlabel()
