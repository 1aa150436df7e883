"""Take the screenshot of an evaluation report, ``docs/images/evaluation-page.jpg``.

    python tools/evaluation_page.py [MODEL]

Needs Chromium. The photos come with scikit-image: ``astronaut`` (NASA, public domain), ``coffee`` (Rachel Michetti,
CC0) and ``chelsea`` (Stéfan van der Walt, CC0).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import skimage.data
from PIL import Image

ROOT = Path(__file__).parents[1]
PHOTOS = ("astronaut", "coffee", "chelsea")
WINDOW = "1000,1250"


def main(model: str) -> None:
    weights = str(Path(model).resolve()) if Path(model).exists() else model
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("photos").mkdir()
        for name in PHOTOS:
            Image.fromarray(getattr(skimage.data, name)()[..., :3]).save(f"photos/{name}.png")
        command = [sys.executable, "-m", "sr_cli", "evaluate", "photos", "--model", weights, "--report", "page.html"]
        subprocess.run(command, check=True)
        browser = shutil.which("chromium") or "google-chrome"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir=profile"]
        page = Path("page.html").resolve().as_uri()
        subprocess.run([browser, *options, f"--window-size={WINDOW}", "--screenshot=page.png", page], check=True)
        Image.open("page.png").convert("RGB").save(ROOT / "docs" / "images" / "evaluation-page.jpg", quality=85)
        os.chdir(ROOT)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "compact-x4")
