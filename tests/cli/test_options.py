"""Options generated from configs."""

import re
from dataclasses import dataclass, fields
from typing import Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from sr_cli.cli import app
from sr_cli.cli.options import options
from sr_cli.config import TrainConfig, check_settings, flag, recipe, setting


def words(text: str) -> int:
    return len(text.split())


@dataclass(frozen=True, kw_only=True)
class Config:
    size: int = setting(3, "Size.", min=1, max=9)
    kind: Literal["a", "b"] = setting("a", "Kind.")
    names: tuple[str, ...] = setting(("x", "y"), "Names.", flags=("--names", "-n"))
    words: int | None = setting(None, "Text to count.", shown="all", parse=words)
    loud: bool = setting(False, "Loud.")
    hidden: int = 7

    __post_init__ = check_settings


def given(*arguments: str) -> dict[str, Any]:
    """What a command with the options of `Config` receives."""
    received: list[dict[str, Any]] = []
    command = typer.Typer()

    @command.command()
    @options(Config)
    def run(*, before: int = 0, given: dict[str, Any], after: int = 0) -> None:
        received.append(given | {"before": before, "after": after})

    done = CliRunner().invoke(command, list(arguments))
    if done.exit_code:
        raise done.exception if not isinstance(done.exception, SystemExit) else ValueError(done.output)
    return received[0]


def test_only_what_the_user_set_is_given():
    assert given() == {"before": 0, "after": 0}
    assert given("--size", "3", "--after", "1") == {"size": 3, "before": 0, "after": 1}
    chosen = given("--kind", "b", "-n", "p", "--names", "q", "--words", "some more", "--loud")
    assert chosen == {"kind": "b", "names": ("p", "q"), "words": 2, "loud": True, "before": 0, "after": 0}


@pytest.mark.parametrize("arguments", [("--size", "0"), ("--size", "10"), ("--kind", "c"), ("--hidden", "1")], ids=str)
def test_what_the_config_would_refuse_is_refused(arguments):
    with pytest.raises(ValueError, match=arguments[0]):
        given(*arguments)


@pytest.mark.parametrize("value", [0, 10, 2.5, True])
def test_the_config_checks_the_same_ranges(value):
    with pytest.raises(ValueError, match="size"):
        Config(size=value)


@pytest.mark.parametrize("arch", ["compact", "johnson"])
@pytest.mark.parametrize("form", ["{arch} first", "--arch={arch}", "last {arch}"])
@pytest.mark.slow
def test_the_help_of_train_shows_every_setting_with_the_recipes_default(arch, form):
    arguments = {
        "{arch} first": ["train", "--arch", arch, "--help"],
        "--arch={arch}": ["train", f"--arch={arch}", "--help"],
        "last {arch}": ["train", "--help", "--arch", arch],
    }[form]
    text = CliRunner().invoke(app, arguments, env={"COLUMNS": "400", "TERM": "dumb"}).output
    for each in (each for each in fields(TrainConfig) if "help" in each.metadata):
        value = getattr(recipe(arch), each.name)
        shown = f"({each.metadata['shown']})" if each.metadata["shown"] and value == each.default else str(value)
        if isinstance(value, bool):
            shown = ("" if value else "no-") + each.name
        (line,) = re.findall(rf"^│ +{flag(each)}[ ,].*$", text, re.MULTILINE)
        assert each.metadata["help"] in line
        assert f"[default: {shown}]" in line
    assert re.search(rf"--epochs .*\[default: {'5' if arch == 'johnson' else '200'}\]", text)
