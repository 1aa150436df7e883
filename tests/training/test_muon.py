import pytest
import torch
from torch import nn

from sr_cli.config import TrainConfig
from sr_cli.training.muon import Muon, orthogonal
from sr_cli.training.trainer import Trainer


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16)])
def test_singular_values_become_about_equal(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = u.t() @ orthogonal(matrix) @ v.t()
    assert found.diagonal().min() > 0.5 and found.diagonal().max() < 1.3
    assert (found - found.diagonal().diag()).abs().max() < 1e-3


def test_no_gradient_moves_nothing():
    assert orthogonal(torch.zeros(4, 9)).count_nonzero() == 0
    kernel = nn.Parameter(torch.ones(4, 2, 3, 3))
    Muon([kernel], lr=0.1).step()
    assert torch.equal(kernel, torch.ones(4, 2, 3, 3))


def test_a_step_is_as_large_as_adams_whatever_the_gradients_size():
    for size in (1e-6, 1.0, 1e6):
        kernel = nn.Parameter(torch.zeros(16, 16, 3, 3))
        kernel.grad = size * torch.randn(kernel.shape, generator=torch.Generator().manual_seed(0))
        Muon([kernel], lr=0.01).step()
        assert kernel.square().mean().sqrt().item() == pytest.approx(0.01 * 0.2, rel=0.2)


@pytest.mark.slow
def test_it_gets_further_than_adam_where_inputs_are_much_alike():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.linalg.qr(torch.randn(32, 32, generator=generator))[0] * torch.logspace(0, -2, 32)
    inputs = torch.randn(512, 32, generator=generator) @ mixing.t()
    wanted = inputs @ torch.randn(32, 32, generator=generator)

    def what_is_left(optimizer, *, lr):
        kernel = nn.Parameter(torch.zeros(32, 32, 1, 1))
        descent = optimizer([kernel], lr=lr)
        for step in range(200):
            descent.param_groups[0]["lr"] = lr * (1 - step / 200)
            descent.zero_grad()
            loss = (inputs @ kernel.flatten(1).t() - wanted).square().mean()
            loss.backward()
            descent.step()
        return loss.item()

    rates = (0.01, 0.03, 0.1, 0.3)
    muon, adam = (min(what_is_left(each, lr=lr) for lr in rates) for each in (Muon, torch.optim.Adam))
    assert muon < adam / 2


@pytest.mark.parametrize("arch", ["johnson", "compact"])
def test_muon_moves_the_inner_kernels_and_adam_the_rest(arch):
    config = TrainConfig(arch=arch, optimizer="muon", loss="pixel")
    trainer = Trainer(config, torch.device("cpu"))
    adam, muon = ({id(p) for group in o.param_groups for p in group["params"]} for o in trainer.optimizers)
    outer = ("head.", "tail.")
    inner = {id(p) for name, p in trainer.network.named_parameters() if p.ndim == 4 and not name.startswith(outer)}
    assert muon == inner and inner
    assert adam == {id(p) for p in trainer.network.parameters()} - inner
