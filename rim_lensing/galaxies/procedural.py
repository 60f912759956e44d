"""Galaxies drawn from scratch, for training without a download.

Each galaxy belongs to one of a few families (spirals with or without bar, lenticulars, ellipticals,
edge-ons, irregulars, mergers) and is put together from the parts in `galaxy_parts`: Sersic bulges,
exponential disks, logarithmic arms, bars, rings, star-forming clumps, dust, tidal tails. The result
is framed as `clean_stamp` frames real ones: centred on its light, filling the stamp, dark at the
border, peak 1.
"""

import numpy as np

from rim_lensing.galaxies.framing import border_window, framed
from rim_lensing.galaxies.galaxy_parts import (
    CANVAS_REACH,
    Canvas,
    arm_dust,
    bar,
    blurred,
    bulge,
    exponential_disk,
    new_canvas,
    ring,
    scaled_to_share,
    sersic,
    soft_edge,
    spiral_arms,
    star_forming_clumps,
    texture,
    tidal_tail,
    tilted_plane,
    wound_texture,
)

SMALLEST_STAMP = 16
SMALLEST_EXTENT = 0.45  # of the canvas: a smaller galaxy is drawn down to a fainter isophote


def draw_procedural_galaxies(
    count: int, seed_or_rng: int | np.random.Generator = 0, side: int = 96
) -> np.ndarray:
    """Draw `count` galaxies.

    Args:
        count: how many.
        seed_or_rng: an integer seed, or a numpy Generator to draw from. The same seed gives the
            same galaxies, and the first galaxies of a longer draw are those of a shorter one.
        side: pixels on a side of each stamp, at least 16.

    Returns:
        (count, side, side) float32, non-negative, each with maximum 1, zero at the border.

    Raises:
        ValueError: `count`, `side` or the seed is negative, too small or of the wrong type.
    """
    for name, value, least in (("count", count, 0), ("side", side, SMALLEST_STAMP)):
        if not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}. Received: {value!r}")
    if isinstance(seed_or_rng, np.random.Generator):
        rng = seed_or_rng
    elif isinstance(seed_or_rng, int | np.integer) and seed_or_rng >= 0:
        rng = np.random.default_rng(int(seed_or_rng))
    else:
        raise ValueError(
            "seed_or_rng must be a non-negative integer or a numpy Generator. "
            f"Received: {seed_or_rng!r}"
        )
    canvas = new_canvas(rng, side)
    stamps = np.empty((count, side, side), np.float32)
    for stamp in stamps:
        stamp[...] = _finished(canvas, draw_galaxy(canvas), side)
    return stamps


def draw_galaxy(canvas: Canvas, centre=(0.0, 0.0), scale: float = 1.0) -> np.ndarray:
    """Light (n, n) of one galaxy of a random family, in linear flux, up to its disk's edge.

    Args:
        canvas: what to draw on.
        centre: (x, y) of the galaxy on the canvas.
        scale: canvas units per unit radius of the galaxy.
    """
    families = (
        (_spiral, 0.46),
        (_edge_on, 0.10),
        (_elliptical, 0.13),
        (_lenticular, 0.11),
        (_irregular, 0.11),
        (_merger, 0.09),
    )
    draws, weights = zip(*families, strict=True)
    chosen = canvas.rng.choice(len(draws), p=np.array(weights) / sum(weights))
    return draws[chosen](canvas, centre, scale)


def _spiral(canvas: Canvas, centre=(0.0, 0.0), scale: float = 1.0) -> np.ndarray:
    rng = canvas.rng
    plane = tilted_plane(canvas, rng.uniform(0.3, 1.0), centre, scale, lopsided=0.12)
    disk = exponential_disk(plane, rng.uniform(0.25, 0.5))
    barred = rng.random() < 0.45
    bar_length = rng.uniform(0.15, 0.38) if barred else 0.0
    arms, phase = spiral_arms(rng, plane, max(0.08, 0.9 * bar_length))
    floccules = wound_texture(rng, plane, rng.uniform(0.25, 0.6))
    disk = disk * (1 + rng.uniform(0.5, 4.0) * arms) * np.exp(rng.uniform(0.1, 0.6) * floccules)
    if rng.random() < 0.2:
        disk = disk + scaled_to_share(
            ring(rng, plane, rng.uniform(0.3, 0.7)), disk, rng.uniform(0.1, 0.4)
        )
    galaxy = disk + star_forming_clumps(canvas, disk * arms, disk.sum() * rng.uniform(0.0, 0.2))
    if barred:
        bar_light = bar(rng, plane, bar_length)
        galaxy = galaxy + scaled_to_share(bar_light, disk, rng.uniform(0.03, 0.15))
    galaxy = galaxy * arm_dust(rng, plane, phase, floccules)
    central = bulge(canvas, plane)
    return galaxy + scaled_to_share(central, disk, 10 ** rng.uniform(-2, -0.4))


