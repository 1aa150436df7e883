"""The whole line as a user runs it: photos in, weights out, larger pictures, figures."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from support.fast_python import python


def sr(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in ``folder``, off a terminal, without network."""
    environment = {**os.environ, "SR_OFFLINE": "1", "SR_DATA_DIR": str(folder / "data"), "OMP_NUM_THREADS": "2"}
    command = [python(), "-m", "sr_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300)


@pytest.mark.slow
def test_train_upscale_evaluate(photo_folder, tmp_path):
    shape = ("--arch", "compact", "--scale", 2, "--width", 8, "--depth", 2, "--crop-size", 48, "--batch-size", 2)
    trained = sr("train", photo_folder, *shape, "--steps", 4, "--name", "tiny", folder=tmp_path)
    assert trained.returncode == 0, trained.stderr
    weights = Path(trained.stdout.strip())
    assert weights == Path("runs/tiny/model.safetensors")
    assert "\x1b" not in trained.stdout + trained.stderr

    upscaled = sr("upscale", photo_folder / "photo0.jpg", "-o", "large", "--model", weights, folder=tmp_path)
    assert upscaled.returncode == 0, upscaled.stderr
    with Image.open(photo_folder / "photo0.jpg") as small, Image.open(next((tmp_path / "large").iterdir())) as large:
        assert large.size == (2 * small.width, 2 * small.height)
        assert large.format == "JPEG"

    evaluated = sr("evaluate", photo_folder, "--model", weights, "--json", folder=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    report = json.loads(evaluated.stdout)
    assert {method["name"] for method in report["methods"]} >= {"bicubic"}


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["train", "nowhere"], 3, "nowhere"),
        (["train", "empty"], 3, "empty"),
        (["train", "photos", "--scale", "5"], 2, "5"),
        (["train", "photos", "--loss", "beauty"], 2, "beauty"),
        (["train", "photos", "--crop-size", "33"], 2, "33"),
        (["train", "photos", "--crop-size", "48", "--init", "nothing.safetensors"], 4, "nothing.safetensors"),
        (["train", "photos", "--arch", "johnson", "--crop-size", "48"], 4, "vgg16"),
        (["upscale", "photos", "--model", "unheard-of"], 4, "unheard-of"),
        (["evaluate", "nowhere"], 3, "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
@pytest.mark.slow
def test_nonsense_is_one_line_and_an_exit_code(arguments, code, named, photo_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    done = sr(*arguments, folder=tmp_path)
    assert done.returncode == code, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and named in errors[0]
    assert "Traceback" not in done.stderr
    assert {path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"} == before
    assert photo_folder.is_dir()
