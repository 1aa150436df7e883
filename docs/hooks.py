"""Pages of the site that are generated at build time: the command line, the contributors' guide and the changelog."""

import re
from pathlib import Path
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from sr_cli.cli import app

ROOT = Path(__file__).parents[1]
KINDS = {"int": "N", "float": "X", "str": "TEXT", "path": "PATH"}
"""What to write for values of options without a metavar."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "reference/cli.md": command_line(),
        "contributing.md": from_root("CONTRIBUTING.md"),
        "changelog.md": from_root("CHANGELOG.md"),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn links to the files in the repository's root into links to the pages made from them."""
    return re.sub(
        r"\]\(\.\./((?:\.\./)*)(CONTRIBUTING|CHANGELOG)\.md",
        lambda found: f"]({found[1]}{found[2].lower()}.md",
        markdown,
    )


def from_root(name: str) -> str:
    """A page of the repository's root, its links made relative to the docs folder."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"\]\(docs/", "](", text)


def command_line() -> str:
    """Every command with its arguments and options, as the commands themselves define them."""
    group: Any = typer.main.get_command(app)
    parts = [
        "# Command line",
        "This page is generated from the commands. `sr COMMAND --help` prints the same.",
        "Results go to stdout, progress and errors to stderr; see also the [exit codes](exit-codes.md).",
    ]
    for name, command in group.commands.items():
        parts += [f"## sr {name}", command.help.split("\f")[0].strip()]
        context = command.make_context(f"sr {name}", [], resilient_parsing=True)
        parts.append(f"```text\n{' '.join(command.get_usage(context).split()).removeprefix('Usage: ')}\n```")
        panels: dict[str, list[Any]] = {}
        for parameter in command.params:
            if not parameter.hidden:
                fallback = "Arguments" if parameter.param_type_name == "argument" else "Options"
                panels.setdefault(parameter.rich_help_panel or fallback, []).append(parameter)
        for panel, parameters in panels.items():
            rows = [row(parameter, context) for parameter in parameters]
            parts.append("\n".join([f"**{panel}**\n", "| option | meaning | default |", "| --- | --- | --- |", *rows]))
    return "\n\n".join(parts) + "\n"


def row(parameter: Any, context: Any) -> str:
    """One line of the table: spelling, help, default."""
    spelling, text = parameter.get_help_record(context)
    default = ""
    if found := re.search(r"\s*\[((?:default: |required|env var: |[\d.]*<?=?x[<>=])[^][]*)\]\s*$", text):
        text = text[: found.start()]
        stated = re.search(r"default: (.*?)(?:; [\d.]*<?=?x[<>=].*)?$", found[1], re.S)
        default = re.sub(r"^\((.*)\)$", r"\1", stated[1]) if stated else "required" * ("required" in found[1])
    if parameter.param_type_name == "argument":
        spelling = spelling.split(" <")[0]
    for kind, word in KINDS.items():
        spelling = re.sub(f"<{kind}( range)?>", word, spelling)
    return f"| <code>{escape(spelling)}</code> | {escape(text)} | {escape(default)} |"


def escape(text: str) -> str:
    """Text as it is, whatever Markdown, HTML and tables would make of its characters."""
    return re.sub(r"[^\w\s.,:;]", lambda found: f"&#{ord(found[0])};", text)