def _lenticular(canvas: Canvas, centre=(0.0, 0.0), scale: float = 1.0) -> np.ndarray:
    rng = canvas.rng
    plane = tilted_plane(canvas, rng.uniform(0.25, 1.0), centre, scale, lopsided=0.03)
    galaxy = exponential_disk(plane, rng.uniform(0.2, 0.4))
    if rng.random() < 0.5:
        bar_light = bar(rng, plane, rng.uniform(0.2, 0.45))
        galaxy = galaxy + scaled_to_share(bar_light, galaxy, rng.uniform(0.03, 0.15))
    if rng.random() < 0.35:
        ring_light = ring(rng, plane, rng.uniform(0.35, 0.8))
        galaxy = galaxy + scaled_to_share(ring_light, galaxy, rng.uniform(0.1, 0.5))
    return galaxy + scaled_to_share(bulge(canvas, plane), galaxy, rng.uniform(0.1, 0.8))


def _elliptical(canvas: Canvas, centre=(0.0, 0.0), scale: float = 1.0) -> np.ndarray:
    rng = canvas.rng
    plane = tilted_plane(canvas, rng.uniform(0.5, 1.0), centre, scale, lopsided=0.02, twist=0.2)
    shape = rng.uniform(1.8, 2.35)  # below 2 disky, above 2 boxy isophotes
    r = (np.abs(plane.u) ** shape + np.abs(plane.v) ** shape) ** (1 / shape)
    galaxy = sersic(r, rng.uniform(0.12, 0.4), rng.uniform(1.5, 5.0))
    if rng.random() < 0.2:  # shells of an old merger
        ripples = np.tanh(4 * np.sin(14 * np.sqrt(r) + 2 * np.cos(plane.theta)))
        galaxy = galaxy * (1 + rng.uniform(0.02, 0.1) * ripples)
    if rng.random() < 0.15:  # its globular clusters and dwarfs
        galaxy = galaxy + star_forming_clumps(canvas, galaxy, galaxy.sum() * 0.02)
    return galaxy


def _edge_on(canvas: Canvas, centre=(0.0, 0.0), scale: float = 1.0) -> np.ndarray:
    rng = canvas.rng
    plane = tilted_plane(canvas, 1.0, centre, scale)
    u = plane.u
    v = plane.v + rng.normal(0, 0.05) * u * np.abs(u) + rng.normal(0, 0.03) * u**2  # warp, bend
    length, height = rng.uniform(0.25, 0.5), rng.uniform(0.03, 0.09)
    radius = np.sqrt(u**2 + (2.5 * v) ** 2 + 1e-4)
    edge = soft_edge(radius, rng.uniform(0.85, 1.0), 0.25)
    flare = height * (1 + 0.5 * np.abs(u))
    disk = np.exp(-radius / length) * edge / np.cosh(np.clip(v / flare, -20, 20)) ** 2
    patches = texture(rng, canvas.size, 1.4)
    disk = disk * np.exp(rng.uniform(0.0, 0.5) * patches)
    disk = disk + star_forming_clumps(canvas, disk, disk.sum() * rng.uniform(0, 0.12))
    flattening = rng.uniform(0.5, 0.9)
    central = sersic(np.hypot(u, v / flattening), rng.uniform(0.05, 0.15), rng.uniform(1, 3))
    galaxy = disk + scaled_to_share(central, disk, 10 ** rng.uniform(-2, -0.3))
    if rng.random() < 0.5:
        lane = np.exp(-0.5 * ((v - rng.normal(0, 0.3) * height) / (0.35 * height)) ** 2)
        depth = rng.uniform(0.3, 1.5) * np.exp(-((u / 0.8) ** 4)) * np.exp(0.5 * patches)
        galaxy = galaxy * np.exp(-depth * lane)
    return galaxy


def _irregular(canvas: Canvas, centre=(0.0, 0.0), scale: float = 1.0) -> np.ndarray:
    rng = canvas.rng
    plane = tilted_plane(canvas, rng.uniform(0.4, 1.0), centre, scale, lopsided=0.3)
    large = texture(rng, canvas.size, rng.uniform(2.2, 3.0))
    small = texture(rng, canvas.size, rng.uniform(1.2, 1.8))
    envelope = sersic(plane.r, rng.uniform(0.3, 0.45), rng.uniform(0.5, 1.0))
    envelope = envelope * soft_edge(plane.r, 0.85, 0.3)
    galaxy = envelope * np.exp(rng.uniform(0.2, 0.8) * large + rng.uniform(0.1, 0.4) * small)
    if rng.random() < 0.3:
        galaxy = galaxy + scaled_to_share(bar(rng, plane, rng.uniform(0.3, 0.6)), galaxy, 0.2)
    share = 10 ** rng.uniform(-1.7, -0.4)
    return galaxy + star_forming_clumps(canvas, galaxy**1.5, galaxy.sum() * share)


