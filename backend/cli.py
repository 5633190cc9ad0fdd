"""The command line: one subcommand for each thing to do, loaded only when it is asked for."""

from __future__ import annotations

import argparse
import difflib
import importlib
import logging
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from backend import __version__
from backend.commands.completion import Words, words_of
from backend.errors import BackendError, DemoError, NotFreezable, RuleError
from backend.escaping import LONGEST_LINE, plain_streams, printable
from backend.files import OWNER_ONLY, way_out
from backend.settings import Settings
from backend.terminal import begin_log, painted

__all__ = ["main"]

_PROGRAM = "contract-marks"
_COMMANDS = {
    "serve": ("backend.commands.serve", "answer Label Studio"),
    "connect": ("backend.commands.connect", "connect a Label Studio project to this backend"),
    "doctor": (
        "backend.commands.doctor.doctor_command",
        "check the connection both ways; say what is wrong, and what to do",
    ),
    "import": (
        "backend.commands.import_documents.import_command",
        "make tasks of PDF, TIFF and image files",
    ),
    "predict": ("backend.commands.predict", "print and draw the marks of images and PDFs; needs no server"),
    "redact": ("backend.commands.redact", "cover the marks of images and PDFs with black, before you share them"),
    "prelabel": (
        "backend.commands.prelabel.prelabel_command",
        "predict every task of a project, or every page of a folder",
    ),
    "worker": ("backend.commands.run_worker", "turn corrections into training examples, beside the server"),
    "sync": ("backend.commands.sync", "fetch corrections that no webhook brought"),
    "samples": ("backend.commands.show_samples", "show what the corrections became, and take one back"),
    "dataset": ("backend.commands.dataset", "freeze corrected pages as a data set; compare and export data sets"),
    "report": ("backend.commands.report.report_command", "tell which contracts lack a signature or a stamp"),
    "select": ("backend.commands.select_tasks", "choose the tasks to annotate next: doubtful ones, unlike each other"),
    "review": (
        "backend.commands.review.review_command",
        "list annotations that the model doubts, the most doubtful first",
    ),
    "draw": ("backend.commands.draw", "draw contract pages with known marks"),
    "evaluate": ("backend.commands.evaluate", "measure a model on pages whose marks are known"),
    "models": ("backend.commands.models", "list, promote and roll back models, and exchange them with the Hub"),
    "train": ("backend.commands.train", "retrain on the corrections; a better model is promoted"),
    "demo": (
        "backend.commands.demo.demo_command",
        "start Label Studio with drawn contracts, connected to this backend",
    ),
    "completion": ("backend.commands.completion", "print a script that completes these commands in your shell"),
}
"""Name: module with `add_arguments(parser)` and `run(args, settings) -> exit code`, and what it does."""
_BAD_USE = 2
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None, *, called: str = _PROGRAM) -> int:
    """Runs a command; gives the exit code: 0, 1 where a part of the work failed, 2 where none could be done.

    Args:
        arguments: The words of the command line; those of this process where left out.
        called: How a person calls this program: its help shows what can be typed.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    wanted = next((word for word in given if not word.startswith("-")), None)
    # Whatever a command writes shows contracts or opens doors: it is for this user alone, whatever the umask was.
    umask = os.umask(OWNER_ONLY)
    try:
        with plain_streams():
            return _run(wanted, given, called)
    finally:
        os.umask(umask)


def _run(wanted: str | None, given: Sequence[str], called: str) -> int:
    try:
        module = _module(wanted)
        args = _read(given, wanted, module, called)
        settings = Settings.from_environment(os.environ)
        # A command that prints results logs warnings and worse only.
        begin_log(settings.log_level if wanted == "serve" else logging.WARNING, form=settings.log_format)
        return int(module.run(args, settings))
    except BackendError as error:
        # The end of a log has several lines, and so have a rule with its wrong place and a list of tasks. In other
        # messages a line could be forged.
        in_lines = isinstance(error, DemoError | NotFreezable | RuleError)
        first, *rest = str(error).split("\n") if in_lines else [str(error)]
        _tell(first)
        for line in rest:
            print(printable(line, most=LONGEST_LINE), file=sys.stderr)
        return _BAD_USE
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; what Python would still flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BAD_USE
    except OSError as error:
        helps = way_out(error)
        if helps is None:
            raise
        _tell(f"{error.filename or 'a file'} cannot be used ({error.strerror}): {helps}")
        return _BAD_USE
    except KeyboardInterrupt:
        _tell("stopped")
        return _INTERRUPTED


def _tell(text: str) -> None:
    print(f"{painted(_PROGRAM, 'red', sys.stderr)}: {printable(text, most=LONGEST_LINE)}", file=sys.stderr)


def _module(command: str | None) -> Any:
    return importlib.import_module(_COMMANDS[command][0]) if command in _COMMANDS else None


def _read(given: Sequence[str], wanted: str | None, module: Any, called: str) -> argparse.Namespace:
    """The arguments; says of a word that is none what was probably meant, and where all that there is stands.

    Raises:
        SystemExit: Help or the version was asked for, or the words cannot be used.
    """
    parser = _parser(wanted, module, called)
    if not given:
        parser.print_help(sys.stderr)
        raise SystemExit(_BAD_USE)
    if wanted is not None and module is None:
        parser.error(f"there is no command {wanted!r}{_meant(wanted, _COMMANDS)}; {called} --help lists them all")
    if list(given) == [wanted] and (command := _with_actions(parser, given[0])):
        command.print_help(sys.stderr)
        raise SystemExit(_BAD_USE)
    args, unknown = parser.parse_known_args(given)
    if unknown:
        options = {one for one in _options(parser) if one.startswith("--")}
        known = _meant(unknown[0].partition("=")[0], options)
        asked = f"{called} {wanted}" if wanted else called
        shown = " ".join(map(printable, unknown))  # such as names of files, which a pattern stood for
        parser.error(f"unrecognized arguments: {shown}{known}; {asked} --help says what there is")
    return args


def _with_actions(parser: argparse.ArgumentParser, wanted: str) -> argparse.ArgumentParser | None:
    """The parser of a command that wants to be told which of several things it shall do; None for any other."""
    [command] = [one.choices[wanted] for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return command if any(isinstance(one, argparse._SubParsersAction) for one in command._actions) else None


def _meant(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (do you mean {close[0]}?)" if close else ""


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every option of a parser and of those below it."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from _options(one)


def _parser(wanted: str | None, module: Any, called: str = _PROGRAM) -> argparse.ArgumentParser:
    """The parser, with the arguments of the wanted command only: the others need not be imported for it."""
    parser = argparse.ArgumentParser(
        prog=called, description="Boxes signatures, stamps and thumbprints on scanned contracts for Label Studio."
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (_, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=_sentence(summary))
        if name == wanted:
            module.add_arguments(command)
            for actions in (one for one in command._actions if isinstance(one, argparse._SubParsersAction)):
                for action in actions._choices_actions:
                    actions.choices[action.dest].description = _sentence(action.help or "")
            command.set_defaults(described=_described, program=_PROGRAM)
    return parser


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _described() -> dict[str, Words]:
    """The words of every command; each command's module is imported for it."""
    found = {}
    for name, (_, summary) in _COMMANDS.items():
        parser = argparse.ArgumentParser()
        _module(name).add_arguments(parser)
        found[name] = words_of(parser, summary)
    return found
