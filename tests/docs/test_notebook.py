"""The notebook in examples/ runs, and what it shows can be shown."""

import ast
import json
import shutil
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


@pytest.mark.slow
def test_every_cell_runs(tmp_path, monkeypatch):
    shutil.copytree(NOTEBOOK.parent, tmp_path / "examples")
    monkeypatch.chdir(tmp_path / "examples")
    monkeypatch.setenv("SR_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names = {"__name__": "__main__"}
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        *statements, last = ast.parse("".join(cell["source"])).body
        assert isinstance(last, (ast.Expr, ast.Assign))
        exec(
            compile(ast.Module([*statements, *([] if isinstance(last, ast.Expr) else [last])], []), "cell", "exec"),
            names,
        )
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            rich = getattr(shown, "_repr_html_", None) or getattr(shown, "_repr_png_", None)
            assert rich() if rich else repr(shown)
    assert len(cells) > 5
