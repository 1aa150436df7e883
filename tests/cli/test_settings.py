import pytest

from sr_cli.cli.settings import read_settings
from sr_cli.config import duration, hours
from sr_cli.errors import UsageError


def test_settings_are_read(tmp_path):
    path = tmp_path / "night.toml"
    path.write_text('arch = "compact"\nlr = 2e-3\ncrop-size = 96\nloss = "pixel"\n')
    assert read_settings(path) == {"arch": "compact", "lr": 2e-3, "crop_size": 96, "loss": "pixel"}


def test_settings_are_called_as_their_options(tmp_path):
    path = tmp_path / "night.toml"
    path.write_text('time = "2h30m"\ncache = 1\n')
    assert read_settings(path) == {"hours": 2.5, "cache_gib": 1}
    path.write_text("hours = 2.5\ncache_gib = 1\n")
    assert read_settings(path) == {"hours": 2.5, "cache_gib": 1}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("learning_rate = 1\n", "unknown setting 'learning_rate'"),
        ("batchsize = 4\n", "did you mean batch_size"),
        ("crop-size = 96\ncrop_size = 48\n", "set twice"),
        ("lr = \n", "not a TOML file"),
        ("lr = " + "9" * 5000, "not a TOML file"),
        ("lr = " + "[" * 50_000, "not a TOML file"),
        ("lr = 'fast'", "lr must be a number"),
        ("batch_size = 0", "batch_size must be at least 1"),
        ("xyz = 1\n", "the settings are adversarial_start, arch, "),
        ("tim = 1\n", "did you mean time"),
        ('time = "soon"\n', "time: 'soon' is not a duration"),
        ('time = "2h"\nhours = 2\n', "set twice"),
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


def test_a_duration_is_written_as_it_is_read():
    assert [duration(hours(text)) for text in ("2h30m", "90m", "45s", "1h1s")] == ["2h30m", "1h30m", "45s", "1h1s"]


@pytest.mark.parametrize("text", ["", "2", "2.5h", "30m2h", "h"])
def test_what_is_not_a_duration_is_refused(text):
    with pytest.raises(ValueError, match="is not a duration"):
        hours(text)
