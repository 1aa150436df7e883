"""An `EvaluationReport` for people and programs: table, JSON, CSV, Markdown, a page with sliders, one picture."""

from sr_cli.evaluation.report.text import as_csv, as_json, as_markdown