def _merger(canvas: Canvas, centre=(0.0, 0.0), scale: float = 1.0) -> np.ndarray:
    rng = canvas.rng
    separation, direction = rng.uniform(0.2, 0.8), rng.uniform(0, 2 * np.pi)
    ratio = rng.uniform(0.2, 1.0)  # of the lesser galaxy to the greater
    towards = scale * np.array([np.cos(direction), np.sin(direction)])
    middle = np.asarray(centre)
    centres = (
        middle + 0.5 * separation * ratio * towards,
        middle - 0.5 * separation * towards,
    )
    members = (_spiral, _lenticular, _elliptical, _edge_on, _irregular)
    first, second = (members[i] for i in rng.choice(len(members), 2, p=[0.4, 0.15, 0.2, 0.1, 0.15]))
    greater = first(canvas, centres[0], scale * rng.uniform(0.4, 0.7))
    lesser = second(canvas, centres[1], scale * rng.uniform(0.3, 0.6) * ratio**0.5)
    pair = greater / greater.sum() + ratio * lesser / lesser.sum()
    for start in centres:
        if rng.random() < 0.6:
            tail = tidal_tail(canvas, start)
            pair = pair + scaled_to_share(tail, pair, rng.uniform(0.05, 0.25))
    return pair


def _finished(canvas: Canvas, galaxy: np.ndarray, side: int) -> np.ndarray:
    """(side, side) float32: seen through a small PSF, stretched, edged, framed, peak 1."""
    rng = canvas.rng
    # Whatever reaches the edge of the canvas fades there, or the cut would show.
    galaxy = blurred(galaxy * _vignette(canvas), rng.uniform(0.3, 0.8))
    galaxy = galaxy / galaxy.max()
    if rng.random() < 0.8:  # the pictures people train on are stretched; catalogues are not
        softening = 10 ** rng.uniform(-2.0, 0.0)
        galaxy = np.arcsinh(galaxy / softening) / np.arcsinh(1 / softening)
    grain = np.exp(10 ** rng.uniform(-2.3, -1.2) * texture(rng, canvas.size, 0.5))
    level = 10 ** rng.uniform(-1.7, -1.0)  # the isophote that ends the galaxy, of its peak
    smooth = blurred(galaxy, 1.5)
    outside = float(np.percentile(smooth[_outer_ring(canvas)], 85))
    for _ in range(4):
        # Wings that reach past the canvas count as sky, as in a real frame of that size.
        sky = max(0.0, outside - 0.8 * level)
        segment = _connected(smooth - sky, level)
        if _extent(segment) > SMALLEST_EXTENT * canvas.size:
            break
        level = 0.3 * level  # only a bright core stands above it: enlarged, it would be pixels
    ramp = np.clip((smooth - sky - 0.8 * level) / (0.5 * level), 0, 1)
    galaxy = np.clip(galaxy - sky, 0, None) * grain * ramp * ramp * (3 - 2 * ramp)
    # A hard cut would show where a stray knot lay close to the galaxy.
    galaxy = galaxy * blurred(segment, 3.0)
    stamp, _ = framed(galaxy, segment & (smooth - sky > level), side)
    stamp = np.clip(stamp, 0, None) * border_window(side)
    return (stamp / stamp.max()).astype(np.float32)


def _extent(segment: np.ndarray) -> int:
    """Side in pixels of the larger dimension of the segment's bounding box."""
    return max(np.ptp(np.flatnonzero(segment.any(axis=axis))) + 1 for axis in (0, 1))


def _vignette(canvas: Canvas) -> np.ndarray:
    """Weights that fade to 0 in a circle within the canvas."""
    ramp = np.clip((0.97 * CANVAS_REACH - canvas.r) / (0.2 * CANVAS_REACH), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _outer_ring(canvas: Canvas) -> np.ndarray:
    """True on the thin ring just inside the vignette."""
    return np.abs(canvas.r / CANVAS_REACH - 0.78) < 0.01


def _connected(smooth: np.ndarray, level: float, block: int = 4) -> np.ndarray:
    """True on what hangs together with the brightest point above `level`, not on stray knots.

    The flood runs over blocks of pixels: that is quick, and light a block away still belongs.
    """
    size = len(smooth) // block
    above = smooth.reshape(size, block, size, block).max(axis=(1, 3)) > level
    brightest = np.unravel_index(np.argmax(smooth), smooth.shape)
    reached = np.zeros((size + 2, size + 2), bool)
    reached[brightest[0] // block + 1, brightest[1] // block + 1] = True
    inside = reached[1:-1, 1:-1]
    before = 0
    while (now := np.count_nonzero(inside)) > before:
        before = now
        for _ in range(3):
            inside[...] = _grown(reached) & above
    # One block more, so that it is the light's own fading that ends the galaxy, not the blocks.
    return np.repeat(np.repeat(_grown(reached), block, axis=0), block, axis=1)


def _grown(padded: np.ndarray) -> np.ndarray:
    """The interior of `padded`, each of its True pixels spread to the eight around it."""
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
