"""The options that settings and roles become."""

import argparse
import typing
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any

from ..data.dataset import ROLES
from ..errors import InputError
from ..job import GROUPS, RENAMED, Job

SETTINGS = {item.name: item for item in fields(Job)}
METAVARS = {int: "N", float: "X", str: "NAME"}
AXES = ("I", "J", "K")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add an option for every setting of ``Job`` under its heading, and hidden ones for the former names."""
    for heading in GROUPS:
        group = parser.add_argument_group(heading)
        for name, item in SETTINGS.items():
            if item.metadata["group"] == heading:
                add_setting(group, name)
    for former, present in RENAMED.items():
        kind, count = _words(present)
        parser.add_argument(_flag(former), type=kind, nargs=count, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def add_setting(group, name: str, default: Any = argparse.SUPPRESS) -> None:
    """Add the option of one setting."""
    item = SETTINGS[name]
    kind, count = _words(name)
    options: dict[str, Any] = {"metavar": AXES if count == len(AXES) else METAVARS[kind]}
    if item.metadata["choices"]:
        options = {"choices": item.metadata["choices"]}
    text = item.metadata["help"] + ("" if item.default in (None, ()) else f" (default {item.default})")
    group.add_argument(_flag(name), type=kind, nargs=count, default=default, help=text, **options)


def job_given(args: argparse.Namespace) -> Job:
    """The job of a new run.

    Raises:
        InputError: a value that its setting cannot have, or two budgets.
    """
    return Job.from_dict({"version": 1, **settings_given(args)}, "metassl train")  # version 1 has the former names


def settings_given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings on the command line, former names included, with sizes and spacings in array order (k, j, i)."""
    given = {}
    for name, value in vars(args).items():
        present = RENAMED.get(name, name)
        if present in SETTINGS:
            given[name] = value[::-1] if _words(present)[1] == len(AXES) else value
    return given


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _words(name: str) -> tuple[type, int | str | None]:
    """Of which type the words of a setting's option are, and how many there are, as argparse's ``nargs``."""
    kind = typing.get_type_hints(Job)[name]
    if NoneType in typing.get_args(kind):
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is not tuple:
        return kind, None
    words = typing.get_args(kind)
    return words[0], "+" if Ellipsis in words else len(words)


def add_roles(parser: argparse.ArgumentParser) -> None:
    """Add an option for every role of a case."""
    for role in ROLES:
        text = f"cases that are {role}: ids, patterns, a number of random labelled cases, or @FILE / @FILE.json:KEY"
        words = {"nargs": "+", "metavar": "CASES", "help": text}
        parser.add_argument(f"--{role}", dest="roles", default={}, action=_CasesOfRole, **words)


class _CasesOfRole(argparse.Action):
    """Collects the cases of every role, the role that was named last at the end."""

    def __call__(self, parser, namespace, words, option=None) -> None:
        role = self.option_strings[0].removeprefix("--")
        namespace.roles = {other: cases for other, cases in namespace.roles.items() if other != role} | {role: words}


def source_and_roles(args: argparse.Namespace) -> tuple[Path, dict[str, list[str]]]:
    """SOURCE, also where it follows the cases of a role and argparse takes it for one of them, and the roles' cases.

    Raises:
        InputError: SOURCE is missing.
    """
    if args.source is not None:
        return args.source, args.roles
    for role, (*cases, last) in reversed(args.roles.items()):
        if cases and Path(last).exists():
            return Path(last), {**args.roles, role: cases}
    raise InputError(
        "metassl prepare needs SOURCE, the folder of the cases, and it must exist.",
        "Name it first: metassl prepare SOURCE --labelled CASES --out FILE",
    )
