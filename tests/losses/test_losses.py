import math
import re

import pytest
import torch
from torch.nn import functional as F

from sr_cli.errors import UsageError, WeightsError
from sr_cli.losses.checkerboard import CheckerboardLoss, CheckerboardPairLoss
from sr_cli.losses.features import FeatureReconstructionLoss, RelativeFeatureLoss
from sr_cli.losses.parse import FEATURE_LOSSES, LOSSES, PRESETS, WeightedSum, feature_layers, parse_loss
from sr_cli.losses.pixel import ChromaLoss, L1Loss, L2Loss, PsnrLoss, self_ensemble_loss
from sr_cli.networks.vgg import VGG_LAYERS, VGGFeatures, load_vgg_state


@pytest.mark.slow
def test_features_are_those_of_torchvisions_vgg16():
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    reference = make_layers(cfgs["D"]).eval()  # of its vgg16
    layers = ["relu1_2", "conv2_2", "relu2_2", "relu5_3"]
    image = torch.rand(1, 3, 32, 48)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    state = {f"features.{key}": value for key, value in reference.state_dict().items()}
    found = VGGFeatures(state, layers)(image)
    for layer in layers:
        x = (image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
        torch.testing.assert_close(found[layer], reference[: VGG_LAYERS[layer] + 1](x))


def test_before_the_relu_there_are_negative_values(vgg_state, photo):
    found = VGGFeatures(vgg_state, ["conv2_2", "relu2_2"])(photo)
    assert found["conv2_2"].min() < 0
    torch.testing.assert_close(found["conv2_2"].relu(), found["relu2_2"])


def test_the_loss_network_is_frozen(vgg_state, photo):
    loss = WeightedSum(parse_loss("johnson+pixel"), scale=4, vgg_state=vgg_state)
    vgg = loss.terms["feature"].vgg
    loss.train()
    sr, hr = photo.flip(2).requires_grad_(), photo.clone().requires_grad_()
    sum(loss(sr, hr).values()).backward()
    assert not vgg.training
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in vgg.parameters())
    assert hr.grad is None
    assert sr.grad is not None and sr.grad.abs().sum() > 0


def test_feature_loss_is_equation_2_summed_as_in_equation_1(vgg_state, photo):
    vgg = VGGFeatures(vgg_state, ["relu1_2", "relu2_2"])
    sr, hr = photo.flip(3), photo
    expected = 0.0
    for layer, weight in (("relu1_2", 0.5), ("relu2_2", 2.0)):
        difference = vgg(sr)[layer] - vgg(hr)[layer]
        expected += weight * float(difference.square().sum()) / difference.numel()
    loss = FeatureReconstructionLoss(vgg, {"relu1_2": 0.5, "relu2_2": 2.0})
    assert float(loss(sr, hr)) == pytest.approx(expected, rel=1e-5)
    assert float(loss(hr, hr)) == 0


def test_pixel_loss_is_a_mean(photo):
    sr = photo.flip(2)
    torch.testing.assert_close(L2Loss()(sr, photo), (sr - photo).square().mean())
    torch.testing.assert_close(L1Loss()(sr, photo), (sr - photo).abs().mean())


def test_psnr_loss_is_the_psnr_of_luma(photo):
    """Twenty times smaller errors are 26 dB, whatever the error was; and of colors it knows nothing."""
    loss, error = PsnrLoss(), 0.2 * torch.randn(2, 3, *photo.shape[2:])
    hr = photo.expand(2, -1, -1, -1)
    luma = (error * torch.tensor([65.481, 128.553, 24.966]).view(3, 1, 1) / 255).sum(1)
    decibels = 10 * (luma.square().mean((1, 2)) / 1e-5 + 1).log10().mean()
    torch.testing.assert_close(loss(hr + error, hr) * 10 / math.log(10), decibels, rtol=1e-4, atol=1e-4)
    tint = torch.tensor([128.553, -65.481, 0]).view(3, 1, 1) / 1000
    assert loss(hr, hr) == 0 and loss(hr + tint, hr) < 1e-6 < L1Loss()(hr + tint, hr)


def test_psnr_loss_counts_every_patch_the_same(photo):
    """A tenth off the error of any patch is worth the same: so the two patches' gradients differ as their errors do."""
    hr = photo.expand(2, -1, -1, -1)
    sr = (hr + torch.randn(hr.shape) * torch.tensor([0.3, 0.1]).view(2, 1, 1, 1)).requires_grad_()
    PsnrLoss()(sr, hr).backward()
    worth = ((sr - hr) * sr.grad).sum((1, 2, 3))
    torch.testing.assert_close(worth[0], worth[1], rtol=0.05, atol=0)


