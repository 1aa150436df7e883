import json
import struct
import sys
import time

import pytest
import torch
from safetensors.torch import save_file

from sr_cli.errors import WeightsError
from sr_cli.networks.checkpoint import load_network, read_header, save_network


@pytest.mark.parametrize(
    "architecture",
    [
        {"name": "johnson", "scale": 4},
        {"name": "compact", "scale": 3, "width": 8, "depth": 2},
        {"name": "gated", "scale": 8, "width": 8, "depth": 5},
    ],
)
@pytest.mark.slow
def test_weights_describe_themselves(lively, tmp_path, photo, architecture):
    network = lively(**architecture)
    path = tmp_path / "weights.safetensors"
    save_network(path, network, about={"command": "sr train photos", "metrics": {"psnr": 31.5}})
    again, header = load_network(path)
    assert header["architecture"] == network.architecture
    assert header["command"] == "sr train photos" and header["metrics"] == {"psnr": 31.5}
    with torch.inference_mode():
        torch.testing.assert_close(again(photo), network(photo), rtol=0, atol=0)


def test_half_precision_halves_the_file(lively, tmp_path, photo):
    network = lively(name="compact", scale=4, width=32, depth=4)
    for dtype in (torch.float32, torch.float16):
        save_network(tmp_path / f"{dtype}.safetensors", network, about={}, dtype=dtype)
    full, half = ((tmp_path / f"{d}.safetensors").stat().st_size for d in (torch.float32, torch.float16))
    assert half < 0.52 * full
    again, _ = load_network(tmp_path / f"{torch.float16}.safetensors")
    with torch.inference_mode():
        torch.testing.assert_close(again(photo), network(photo), rtol=0, atol=2e-3)


def test_layers_that_share_their_weights_are_stored(lively, tmp_path, photo):
    first = lively(name="compact", scale=2, width=8, depth=2)
    layers = [each for each in first.body if isinstance(each, torch.nn.Conv2d)]
    layers[1].weight = layers[0].weight
    save_network(tmp_path / "shared.safetensors", first, about={})
    second, _ = load_network(tmp_path / "shared.safetensors")
    torch.testing.assert_close(second(photo), first(photo))


def test_what_is_no_checkpoint_is_refused_by_name(tmp_path, lively):
    text = tmp_path / "text.safetensors"
    text.write_text("these are no weights, but long enough to have a header")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, foreign)
    path = tmp_path / "good.safetensors"
    save_network(path, lively(name="compact", scale=2, width=4, depth=1), about={})
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-10])
    unfit = tmp_path / "unfit.safetensors"
    header = {
        "format": "sr-cli 1",
        "architecture": json.dumps({"name": "compact", "scale": 4, "width": 64, "depth": 1}),
    }
    save_file({"a": torch.zeros(1)}, unfit, header)
    for bad in (text, foreign, cut, unfit, tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(WeightsError, match=bad.name):
            load_network(bad)


def test_a_header_can_be_read_alone(weights_of):
    assert read_header(weights_of(name="compact", scale=2, width=4, depth=1))["architecture"]["width"] == 4


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'{"a":{"data_offsets":[0]}}',
        b'{"__metadata__":{"format":"sr-cli 1","architecture":"' + b"[" * 100_000 + b'"}}',
    ],
    ids=["nested", "without an end", "nested architecture"],
)
def test_a_hostile_header_is_refused_by_name(tmp_path, header):
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(WeightsError, match=path.name):
        load_network(path)


def test_a_header_of_too_many_tensors_is_refused_for_that(tmp_path):
    header = json.dumps(
        {f"t{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(20_001)}
    ).encode()
    (tmp_path / "hostile.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(WeightsError, match="20,001 tensors"):
        load_network(tmp_path / "hostile.safetensors")


@pytest.mark.parametrize(
    "architecture", [{"name": "antigravity:x"}, {"name": ["compact"]}, {"name": None}, "compact", {"name": "os:system"}]
)
def test_an_architecture_that_is_not_registered_is_refused(tmp_path, architecture):
    path = tmp_path / "hostile.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"format": "sr-cli 1", "architecture": json.dumps(architecture)})
    with pytest.raises(WeightsError, match=path.name):
        load_network(path)
    assert "antigravity" not in sys.modules


def test_a_registered_network_does_not_stand_in_for_an_unregistered_one(lively, tmp_path):
    """``sr train --init`` always names its own network, and an unknown file may fit its shapes."""
    network = lively(name="compact", scale=2, width=8, depth=1)
    path, unknown = tmp_path / "right.safetensors", tmp_path / "unknown.safetensors"
    header = {"format": "sr-cli 1", "architecture": json.dumps(network.architecture | {"name": "other:Net"})}
    save_network(path, network, about={})
    save_file(dict(network.state_dict()), unknown, header)
    load_network(path, arch="compact")
    with pytest.raises(WeightsError, match="not registered"):
        load_network(unknown, arch="compact")


@pytest.mark.parametrize(
    "claim",
    [
        {"depth": 10**9},
        {"width": 10**9},
        {"width": 10**30},
        {"depth": 2},
        {"width": 9},
        {"scale": 10**9},
        {"scale": 2.0},
        {"width": -8},
        {"width": 8.0},
        {"depth": "1"},
        {"depth": [1]},
        {"more": 1},
    ],
    ids=str,
)
def test_a_header_that_claims_another_shape_than_its_tensors_have_costs_nothing(lively, tmp_path, claim):
    network = lively(name="compact", scale=2, width=8, depth=1)
    path = tmp_path / "hostile.safetensors"
    header = {"format": "sr-cli 1", "architecture": json.dumps(network.architecture | claim)}
    save_file(dict(network.state_dict()), path, header)
    started = time.process_time()
    with pytest.raises(WeightsError, match=path.name):
        load_network(path)
    assert time.process_time() - started < 0.5


def test_a_header_cannot_repeat_one_of_its_tensors(tmp_path):
    """A layer of 150 kB, stated 100,000 times, would take 15 GB."""
    tensors = {f"body.{i}.bias": torch.zeros(0) for i in range(1000)}
    path = tmp_path / "hostile.safetensors"
    architecture = {"name": "compact", "scale": 2, "width": 64, "depth": 100_000}
    kernels = {"head.weight": torch.zeros(64, 3, 3, 3), "body.0.weight": torch.zeros(64, 64, 3, 3)}
    save_file(
        tensors | kernels | {"head.bias": torch.zeros(64)},
        path,
        {"format": "sr-cli 1", "architecture": json.dumps(architecture)},
    )
    started = time.process_time()
    with pytest.raises(WeightsError, match=path.name):
        load_network(path)
    assert time.process_time() - started < 0.5
