"""What `palmtop --help` shows: every command by its first words, in sections, drawn without rich, which alone would
take a third of the time that this list may take."""

import inspect
from typing import Any

from typer.core import TyperGroup

COMMANDS = "Commands"
STAGES = {"compress": "Stages from torch to torch", "export": "Stages that make files for a device"}
"""The sections of the stages, by the room that a stage stands in."""


class Listing(TyperGroup):
    """The group of all commands; its help has a section for each `rich_help_panel`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Usage, what palmtop is, options, commands."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        formatter.write_paragraph()
        for section, rows in self._sections(ctx).items():
            with formatter.section(section):
                formatter.write_dl(rows)

    def _sections(self, ctx: Any) -> dict[str, list[tuple[str, str]]]:
        options = [row for param in self.get_params(ctx) if (row := param.get_help_record(ctx))]
        sections = {"Options": options}
        for name in self.list_commands(ctx):
            command = self.commands[name]
            text = " ".join(inspect.cleandoc(command.help or "").split("\n\n")[0].split())
            panel = getattr(command, "rich_help_panel", None)
            sections.setdefault(panel if isinstance(panel, str) else COMMANDS, []).append((name, text))
        return sections