def test_relative_feature_loss_does_not_depend_on_the_size_of_the_features(vgg_state, photo):
    """A VGG-16 whose last layer's features are ten times as large gives the same loss."""
    layers = {"conv1_2": 1.0, "conv2_2": 0.5}
    larger = {key: value * (10 if key.startswith("features.7.") else 1) for key, value in vgg_state.items()}
    one, ten = (RelativeFeatureLoss(VGGFeatures(s, layers), layers)(photo.flip(2), photo) for s in (vgg_state, larger))
    torch.testing.assert_close(one, ten)
    assert one > 0.1


def test_chroma_is_what_luma_is_not(photo):
    loss = ChromaLoss()
    assert loss(photo + 0.1, photo) < 1e-6
    off_blue = torch.tensor((0.0, 0.0, 0.1)).view(3, 1, 1)
    torch.testing.assert_close(loss(photo + off_blue, photo), torch.tensor((0.05 + 0.0081312) / 2), rtol=1e-4, atol=0)


def test_self_ensemble_loss_is_relative_to_the_error(photo):
    sr = photo + 0.1
    assert self_ensemble_loss(sr, sr, photo) == 0
    torch.testing.assert_close(self_ensemble_loss(sr, photo, photo), torch.tensor(1.0), rtol=2e-3, atol=0)
    torch.testing.assert_close(self_ensemble_loss(sr, photo + 0.05, photo), torch.tensor(0.25), rtol=2e-3, atol=0)


def test_luma_features_see_structure_and_no_colors(vgg_state, photo):
    layers = {"conv1_2": 1.0, "conv2_2": 0.5}
    vgg = VGGFeatures(vgg_state, layers)
    luma, color = RelativeFeatureLoss(vgg, layers, luma=True), RelativeFeatureLoss(vgg, layers)
    tint = torch.tensor((0.587, -0.299, 0.0)).view(3, 1, 1) * 0.1  # changes no luma
    assert luma(photo + tint, photo) < 1e-3 < 0.01 < color(photo + tint, photo)
    gray = photo.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(luma(gray.flip(2), gray), color(gray.flip(2), gray), rtol=1e-3, atol=0)


@pytest.mark.parametrize("scale", [2, 4])
def test_checkerboard_loss_is_the_rms_of_the_pattern(scale):
    torch.manual_seed(0)
    hr = torch.rand(2, 3, 24 * scale, 20 * scale)
    cell = torch.randn(scale, scale)
    pattern = 0.01 * (cell - cell.mean()).repeat(24, 20)
    penalty = CheckerboardLoss(scale)
    torch.testing.assert_close(penalty(hr + pattern, hr), (pattern**2).mean().sqrt(), rtol=1e-3, atol=1e-6)


def test_checkerboard_loss_spares_texture_and_tints(photo):
    penalty = CheckerboardLoss(4)
    assert penalty(photo, photo) < 2e-6
    assert penalty(photo + 0.1, photo) < 2e-6
    noise = 0.1 * torch.randn(1, 3, 60, 84)
    assert penalty(photo + noise, photo) < 0.1 * noise.square().mean().sqrt()


