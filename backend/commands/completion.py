"""The command `completion`: a script by which a shell completes the commands, their words and their options.

The script is made of the parsers themselves, once; it holds all words, so that a shell asks no Python for them.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.settings import Settings

__all__ = ["SHELLS", "Words", "add_arguments", "run", "words_of"]

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, kw_only=True)
class Words:
    """What may follow a command.

    Attributes:
        summary: What the command does.
        options: Its options, such as `--project`.
        words: Its subcommands, and values of its positional arguments that are listed.
        values: By option, the values that are listed for it; none where any value will do.
    """

    summary: str
    options: tuple[str, ...]
    words: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]


def words_of(parser: argparse.ArgumentParser, summary: str) -> Words:
    """The words of a command's parser, those of its subcommands among them."""
    options: dict[str, None] = {}
    words: dict[str, None] = {}
    values: dict[str, tuple[str, ...]] = {}
    for one in _with_subcommands(parser):
        for action in one._actions:
            listed = tuple(map(str, action.choices or ()))
            options |= dict.fromkeys(action.option_strings)
            if not action.option_strings:
                words |= dict.fromkeys(listed)
            elif action.nargs != 0:
                values |= dict.fromkeys(action.option_strings, listed)
    return Words(summary=summary, options=tuple(options), words=tuple(words), values=values)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the argument of `completion`."""
    parser.add_argument(
        "shell",
        choices=SHELLS,
        help='your shell; in bash, type: eval "$(python -m backend completion bash)". This completes `contract-marks` '
        "and its words, also where this program is not installed as a command",
    )


def run(args: argparse.Namespace, _: Settings) -> int:
    """Prints the script; `args.described` gives the words of each command, as the command line knows them."""
    described: Callable[[], Mapping[str, Words]] = args.described
    print(_command(args.shell, args.program))
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](args.program, described()))
    return os.EX_OK


def _command(shell: str, program: str) -> str:
    """Makes the program a command of the shell, from any folder, where it was installed by its dependencies alone."""
    place = shlex.quote(str(Path(__file__).resolve().parents[2]))
    run = f"{shlex.quote(sys.executable)} -m backend"
    if shell == "fish":
        return f"command -q {program}; or function {program}; env PYTHONPATH={place}:$PYTHONPATH {run} $argv; end"
    return (
        f"command -v {program} >/dev/null || "
        f'{program}() {{ PYTHONPATH={place}${{PYTHONPATH:+:$PYTHONPATH}} {run} "$@"; }}'
    )


def _with_subcommands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from _with_subcommands(one)


def _bash(program: str, commands: Mapping[str, Words]) -> str:
    """A function that offers words by the command; where an option wants any value, files."""
    cases: list[str] = []
    for name, words in commands.items():
        cases.append(f"    {name}) case $before in")
        cases += [
            f"      {option}) offered={_quoted(listed)}; files={int(not listed)};;"
            for option, listed in words.values.items()
        ]
        cases.append(f"      *) offered={_quoted((*words.words, *words.options))};; esac;;")
    function = f"_{program.replace('-', '_')}"
    return "\n".join(
        [
            f"{function}() {{",
            "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}",
            "  local offered= files=1",
            "  if [ $COMP_CWORD -eq 1 ]; then",
            f"    offered={_quoted(tuple(commands))}; files=0",
            "  else case $command in",
            *cases,
            "  esac; fi",
            '  COMPREPLY=($(compgen -W "$offered" -- "$word"))',
            '  if [ $files -eq 1 ] && [ ${#COMPREPLY[@]} -eq 0 ]; then COMPREPLY=($(compgen -f -- "$word")); fi',
            "}",
            f"complete -o filenames -F {function} {program}",
        ]
    )


def _zsh(program: str, commands: Mapping[str, Words]) -> str:
    """The same function, by zsh's own emulation of bash's completion."""
    return f"autoload -U +X bashcompinit && bashcompinit\n{_bash(program, commands)}"


def _fish(program: str, commands: Mapping[str, Words]) -> str:
    """A line for each word and each option."""
    lines = [f"complete -c {program} -n __fish_use_subcommand -f"]
    for name, words in commands.items():
        lines.append(f"complete -c {program} -n __fish_use_subcommand -a {name} -d {_plain(words.summary)}")
        here = f"complete -c {program} -n '__fish_seen_subcommand_from {name}'"
        lines += [f"{here} -a {word}" for word in words.words]
        for option in words.options:
            form = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            lines.append(f"{here} {form}{_value(words.values.get(option))}")
    return "\n".join(lines)


def _value(listed: Sequence[str] | None) -> str:
    """What fish is told of an option's value: None where it has none, nothing listed where any will do."""
    if listed is None:
        return ""
    return f" -x -a {_quoted(listed)}" if listed else " -r"


def _quoted(words: Sequence[str]) -> str:
    return "'" + " ".join(words) + "'"


def _plain(text: str) -> str:
    return "'" + text.replace("'", "") + "'"
