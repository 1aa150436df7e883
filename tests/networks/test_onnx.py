import json

import numpy as np
import pytest
import torch

from sr_cli.errors import OutputError, UsageError
from sr_cli.networks.checkpoint import load_network
from sr_cli.networks.onnx import export_onnx


@pytest.mark.parametrize(
    "architecture",
    [
        {"name": "gated", "scale": 3, "width": 8, "depth": 5},
        {"name": "johnson", "scale": 2},
    ],
)
@pytest.mark.slow
def test_onnx_gives_torchs_results_at_any_size(weights_of, tmp_path, architecture):
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    network, header = load_network(weights_of(**architecture))
    path = tmp_path / "model.onnx"
    assert export_onnx(network, path, header=header) < 1e-4
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in ((1, 3, 40, 31), (3, 3, 2, 5)):
        lr = torch.rand(shape)
        with torch.inference_mode():
            expected = network(lr).clamp(0, 1)
        np.testing.assert_allclose(session.run(None, {"lr": lr.numpy()})[0], expected.numpy(), atol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["architecture"]) == network.architecture
    with pytest.raises(OutputError, match="already exists"):
        export_onnx(network, path, header=header)


def test_without_the_extra_it_says_what_to_install(weights_of, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else object())
    network, header = load_network(weights_of(name="compact", scale=2, width=4, depth=1))
    with pytest.raises(UsageError, match=r"needs onnxscript: .*pip install onnx"):
        export_onnx(network, tmp_path / "model.onnx", header=header)
    assert not (tmp_path / "model.onnx").exists()
