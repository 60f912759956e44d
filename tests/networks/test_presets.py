import json
from dataclasses import replace

import pytest

from rim_lensing.networks.presets import PRESETS, RIMConfig, get_preset
from rim_lensing.networks.rim import RIM


def test_paper_preset_is_the_papers():
    """DESIGN section 3: what was read off the authors' code and the paper."""
    config = get_preset("paper192")
    assert (config.image_side, config.image_pixel_scale) == (192, 0.04)
    assert config.source_side * config.source_pixel_scale == pytest.approx(3.0)
    assert config.steps == 10
    assert config.channels == (32, 128, 32, 128)
    assert set(config.kernel_sizes) == {11}
    assert config.stride == 2
    assert (config.likelihood_input, config.flux_scale, config.loss_weights) == (
        "raw",
        "unit",
        "equal",
    )
    model = RIM(config)
    model.build()
    assert model.count_params() == pytest.approx(15.4e6, rel=0.01)


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name):
    config = PRESETS[name]
    assert RIMConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_preset_gives_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'euclid64'.*paper192"):
        get_preset("euclid46")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"likelihood_input": "log"}, "likelihood_input.*Received: 'log'"),
        ({"stride": 5}, "multiple of the stride 5"),
        ({"stride": 4, "block": 3}, "block.*divide the stride 4.*block=3"),
        ({"flux_weight": -0.1}, "flux_weight.*Received: flux_weight=-0.1"),
        ({"block": 0}, r"block.*positive integers. Received: \(0,"),
        ({"stride": 0}, r"stride.*positive integers. Received: \(0,"),
        ({"steps": 0}, "steps.*positive integers"),
        ({"channels": (4, 4, 4)}, "`channels` must be four numbers"),
        ({"kernel_sizes": (3, 3, 3, 3, 0)}, "kernel_sizes.*positive integers"),
        ({"psf_side": 48}, "psf_side.*odd.*48"),
        ({"psf_side": 193}, "not larger than the image.*193"),
        ({"image_side": 0}, "positive integer"),
        ({"source_pixel_scale": float("nan")}, "pixel_scale.*nan"),
    ],
)
def test_what_cannot_be_built_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        RIMConfig(**values)


def test_a_smaller_field_has_the_same_pixels():
    paper = get_preset("paper192")
    small = paper.on_field(48)
    assert small == replace(paper, source_side=48, image_side=48, psf_side=47)
    uneven = replace(paper, image_side=96).on_field(48)
    assert (uneven.image_side, uneven.psf_side) == (24, 23)
    for side in (0, 97):
        with pytest.raises(ValueError, match=f"field of {side} source pixels"):
            replace(paper, image_side=96).on_field(side)


@pytest.mark.parametrize("changes", [{}, {"skip": True, "likelihood_input": "preconditioned"}])
def test_multiply_adds_without_strides_are_weights_times_pixels(changes):
    config = replace(get_preset("tiny16"), stride=1, **changes)
    model = RIM(config)
    model.build()
    kernels = sum(
        weight.shape.num_elements() for weight in model.weights if "kernel" in weight.path
    )
    assert config.multiply_adds == config.steps * kernels * config.source_side**2


def test_blocks_save_what_they_promise():
    """The second ConvGRU, without a skip, is a fourth in blocks of 2 x 2; the rest stays."""
    wide = replace(get_preset("tiny16"), skip=False, steps=1)
    saved = wide.multiply_adds - replace(wide, block=2).multiply_adds
    channels, kernel = wide.channels, wide.kernel_sizes[3]
    gru = 3 * kernel**2 * (channels[2] + channels[3]) * channels[3] * wide.source_side**2
    assert saved == gru * 3 // 4


def test_unknown_keys_are_named():
    with pytest.raises(ValueError, match="colour"):
        RIMConfig.from_dict({"colour": "blue"})
