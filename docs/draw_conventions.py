"""Draw the pictures of the page on conventions: `python docs/draw_conventions.py`.

They are computed by the package, so that a picture cannot say another sign than the code.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Arc, Ellipse, Rectangle

import rim_lensing as rl
from rim_lensing.lensing.critical_curves import critical_curves, to_source

PICTURES = Path(__file__).with_name("pictures")
MASS, SKY, ANGLE = "tab:blue", "0.35", "tab:orange"


def axes_in_arcsec(axis, half: float, title: str) -> None:
    """Give a panel its frame, axes through the origin, and labels."""
    axis.axhline(0, color="0.8", lw=0.8)
    axis.axvline(0, color="0.8", lw=0.8)
    axis.set(xlim=(-half, half), ylim=(-half, half), aspect="equal", title=title)
    axis.set(xlabel="x (arcsec), grows with the column", ylabel="y (arcsec), grows with the row")


def ellipticity() -> plt.Figure:
    """Draw the shape of the mass for four pairs (e1, e2)."""
    figure, panels = plt.subplots(1, 4, figsize=(15, 4.2), layout="constrained")
    for axis, (e1, e2) in zip(panels, ((0.25, 0), (-0.25, 0), (0, 0.25), (0, -0.25)), strict=True):
        modulus, phi = np.hypot(e1, e2), np.arctan2(e2, e1) / 2
        q = (1 - modulus) / (1 + modulus)
        axis.add_patch(
            Ellipse(
                (0, 0),
                2 / np.sqrt(q),
                2 * np.sqrt(q),
                angle=np.degrees(phi),
                fc="none",
                ec=MASS,
                lw=2,
            )
        )
        axis.plot(
            *np.outer((np.cos(phi), np.sin(phi)), (-1 / np.sqrt(q), 1 / np.sqrt(q))), color=MASS
        )
        if phi:
            angles = (0, np.degrees(phi)) if phi > 0 else (np.degrees(phi), 0)
            axis.add_patch(Arc((0, 0), 1, 1, theta1=angles[0], theta2=angles[1], color=ANGLE, lw=2))
        axes_in_arcsec(axis, 1.7, f"e1 = {e1:g}, e2 = {e2:g}")
        axis.text(-1.6, -1.55, f"q = {q:.2f}, phi = {np.degrees(phi):.0f}°", color=ANGLE)
    return figure


def shear() -> plt.Figure:
    """Draw the deflection of a shear, and what it makes of a round source behind an SIS."""
    figure, panels = plt.subplots(1, 4, figsize=(15, 4.2), layout="constrained")
    axis = np.linspace(-1.35, 1.35, 7)
    x, y = np.meshgrid(axis, axis)
    for column, (gamma1, gamma2) in enumerate(((0.15, 0), (0, 0.15))):
        lens = rl.MassModel(shear=rl.Shear(gamma1, gamma2))
        rays = [each.astype("float32") for each in (lens.values[None], x, y)]
        alpha = (np.asarray(each)[0] for each in lens.deflection(*rays))
        panels[2 * column].quiver(
            x, y, *alpha, color=MASS, angles="xy", scale_units="xy", scale=0.5
        )
        axes_in_arcsec(panels[2 * column], 1.9, f"alpha, gamma1 = {gamma1:g}, gamma2 = {gamma2:g}")
        scene = rl.MassModel(lens=rl.SIE(theta_E=1.0, e1=1e-4), shear=rl.Shear(gamma1, gamma2))
        curve = critical_curves(scene)[0]
        panels[2 * column + 1].plot(*curve.T, color=MASS, label="critical curve")
        panels[2 * column + 1].plot(*to_source(scene, curve).T, color=ANGLE, label="caustic")
        axes_in_arcsec(panels[2 * column + 1], 1.9, "behind a round lens")
        panels[2 * column + 1].legend(fontsize=8, loc="lower left")
    return figure


def pixels() -> plt.Figure:
    """Draw where pixels lie, and how an array is indexed."""
    figure, panels = plt.subplots(1, 2, figsize=(10.5, 4.6), layout="constrained")
    for axis, side in zip(panels, (4, 5), strict=True):
        middle = (side - 1) / 2
        for row in range(side):
            for column in range(side):
                x, y = column - middle, row - middle
                axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fc="none", ec="0.7"))
                axis.text(x, y + 0.15, f"[{row}, {column}]", ha="center", fontsize=8)
                axis.plot(x, y - 0.15, ".", color=MASS, ms=4)
        axis.plot(0, 0, "+", color=ANGLE, ms=16, mew=2)
        title = f"{side} x {side} pixels: array[row, column]"
        axis.set(xlim=(-2.7, 2.7), ylim=(-2.7, 2.7), aspect="equal", title=title)
        axis.set(xlabel="x / pixel scale", ylabel="y / pixel scale")
    return figure


def sky() -> plt.Figure:
    """Draw the same lens in the image's frame and in those of two other conventions."""
    figure, panels = plt.subplots(1, 3, figsize=(13, 4.8), layout="constrained")
    lens, phi, q = (0.35, 0.2), np.radians(30), 0.6
    frames = (
        ("here: x with the column,\ny with the row", 1, 1, "x", "y"),
        ("the same array in right ascension:\neast left, x is mirrored", -1, 1, "RA", "Dec"),
        ("the same array in PyAutoLens:\ny grows towards row 0", 1, -1, "x", "y"),
    )
    for axis, (title, sign_x, sign_y, name_x, name_y) in zip(panels, frames, strict=True):
        axis.add_patch(Ellipse(lens, 1.6, 1.6 * q, angle=np.degrees(phi), fc="none", ec=MASS, lw=2))
        axis.plot(*lens, "+", color=MASS, ms=10)
        start = np.array((-1.25 * sign_x, -1.25 * sign_y))
        for step, name in (((0.7 * sign_x, 0), name_x), ((0, 0.7 * sign_y), name_y)):
            axis.annotate(
                "", start + step, start, arrowprops={"arrowstyle": "->", "color": ANGLE, "lw": 2}
            )
            axis.text(*(start + 1.25 * np.array(step)), name, color=ANGLE, ha="center", va="center")
        place = f"centre ({sign_x * lens[0]:+g}, {sign_y * lens[1]:+g})"
        e1, e2 = (1 - q) / (1 + q) * np.cos(2 * phi), (1 - q) / (1 + q) * np.sin(2 * phi)
        axis.text(
            0.0,
            1.4,
            f"{place}\ne1 = {e1:+.3f}, e2 = {sign_x * sign_y * e2:+.3f}",
            fontsize=9,
            va="top",
        )
        axis.set(
            xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal", xticks=[], yticks=[], title=title
        )
    return figure


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for draw in (ellipticity, shear, pixels, sky):
        draw().savefig(PICTURES / f"{draw.__name__}.png", dpi=90, bbox_inches="tight")
