import pytest

from sr_cli.config_file import read_settings
from sr_cli.errors import UsageError


def test_settings_are_read(tmp_path):
    path = tmp_path / "night.toml"
    path.write_text('arch = "compact"\nlr = 2e-3\ncrop-size = 96\nloss = "pixel"\n')
    assert read_settings(path) == {"arch": "compact", "lr": 2e-3, "crop_size": 96, "loss": "pixel"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("learning_rate = 1\n", "unknown setting 'learning_rate'"),
        ("batchsize = 4\n", "did you mean batch_size"),
        ("crop-size = 96\ncrop_size = 48\n", "set twice"),
        ("lr = \n", "not a TOML file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, named):
    path = tmp_path / "night.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=named) as error:
        read_settings(path)
    assert str(path) in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(UsageError, match=r"nothing\.toml: cannot be read"):
        read_settings(tmp_path / "nothing.toml")
