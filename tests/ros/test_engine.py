"""The node with an encoder that is not the shipped one; and encoders that it cannot load."""

import numpy as np
import open_clip_models
import pytest
from furnished_room import room_frames
from govnesf_ros.srv import QueryText
from open_clip_models import random_model, write
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from govnesf_ros.mapper_node import MapperNode


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Folder with random weights of two models that open_clip knows."""
    folder = tmp_path_factory.mktemp("models")
    open_clip_models.register(folder)
    for name in ("tiny-vit", "tiny-vit-avg"):
        write(random_model(name), folder / f"{name}.safetensors")
    (folder / "words.safetensors").write_text("no weights")
    return folder


@pytest.fixture
def configured(graph, tmp_path, monkeypatch):
    """Configure a node with an encoder; return it and what its transition returned."""
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path))

    def configure(vlm: str) -> tuple[MapperNode, TransitionCallbackReturn]:
        values = {"autostart": False, "device": "cpu", "vlm": vlm, "image_width": 160}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        node = graph.add(MapperNode(context=graph.context, parameter_overrides=overrides))
        return node, node.trigger_configure()

    return configure


def test_the_node_answers_with_an_encoder_from_a_file(graph, configured, weights) -> None:
    vlm = f"open_clip:tiny-vit/{weights}/tiny-vit.safetensors?attention=naclip"
    node, result = configured(vlm)
    assert result == TransitionCallbackReturn.SUCCESS
    assert node.parts.engine.model == f"small + {vlm}"
    for frame in room_frames(3):
        node.parts.engine.scene_map.add(frame)

    client = graph.node().create_client(QueryText, "/govnesf/query")
    assert client.wait_for_service(10.0)
    texts = ["mug", "red cabinet"]
    future = client.call_async(QueryText.Request(texts=texts, return_mask=True, return_cloud=True))
    graph.spin_until(future.done)
    reply = future.result()
    assert reply.success, reply.message
    assert reply.cloud.width == len(node.parts.engine.scene_map.snapshot().xyz) > 1000
    assert (reply.mask.height, reply.mask.width) == (120, 160)
    assert set(np.unique(np.array(reply.mask.data))) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("vlm", "words"),
    [
        ("lseg", "lseg: needs the path of its weights: get demo_e200.ckpt"),
        (
            "lseg:/no/such.safetensors",
            "no LSeg weights at /no/such.safetensors: get demo_e200",
        ),
        ("lseg:{}/words.safetensors", "is damaged or no safetensors file"),
        ("open_clip:tiny-vit/{}/tiny-vit-avg.safetensors", "do not fit tiny-vit"),
        ("open_clip:tiny-vit/{}/words.safetensors", "is damaged or no file of weights"),
        ("open_clip:tiny-vit/{}/tiny-vit.safetensors?speed=9", "there is no option 'speed'"),
        ("openclip:tiny-vit/x.pt", "did you mean open_clip:tiny-vit/x.pt?"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_the_log(configured, weights, capfd, vlm, words) -> None:
    node, result = configured(vlm.format(weights))
    assert result == TransitionCallbackReturn.FAILURE
    assert node.parts is None
    shown = capfd.readouterr().err
    assert "cannot configure: " in shown
    assert words in shown
    assert "Traceback" not in shown
