"""What the work costs, in counts that no clock disturbs: a change that makes it slower shows here."""

import math
import platform
import subprocess
import sys
import weakref
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sr_cli.networks.fast.inference_form import InferenceForm
from sr_cli.networks.registry import build

SIDE = 32
JOHNSON = {"name": "johnson", "scale": 4}
COMPACT = {"name": "compact", "scale": 4, "width": 64, "depth": 16}


KERNEL = {"convolution": 1, "_convolution_pointwise": 1, "_convolution_pointwise_": 2}
"""The operations that convolve, plainly or packed, and which of their arguments is the kernel."""


class Watch(TorchDispatchMode):
    """Counts the operations, and the bytes of the tensors that are alive at once.

    Attributes:
        calls: by name, such as ``convolution``.
        multiply_adds: of the convolutions.
        peak: bytes; a convolution's own scratch memory isn't in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.multiply_adds = 0
        self.peak = 0
        self._bytes: dict[int, int] = {}
        self._holders: Counter[int] = Counter()
        self._known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.calls[name] += 1
        result = function(*args, **kwargs or {})
        if name in KERNEL:
            self.multiply_adds += result.numel() * math.prod(args[KERNEL[name]].shape[1:])
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and id(tensor) not in self._known:
                self._hold(tensor)
        self.peak = max(self.peak, sum(self._bytes.values()))
        return result

    def _hold(self, tensor):
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        self._known.add(id(tensor))
        self._bytes[place] = storage.nbytes()
        self._holders[place] += 1
        weakref.finalize(tensor, self._release, id(tensor), place)

    def _release(self, name, place):
        self._known.discard(name)
        self._holders[place] -= 1
        if not self._holders[place]:
            del self._bytes[place], self._holders[place]


def prepared(architecture, side=SIDE):
    torch.manual_seed(0)
    network = build(**architecture).eval().requires_grad_(False)
    return InferenceForm(network, device=torch.device("cpu"), dtype=torch.float32), torch.rand(1, 3, side, side)


@pytest.mark.parametrize(("architecture", "most"), [(JOHNSON, 60_900), (COMPACT, 39_000)], ids=["johnson", "compact"])
def test_multiply_adds_per_pixel_of_the_result(architecture, most):
    run, lr = prepared(architecture)
    with Watch() as watch, torch.no_grad():
        sr = run(lr)
    assert 0.99 * most < watch.multiply_adds / sr[0, 0].numel() <= most


@pytest.mark.parametrize(("architecture", "count"), [(JOHNSON, 12), (COMPACT, 19)], ids=["johnson", "compact"])
def test_number_of_convolutions(architecture, count):
    run, lr = prepared(architecture)
    with Watch() as watch, torch.no_grad():
        run(lr)
    assert sum(watch.calls[name] for name in KERNEL) == count
    if platform.machine().lower() in ("x86_64", "amd64"):
        activations = {"relu_", "leaky_relu", "leaky_relu_", "tanh", "tanh_"}  # they are part of the convolutions
        assert not activations & set(watch.calls) and watch.calls["convolution"] <= 1
    assert not {"native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"} & set(watch.calls)


@pytest.mark.parametrize(
    ("architecture", "side", "most"), [(JOHNSON, 200, 190), (COMPACT, SIDE, 54)], ids=["johnson", "compact"]
)
@pytest.mark.slow
def test_bytes_at_once_per_pixel_of_the_result(architecture, side, most):
    run, lr = prepared(architecture, side)
    with Watch() as watch, torch.no_grad():
        sr = run(lr)
    assert watch.peak / sr[0, 0].numel() <= most


@pytest.mark.parametrize(("scale", "side"), [(2, 280), (4, 60), (4, 200), (8, 40), (8, 90)])
@pytest.mark.slow
def test_johnson_takes_about_as_much_memory_as_it_says(scale, side):
    run, lr = prepared({"name": "johnson", "scale": scale}, side)
    with Watch() as watch, torch.no_grad():
        run(lr)
    assert 0.9 * watch.peak <= build(name="johnson", scale=scale).memory(side, side) <= 1.7 * watch.peak


@pytest.mark.slow
def test_upscaling_and_what_info_collects_load_nothing_they_do_not_need(tmp_path):
    from PIL import Image

    Image.new("RGB", (16, 16), "teal").save(tmp_path / "small.png")
    program = (
        "import sys; from sr_cli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as done: code = done.code\n"
        "from sr_cli.info import collect; collect()\n"
        "heavy = {'torchvision', 'scipy', 'piq', 'spandrel', 'skimage', 'sympy', 'requests', 'torch._dynamo',\n"
        "         'torch._inductor', 'textual_image', 'onnx', 'onnxruntime', 'tensorboard', 'jinja2',\n"
        "         'sr_cli.training'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(code or (f'loaded {heavy}' if heavy else 0))"
    )
    command = [sys.executable, "-c", program, "upscale", "small.png", "-o", "large.png", "--model", "compact-x4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "large.png").size == (64, 64)
