"""Figures: functions from arrays to a matplotlib Figure. Nothing here computes a result."""

import numpy as np


def mock_reconstructions(image, noise, model_image, true_source, source):
    """A row per system: data, model, residual in sigma, truth, reconstruction, error.

    Args:
        image: (rows, m, m).
        noise: (rows, m, m).
        model_image: (rows, m, m).
        true_source: (rows, n, n), peak 1.
        source: (rows, n, n).

    Returns:
        matplotlib Figure.
    """
    from matplotlib.figure import Figure

    rows = len(image)
    figure = Figure(figsize=(13, 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, 6, squeeze=False)
    titles = ("data", "model", "residual / sigma", "true source", "RIM source", "error")
    for i in range(rows):
        peak, error = image[i].max(), source[i] - true_source[i]
        panels = (
            (image[i], {"vmin": 0, "vmax": peak}),
            (model_image[i], {"vmin": 0, "vmax": peak}),
            ((image[i] - model_image[i]) / noise[i], {"vmin": -4, "vmax": 4, "cmap": "RdBu_r"}),
            (true_source[i], {"vmin": 0, "vmax": 1}),
            (source[i], {"vmin": 0, "vmax": 1}),
            (error, {"vmin": -0.1, "vmax": 0.1, "cmap": "RdBu_r"}),
        )
        for axis, (array, style) in zip(axes[i], panels, strict=True):
            axis.imshow(array, origin="lower", **({"cmap": "inferno"} | style))
            axis.set_xticks([])
            axis.set_yticks([])
        axes[i][2].set_xlabel(f"chi2/pixel {np.mean(((image[i] - model_image[i]) / noise[i])**2):.2f}")
        axes[i][5].set_xlabel(f"rms {100 * np.sqrt(np.mean(error**2)):.2f}% of peak")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    return figure
