"""The command `answermesh`: its sub-commands, each loaded only when it is called."""

from __future__ import annotations

import os
from importlib import import_module

import click

# gRPC reads both when it is first imported, which happens in the commands. Its fork handlers would run in the children
# that uvloop forks to read files, and abort some of them; nothing of gRPC is used there before exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# Below this it writes a line for each connection that a peer closes.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

# Name → module and attribute, in the order in which --help lists them.
_COMMANDS = {
    "up": "answermesh.cli.up:up",
    "import": "answermesh.cli.importing:import_documents",
    "ask": "answermesh.cli.ask:ask",
    "search": "answermesh.cli.search:search",
    "verify": "answermesh.cli.verifying:verify",
    "queries": "answermesh.cli.queries:queries",
    "documents": "answermesh.cli.documents:documents",
    "agents": "answermesh.cli.agents:agents",
    "eval": "answermesh.cli.evaluating:evaluate",
    "doctor": "answermesh.cli.doctor:doctor",
    "demo": "answermesh.cli.demo:demo",
    "gateway": "answermesh.cli.gateway:gateway",
    "serve": "answermesh.cli.serve:serve",
    "version": "answermesh.cli.version:version",
}


class Commands(click.Group):
    """Loads a command when it is asked for, so that none waits for the imports of the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no mesh answers, 130 interrupted.",
)
def main() -> None:
    """Answer questions over your own documents, every sentence cited and checked.

    \b
    A first answer:
      answermesh up                         # in one terminal
      answermesh import ./docs              # in another
      answermesh ask "How do I back up?"
    """


if __name__ == "__main__":
    main(prog_name="answermesh")