def test_dots_that_change_sign_between_blocks():
    """Over 15×15 cells they cancel out, over 5×5 they don't."""
    torch.manual_seed(0)
    hr = torch.rand(1, 3, 48 * 4, 48 * 4)
    cell = torch.randn(4, 4)
    dots = 0.01 * (cell - cell.mean()).repeat(48, 48)
    signs = (-1.0) ** (torch.arange(48 * 4) // 32)  # blocks of 8 LR pixels
    dots *= signs * signs.view(-1, 1)
    parts = WeightedSum(parse_loss("checkerboard:rms=2,block=2"), scale=4)(hr + dots, hr)
    size = 2 * dots.square().mean().sqrt()
    assert parts["checkerboard_rms"] < 0.25 * size < 0.6 * size < parts["checkerboard_block"] < size


def checkerboard(cells, scale):
    signs = (-1.0) ** (torch.arange(cells * scale) // scale)
    return 0.01 * signs * signs.view(-1, 1)


@pytest.mark.parametrize("scale", [2, 4])
def test_checkerboard_pair_loss_is_the_rms_of_a_pattern_of_two_cells(scale):
    torch.manual_seed(0)
    hr = torch.rand(2, 3, 24 * scale, 24 * scale)
    pattern = checkerboard(24, scale)
    torch.testing.assert_close(CheckerboardPairLoss(scale)(hr + pattern, hr).item(), 0.01, rtol=1e-3, atol=0)
    assert CheckerboardLoss(scale)(hr + pattern, hr) < 1e-5
    assert CheckerboardPairLoss(scale)(hr + 0.1, hr) < 2e-6


def test_a_checkerboard_counts_as_much_beside_strong_texture():
    """A root over the whole picture would all but lose it there."""
    torch.manual_seed(0)
    hr = torch.rand(1, 3, 192, 384)
    texture = torch.cat([torch.zeros(192, 192), 0.5 * torch.randn(192, 192)], dim=1)
    smooth = torch.cat([checkerboard(48, 4), torch.zeros(192, 192)], dim=1)
    penalty = CheckerboardPairLoss(4)
    assert penalty(hr + texture + smooth, hr) - penalty(hr + texture, hr) > 0.4 * 0.01
    whole = CheckerboardLoss(8, cells=5)
    assert whole(hr + texture + smooth, hr) - whole(hr + texture, hr) < 0.1 * 0.01


@pytest.mark.parametrize("penalty", [CheckerboardLoss(4), CheckerboardPairLoss(4)], ids=["cells", "pairs"])
def test_the_penalties_have_a_gradient_where_there_is_no_pattern(penalty, photo):
    sr = photo.clone().requires_grad_()
    assert penalty(sr, photo).backward() is None
    assert sr.grad is not None and sr.grad.isfinite().all()


def test_terms_are_weighted_and_kept_apart(photo):
    parts = WeightedSum(parse_loss("pixel:l1=3,l2=0.5"), scale=4)(photo.flip(2), photo)
    torch.testing.assert_close(parts["pixel_l1"], 3 * F.l1_loss(photo.flip(2), photo))
    torch.testing.assert_close(parts["pixel_l2"], 0.5 * F.mse_loss(photo.flip(2), photo))


def test_a_loss_says_what_patches_it_needs():
    assert WeightedSum(parse_loss("pixel:l1"), scale=4).min_size == 1
    assert WeightedSum(parse_loss("pixel:l1+checkerboard:rms,pair"), scale=4).min_size == 8


def test_every_part_by_its_name_gives_a_scalar(photo, vgg_state):
    texts = [f"{kind}:{part}" for kind, parts in LOSSES.items() for part in parts]
    texts += [f"{kind}:conv1_2" for kind in FEATURE_LOSSES]
    for text in texts:
        (value,) = WeightedSum(parse_loss(text), scale=2, vgg_state=vgg_state)(photo.flip(2), photo).values()
        assert value.shape == () and value > 0, text


def test_the_syntax():
    assert parse_loss("johnson") == {"feature": {"relu2_2": 1.0}}
    assert parse_loss("johnson+pixel")["pixel"] == {"l2": 1.0}
    assert parse_loss("feature:relu2_2=1,conv3_3=.5+pixel:l1=1e-2") == {
        "feature": {"relu2_2": 1.0, "conv3_3": 0.5},
        "pixel": {"l1": 0.01},
    }
    assert feature_layers(parse_loss("feature:conv3_3,relu1_2+pixel:l1")) == ["relu1_2", "conv3_3"]
    for preset in PRESETS:
        assert parse_loss(preset)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "style",
        "feature:relu9_9",
        "pixel:",
        "pixel:l3",
        "pixel:l1=much",
        "pixel:l1=-1",
        "pixel:l1=0",
        "feature",
        "pixel:l1++",
        "pixel:l1+pixel:l2",
    ],
)
def test_nonsense_is_refused_with_its_name(text):
    with pytest.raises(UsageError, match=re.escape(repr(text)) if len(text) < 8 else None):
        parse_loss(text)


def test_weights_of_something_else_are_refused(vgg_state, tmp_path):
    with pytest.raises(WeightsError, match=r"features\.0\.weight is missing"):
        VGGFeatures({}, ["relu2_2"])
    with pytest.raises(WeightsError, match="another shape"):
        VGGFeatures({**vgg_state, "features.0.weight": torch.zeros(1)}, ["relu2_2"])
    with pytest.raises(UsageError, match="no layer 'relu2_3'"):
        VGGFeatures(vgg_state, ["relu2_3"])
    text = tmp_path / "vgg.pth"
    text.write_text("not weights")
    for path in (text, tmp_path / "missing.pth"):
        with pytest.raises(WeightsError, match=path.name):
            load_vgg_state(path)
    torch.save({"other.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match=r"resnet\.pth: not VGG-16 .* features\.0\.weight is missing"):
        load_vgg_state(tmp_path / "resnet.pth", ["relu2_2"])


def test_weights_that_would_run_code_are_not_unpickled(tmp_path):
    class Malice:
        def __reduce__(self):
            return (tmp_path.joinpath("harm").mkdir, ())

    path = tmp_path / "malice.pth"
    torch.save({"features.0.weight": Malice()}, path)
    with pytest.raises(WeightsError):
        load_vgg_state(path)
    assert not (tmp_path / "harm").exists()
