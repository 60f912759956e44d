import numpy as np
import pytest

from rim_lensing.preparation.prepared_cutout import prepare_cutout

NAMES = {
    "arc": dict(radius=1.2, thickness=0.06, middle=0.3, half_length=0.6, amplitude=0.4),
    "far_arc": dict(radius=3.0, thickness=0.08, middle=-2.0, half_length=0.3, amplitude=0.4),
}


@pytest.fixture(scope="module")
def crowded(make_raw, shapes):
    extra = {name: shapes.arc(**what) for name, what in NAMES.items()}
    extra["counter_image"] = shapes.disc(-0.7, -0.2, 0.5, 0.1, 0.06, 0.6)
    extra["galaxy_beside"] = shapes.disc(-2.6, 2.2, 0.8, 0.2, 0.12, 1.0)
    extra["straight"] = shapes.disc(2.75, 0.0, np.pi / 2, 0.75, 0.08, 0.4)
    raw = make_raw(extra=extra)
    return raw, prepare_cutout(**raw.arguments())


@pytest.mark.parametrize("name", ["arc", "far_arc", "counter_image"])
def test_what_may_be_lensed_is_never_masked(crowded, name):
    raw, prepared = crowded
    light = raw.parts[name]
    masked = light[~prepared.observation.mask].sum() / light.sum()
    assert masked < 0.01
    assert prepared.arcs[light > 0.5 * light.max()].all()


@pytest.mark.parametrize("name", ["galaxy_beside", "straight"])
def test_neighbours_are_masked_with_their_outskirts(crowded, shapes, name):
    raw, prepared = crowded
    light = raw.parts[name]
    assert prepared.neighbours[light > 1.5 * shapes.rms].mean() > 0.97
    assert light[prepared.observation.mask].sum() < 0.03 * light.sum()


def test_masks_are_no_larger_than_they_need_be(crowded, shapes):
    raw, prepared = crowded
    light = raw.parts["galaxy_beside"] + raw.parts["straight"]
    assert prepared.neighbours.sum() < 3.5 * (light > 0.5 * shapes.rms).sum()


def test_a_lone_galaxy_has_no_neighbours(make_raw):
    for seed in range(3):
        prepared = prepare_cutout(**make_raw(seed).arguments())
        assert prepared.neighbours.sum() == 0
        assert prepared.observation.mask.mean() > 0.999


def test_what_counts_as_lensed_may_be_said(make_raw, shapes):
    beside = shapes.disc(-1.4, 1.2, 0.8, 0.15, 0.1, 1.0)
    raw = make_raw(extra={"beside": beside})
    at = raw.parts["beside"] > 0.5
    assert not prepare_cutout(**raw.arguments()).neighbours[at].any()
    assert prepare_cutout(**raw.arguments(), lensed_within=1.4).neighbours[at].all()


def test_a_resampled_track_is_no_arc_and_a_thin_arc_is_no_track(make_raw, shapes):
    """A cosmic ray's line that drizzling has made as wide as the PSF; an unresolved arc beside."""
    track = shapes.disc(0.9, 0.9, np.pi / 4, 0.35, 0.01, 3.0)
    thin = shapes.arc(1.3, 0.01, -2.0, 0.5, 3.0)
    raw = make_raw(extra={"track": track, "arc": thin})
    prepared = prepare_cutout(**raw.arguments())
    assert prepared.artefacts[raw.parts["track"] > 5 * shapes.rms].mean() > 0.9
    lost = raw.parts["arc"][~prepared.observation.mask].sum() / raw.parts["arc"].sum()
    assert lost < 0.01


def test_a_cosmic_ray_on_an_arc_leaves_the_arc(make_raw, shapes):
    raw = make_raw(extra={"arc": shapes.arc(1.2, 0.06, 0.3, 0.8, 0.5)})
    middle = shapes.side // 2
    raw.image[middle + 2 : middle + 9, middle + 24] += 30.0
    prepared = prepare_cutout(**raw.arguments())
    assert prepared.artefacts[middle + 2 : middle + 9, middle + 24].all()
    used = prepared.observation.mask.copy()
    used[middle : middle + 11, middle + 22 : middle + 27] = True
    assert raw.parts["arc"][~used].sum() < 0.01 * raw.parts["arc"].sum()
