"""How much an interrupted download costs: 59 MB of random bytes over connections that are cut at ten random points.

Run it in a checkout: ``python benchmarks/download_resume.py``. It exits with 0 if the file arrives with the right hash
after one resume per cut, and less than 61 MB were transferred for 59.
"""

import argparse
import hashlib
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from sr_cli.weights import Entry, RetryPolicy
from sr_cli.weights.download import download
from support.loopback import Served, serving

ALLOWED = 61 / 59  # bytes transferred per byte of the file


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=58_861_232, help="bytes of the file")
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--seed", type=int, help="by default another one at every run")
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    chance = random.Random(seed)
    content = chance.randbytes(options.size)
    cuts = sorted(chance.sample(range(1, options.size), options.cuts))
    sha256 = hashlib.sha256(content).hexdigest()

    with tempfile.TemporaryDirectory() as folder, serving({"weights.bin": Served(content, cuts=list(cuts))}) as server:
        served, target = server.files["weights.bin"], Path(folder) / "weights.bin"
        urls = (server.url(target.name),)
        entry = Entry(name="a", kind="upscaler", file=target.name, urls=urls, size=options.size, sha256=sha256)
        begun = time.perf_counter()
        download(entry, target, retries=RetryPolicy(backoff=0.01))
        seconds = time.perf_counter() - begun
        right = hashlib.sha256(target.read_bytes()).hexdigest() == sha256

    resumes = sum("Range" in asked for asked in served.asked)
    print(f"seed         {seed}")
    print(f"size         {options.size / 1e6:.2f} MB")
    print(f"cut at       {', '.join(f'{cut / 1e6:.2f}' for cut in cuts)} MB")
    print(f"requests     {len(served.asked)}, of them {resumes} resumes")
    print(f"transferred  {served.sent / 1e6:.2f} MB ({served.sent - options.size:+d} bytes)")
    print(f"SHA-256      {'right' if right else 'WRONG'}")
    print(f"time         {seconds:.1f} s")
    return 0 if right and resumes == options.cuts and served.sent < options.size * ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
