"""Networks of ONNX files: any scale, layout, range of values and fixed size."""

import numpy as np
import pytest
import torch

from sr_cli.config import UpscaleConfig
from sr_cli.errors import WeightsError
from sr_cli.upscaling.upscaler import Upscaler

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def enlarge(path, *, scale=3, channels=3, kind="FLOAT", last=False, size=(None, None), top=1.0):
    """Write a network that repeats each pixel; it clips its result to [0, top]."""
    from onnx import TensorProto, helper, numpy_helper

    sides = [each or name for each, name in zip(size, ("height", "width"), strict=True)]
    shape = [1, *sides, channels] if last else [1, channels, *sides]
    factors = np.array([1, scale, scale, 1] if last else [1, 1, scale, scale], np.float32)
    number = getattr(TensorProto, kind)
    nodes = [
        helper.make_node("Cast", ["in"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Resize", ["float", "", "factors"], ["large"], mode="nearest"),
        helper.make_node("Clip", ["large", "low", "high"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["out"], to=number),
    ]
    constants = {"factors": factors, "low": np.float32(0), "high": np.float32(top)}
    if top == 255:  # such a network shifts levels, not fractions
        nodes[2] = helper.make_node("Clip", ["shifted", "low", "high"], ["clipped"])
        nodes.insert(2, helper.make_node("Add", ["large", "shift"], ["shifted"]))
        constants["shift"] = np.float32(3)
    graph = helper.make_graph(
        nodes,
        "enlarge",
        [helper.make_tensor_value_info("in", number, shape)],
        [helper.make_tensor_value_info("out", number, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def repeated(lr, scale):
    return lr.repeat_interleave(scale, -1).repeat_interleave(scale, -2)


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({}, 1e-6),
        ({"scale": 1}, 1e-6),
        ({"last": True}, 1e-6),
        ({"kind": "FLOAT16"}, 1e-3),
        ({"kind": "UINT8", "top": 255.0, "last": True}, 4.6 / 255),
        ({"top": 255.0}, 3.1 / 255),
        ({"size": (32, 48)}, 1e-5),
        ({"channels": 4}, 1e-6),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(1, 1), (45, 83)])
def test_scale_layout_and_range_are_found(tmp_path, options, tolerance, shape):
    upscaler = Upscaler.from_pretrained(enlarge(tmp_path / "large.onnx", **options), device="cpu")
    lr = torch.rand(1, 3, *shape)
    expected = repeated(lr, options.get("scale", 3))
    torch.testing.assert_close(upscaler.upscale_tensor(lr), expected, atol=tolerance, rtol=0)


def test_one_channel_is_luma(tmp_path):
    upscaler = Upscaler.from_pretrained(enlarge(tmp_path / "gray.onnx", channels=1), device="cpu")
    gray = torch.rand(1, 1, 40, 41).expand(1, 3, 40, 41)
    torch.testing.assert_close(upscaler.upscale_tensor(gray), repeated(gray, 3), atol=1e-5, rtol=0)


def test_tiles_and_half_precision(tmp_path):
    path, lr = enlarge(tmp_path / "large.onnx"), torch.rand(1, 3, 150, 170)
    tiled = Upscaler.from_pretrained(path, UpscaleConfig(device="cpu", tile=64, dtype="bfloat16"))
    torch.testing.assert_close(tiled.upscale_tensor(lr), repeated(lr, 3), atol=0.01, rtol=0)


def test_a_seam_between_tiles_of_a_fixed_size_is_blended(tmp_path):
    """A network that darkens the right half of what it sees leaves ramps, not steps."""
    from sr_cli.networks.onnx_file import OnnxNetwork

    network = OnnxNetwork(enlarge(tmp_path / "fixed.onnx", scale=1, size=(32, 32)))
    run = network._run
    network._run = lambda lr: run(lr) * torch.linspace(1, 0.5, 32)  # type: ignore[method-assign]
    sr = network(torch.ones(1, 3, 32, 100))
    assert sr.diff(dim=-1).abs().max() < 0.13


def test_it_can_be_evaluated_but_not_trained(tmp_path):
    from PIL import Image

    from sr_cli.config import EvaluateConfig
    from sr_cli.evaluation.evaluate import evaluate
    from sr_cli.upscaling.load import settings_of_file

    path = enlarge(tmp_path / "large.onnx")
    Image.effect_noise((48, 48), 64).convert("RGB").save(tmp_path / "hr.png")
    report = evaluate(tmp_path / "hr.png", models=[path], config=EvaluateConfig(measures=("psnr",)))
    assert report.value(report.methods[-1].name, "psnr") > 0
    assert report.methods[-1].cost.multiply_adds is None
    with pytest.raises(WeightsError, match="cannot be trained"):
        settings_of_file(path)


@pytest.mark.parametrize("content", [b"\x08\x07\x12\x07pytorch and no more", b"\x08\x09"])
def test_a_damaged_file_is_one_line(tmp_path, content):
    (tmp_path / "broken.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match=r"broken\.onnx: ONNX Runtime cannot load it \(") as raised:
        Upscaler.from_pretrained(tmp_path / "broken.onnx")
    assert "\n" not in str(raised.value)


def test_what_is_no_upscaler(tmp_path):
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["in"], ["out"], keepdims=1)],
        "mean",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [1, 3, None, None])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "mean.onnx")
    with pytest.raises(WeightsError, match="no upscaler"):
        Upscaler.from_pretrained(tmp_path / "mean.onnx")
