"""COOLEST files: what we write its own package validates, and traces the same rays."""

import json

import numpy as np
import pytest
from keras import ops

from rim_lensing.lensing.coolest_files import read_coolest, write_coolest
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.mass_components import EPL, NFW, SIE, SIS, Shear, Sheet
from rim_lensing.lensing.mass_model import MassModel

coolest_json = pytest.importorskip("coolest.template.json")

GRID = PixelGrid(64, 0.1)
SCENE = MassModel(
    lens=EPL(1.2, 0.1, -0.2, 0.03, -0.02, 0.9),
    second=SIE(0.3, -0.2, 0.1, 0.8, -0.9),
    shear=Shear(0.03, -0.05),
    sheet=Sheet(-0.05),
    perturber=SIS(0.05, 0.9, 1.1),
)


def load(path):
    """COOLEST's own reader, with its checks."""
    reader = coolest_json.JSONSerializer(str(path.with_suffix("")), check_external_files=False)
    return reader.load(skip_jsonpickle=True, verbose=False)


def test_its_package_validates_it_and_has_our_deflections(tmp_path):
    from coolest.api.profiles import mass

    path = tmp_path / "scene.json"
    write_coolest(SCENE, path, GRID)
    read, (x, y) = load(path), GRID.coordinates()
    assert read.instrument.pixel_size == 0.1
    total = np.zeros((2, *x.shape))
    for entity in read.lensing_entities:
        for profile in entity.mass_model:
            values = {name: each.point_estimate.value for name, each in profile.parameters.items()}
            kind = {"SIE": mass.PEMD}.get(profile.type) or getattr(mass, profile.type)
            total += np.stack(kind().deflection(x, y, **values))
    rays = ops.convert_to_numpy(SCENE.form.on_rays(SCENE.values[None], GRID))[0]
    np.testing.assert_allclose(rays, total, atol=1e-4)


def test_written_and_read(tmp_path):
    path = tmp_path / "scene.json"
    write_coolest(SCENE, path, GRID, redshift=0.3)
    again = read_coolest(path)
    assert tuple(again.components) == tuple(SCENE.components)
    np.testing.assert_allclose(again.values[:14], SCENE.values[:14], atol=1e-12)
    # An SIS is a round SIE there.
    assert again.components["perturber"] == SIE(0.05, 0, 0, 0.9, 1.1)
    with pytest.raises(FileExistsError, match="overwrite"):
        write_coolest(SCENE, path, GRID)
    write_coolest(SCENE, path, GRID, overwrite=True)


@pytest.mark.parametrize("shear", [(0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1), (0.0, 0.0)])
def test_angles_lie_in_coolests_range(tmp_path, shear):
    write_coolest(MassModel(shear=Shear(*shear)), tmp_path / "a.json", GRID)
    load(tmp_path / "a.json")
    found = read_coolest(tmp_path / "a.json").values
    np.testing.assert_allclose(found, shear, atol=1e-15)


def test_a_galaxy_of_several_profiles_and_a_source_without_mass(tmp_path):
    path = tmp_path / "a.json"
    write_coolest(MassModel(one=SIE(1.0), two=Shear(0.1)), path, GRID)
    content = json.loads(path.read_text())
    first, second = content["lensing_entities"]
    first["mass_model"] += second["mass_model"]
    content["lensing_entities"] = [first, second | {"name": "source", "mass_model": []}]
    path.write_text(json.dumps(content))
    assert tuple(read_coolest(path).components) == ("one_SIE", "one_ExternalShear")


def test_what_it_cannot_say_is_refused(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match=r"knows no others.*halo=NFW"):
        write_coolest(MassModel(halo=NFW()), path, GRID)
    assert not path.exists()
    write_coolest(MassModel(one=SIE(1.0)), path, GRID)
    content = json.loads(path.read_text())
    profile = content["lensing_entities"][0]["mass_model"][0]
    for change, words in (
        ({"type": "Chameleon"}, "Received: Chameleon"),
        ({"parameters": {"q": {"point_estimate": {"value": None}}}}, "without q"),
        ({"parameters": {}}, "COOLEST file"),
    ):
        broken = json.loads(json.dumps(content))
        broken["lensing_entities"][0]["mass_model"] = [profile | change]
        path.write_text(json.dumps(broken))
        with pytest.raises(ValueError, match=words):
            read_coolest(path)
    path.write_text("theta_E")
    with pytest.raises(ValueError, match="COOLEST file"):
        read_coolest(path)
    with pytest.raises(FileNotFoundError):
        read_coolest(tmp_path / "none.json")
