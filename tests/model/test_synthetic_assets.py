"""Catalogue models are read, turned, scaled and cached as the catalogue says."""

import io
import zipfile

import cv2
import numpy as np
import pytest

from govnesf_model.data.synthetic.assets import Catalogues, material_word, read_obj, thinned
from govnesf_model.data.synthetic.names import CATALOGUES
from govnesf_model.data.synthetic.shapes import box, ellipsoid

# A wedge with its tall side at z = 0 and its toe at +z (the catalogue's front), y up.
OBJ = """mtllib wedge.mtl
v 0 0 0
v 4 0 0
v 4 3 0
v 0 3 0
v 0 0 2
v 4 0 2
vt 0 0
vt 1 1
vn 0 0 -1
usemtl paint
f 1/1/1 2/2/1 3/1/1 4/2/1
usemtl skin
f -6/1 -5/2 -1/1 -2/2
f 5 6 3 4
usemtl invisible
f 1 5 4
"""
MTL = """newmtl paint
Kd 0.5 0.5 0.5
newmtl skin
Kd 0 0 0
map_Kd /Users/somebody/desk wood.png
newmtl invisible
d 0.0
"""
PROPERTIES = """id#1=Catalogue#couch
name#1=Wedge
model#1=/cat/wedge/wedge.obj
width#1=200
depth#1=50
height#1=90
elevation#1=12
creator#1=Ada
id#2=Catalogue#chair
name#2=Turned wedge
model#2=/cat/wedge/wedge.obj
width#2=90
depth#2=50
height#2=200
modelRotation#2=0 -1 0 1 0 0 0 0 1
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path / "cache"))
    image = cv2.imencode(".png", np.full((4, 4, 3), (0, 0, 200), np.uint8))[1].tobytes()
    for name in CATALOGUES.values():
        with zipfile.ZipFile(tmp_path / f"{name}.sh3f", "w") as file:
            file.writestr("PluginFurnitureCatalog.properties", PROPERTIES)
            file.writestr("cat/wedge/wedge.obj", OBJ)
            file.writestr("cat/wedge/wedge.mtl", MTL)
            file.writestr("cat/wedge/other name.png", image)
    return tmp_path


def test_a_model_has_its_catalogue_size_and_faces_forward(folder):
    model = Catalogues(folder).load("b:couch")
    np.testing.assert_allclose(model.mesh.size, [2.0, 0.5, 0.9], atol=1e-5)
    np.testing.assert_allclose(model.mesh.low, [-1.0, -0.25, 0.0], atol=1e-5)
    # The tall side is the back (+y): the highest points lie there.
    points = model.mesh.points.reshape(-1, 3)
    assert points[points[:, 2] > 0.89][:, 1].min() == pytest.approx(0.25, abs=1e-5)
    assert model.elevation == pytest.approx(0.12)
    assert model.license == "CC0-1.0"
    assert model.creator.startswith("Ada")


def test_model_rotation_comes_before_scaling(folder):
    model = Catalogues(folder).load("b:chair")
    np.testing.assert_allclose(model.mesh.size, [0.9, 0.5, 2.0], atol=1e-5)
    points = model.mesh.points.reshape(-1, 3)
    # The wedge's long edge (its x) now points up: back points span the whole height.
    back = points[points[:, 1] > 0.24]
    assert np.ptp(back[:, 2]) == pytest.approx(2.0, abs=1e-5)


def test_materials_follow_the_mtl(folder):
    mesh = Catalogues(folder).load("k:couch").mesh
    assert len(mesh.points) == 6  # three quads; the invisible triangle is gone
    plain, skin = mesh.materials
    assert plain.texture is None
    assert plain.color[0] == pytest.approx(0.5**2.2, rel=1e-4)
    # A texture path of the modeller's own disk means the one image there is; black Kd is dropped.
    assert skin.texture[0, 0].tolist() == [200, 0, 0, 255]
    assert skin.color == (1.0, 1.0, 1.0)
    assert skin.word == "wooden"


def test_normals_point_as_given_or_as_the_face(folder):
    mesh = Catalogues(folder).load("s:couch").mesh
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=-1), 1, atol=2e-3)
    np.testing.assert_allclose(mesh.normals[0, 0], [0, 1, 0], atol=2e-3)


def test_the_cache_is_read_back_alike(folder):
    first = Catalogues(folder).load("s:couch").mesh
    assert list((folder / "cache" / "furniture").glob("s_couch.*.npz"))
    again = Catalogues(folder).load("s:couch").mesh
    np.testing.assert_array_equal(first.points, again.points)
    np.testing.assert_array_equal(first.materials[1].texture, again.materials[1].texture)


def test_missing_catalogues_say_what_to_install(tmp_path):
    with pytest.raises(FileNotFoundError, match="sweethome3d-furniture"):
        Catalogues(tmp_path)


def test_a_wrong_model_is_named(folder):
    with pytest.raises(KeyError, match="no model 'sofa9' in the catalogue Scopia"):
        Catalogues(folder).load("s:sofa9")


def test_an_empty_obj_is_no_mesh():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("a.obj", "v 0 0 0\n")
    assert len(read_obj(zipfile.ZipFile(data), "a.obj").points) == 0


def test_thinning_keeps_the_shape():
    ball = ellipsoid((1, 1, 1), n=60)
    thin = thinned(ball, 2000)
    assert len(thin.points) <= 2000 < len(ball.points)
    np.testing.assert_allclose(thin.size, ball.size, atol=0.1)
    assert thinned(box((1, 1, 1)), 100).points.shape == (12, 3, 3)


def test_material_words():
    assert material_word("Dark_Oak_01 plank.jpg") == "wooden"
    assert material_word("chrome") == "metal"
    assert material_word("mat_17") is None
