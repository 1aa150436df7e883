"""Write a card for every model that ships, out of the header of its weights.

python benchmarks/model_cards.py
"""

from pathlib import Path
from typing import Any

from sr_cli.networks.checkpoint import load_network
from sr_cli.weights.registry import PRETRAINED

CARDS = Path(__file__).parents[1] / "docs" / "models"
COLUMNS = {
    "psnr": "PSNR (Y)",
    "ssim": "SSIM (Y)",
    "dss": "DSS",
    "haarpsi": "HaarPSI",
    "color_shift": "color shift /255",
    "sharpness": "sharpness",
    "checkerboard": "checkerboard",
}

DIGITS = {"psnr": 2, "ssim": 4, "color_shift": 2}


def card(path: Path) -> str:
    """The card of one weights file, as Markdown."""
    network, header = load_network(path)
    training, parameters = header["training"], sum(p.numel() for p in network.parameters())
    shape = ", ".join(f"{key} {value}" for key, value in header["architecture"].items() if key != "name")
    color = header.get("color_match", "none")
    loss_network = header.get("loss_network") or "none (no feature term in the loss)"
    return f"""# {path.stem}

*Written by `python benchmarks/model_cards.py` out of the header of the weights.*

For {header["note"]}.

| | |
| --- | --- |
| network | `{header["architecture"]["name"]}` ({shape}), {parameters:,} parameters |
| file | {path.name}, {path.stat().st_size / 1e3:.0f} KB, half precision |
| training data | {header["training_data"]} |
| LR made by | `{training["degradation"]}` |
| color correction | `{color}` after the network (`--color-match`) |
| loss | `{training["loss"]}`; loss network: {loss_network} |
| trained for | {effort(training)}; energy: {energy(header)} |
| licence | {header["licence"]} |

Trained by `{header["command"]}`. {header.get("history", "")}

## Figures

Mean over each test set, LR by `{training["degradation"]}`; protocol and measures: [metrics](../reference/metrics.md).

{table(header["metrics"])}
{commands(path.stem, training["degradation"], network.scale, measured(header["metrics"]))}

## Known weaknesses

{chr(10).join(f"- {weakness}" for weakness in header["weaknesses"])}
"""


def effort(training: dict[str, Any]) -> str:
    """How long, on what."""
    patches = f"{training['batch_size']} patches of {training['crop_size']}×{training['crop_size']} HR pixels"
    minutes = f"{training['seconds'] / 60:.0f} minutes on 2 CPU cores that other work shared"
    return f"{training['steps_done']:,} steps of {patches} in {training['precision']}, {minutes}"


def energy(header: dict[str, Any]) -> str:
    """Watt-hours, where the machine could tell."""
    watt_hours = (header.get("energy") or {}).get("watt_hours")
    return "unavailable" if watt_hours is None else f"{watt_hours:.0f} Wh"


def measured(metrics: dict[str, Any]) -> list[str]:
    """The measures that every row has."""
    return [m for m in COLUMNS if all(m in row for rows in metrics.values() for row in rows.values())]


def table(metrics: dict[str, Any]) -> str:
    """A row for the model and one for bicubic interpolation for every set."""
    found = measured(metrics)
    head = ["set", "", *(COLUMNS[m] for m in found)]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for name, rows in metrics.items():
        for kind, values in rows.items():
            numbers = (f"{values[m]:.{DIGITS.get(m, 3)}f}" for m in found)
            lines.append(f"| {name} | {kind} | {' | '.join(numbers)} |")
    return "\n".join(lines) + "\n"


def commands(name: str, degradation: str, scale: int, measures: list[str]) -> str:
    """What prints these figures."""
    lr = f"--lr Set5/LRbicx{scale}" if degradation == "bicubic" and scale == 4 else f"--degradation {degradation}"
    return f"`sr evaluate Set5/HR {lr} --model {name} --metrics {','.join(measures)}` prints them for Set5."


def main() -> None:
    CARDS.mkdir(parents=True, exist_ok=True)
    for path in sorted(PRETRAINED.glob("*.safetensors")):
        (CARDS / f"{path.stem}.md").write_text(card(path), encoding="utf-8")
        print(CARDS / f"{path.stem}.md")


if __name__ == "__main__":
    main()
