"""The options of ``metassl train``: one for every setting of ``Job``, under the headings that the settings name."""

import argparse
import typing
from dataclasses import Field, fields
from types import NoneType
from typing import Any

from ..job import GROUPS, RENAMED, Job

SETTINGS = {item.name: item for item in fields(Job)}
METAVARS = {int: "N", float: "X", str: "NAME"}
AXES = ("I", "J", "K")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add an option for every setting, and hidden ones for the names of job version 1."""
    for heading in GROUPS:
        group = parser.add_argument_group(heading)
        for name, item in SETTINGS.items():
            if item.metadata["group"] == heading:
                default = "" if item.default in (None, ()) else f" (default {item.default})"
                text = item.metadata["help"] + default
                _add_option(group, name, item, help=text, choices=item.metadata["choices"] or None)
    for former, present in RENAMED.items():
        _add_option(parser, former, SETTINGS[present], help=argparse.SUPPRESS)


def job_given(args: argparse.Namespace) -> Job:
    """The job of a new run.

    Raises:
        InputError: a value that its setting cannot have, or two budgets.
    """
    return Job.from_dict({"version": 1, **settings_given(args)}, "metassl train")  # version 1 knows the former names


def settings_given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings on the command line, former names included, with sizes and spacings in array order (k, j, i)."""
    given = {}
    for name, value in vars(args).items():
        item = SETTINGS.get(RENAMED.get(name, name))
        if item is not None:
            given[name] = value[::-1] if _words(item)[1] == len(AXES) else value
    return given


def _add_option(group, name: str, item: Field, **options: Any) -> None:
    kind, count = _words(item)
    if not options.get("choices"):
        options["metavar"] = AXES if count == len(AXES) else METAVARS[kind]
    flag = "--" + name.replace("_", "-")
    group.add_argument(flag, dest=name, default=argparse.SUPPRESS, type=kind, nargs=count, **options)


def _words(item: Field) -> tuple[type, int | str | None]:
    """Of which type the words of a setting's option are, and how many there are, as argparse's ``nargs``."""
    kind = typing.get_type_hints(Job)[item.name]
    if NoneType in typing.get_args(kind):
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is not tuple:
        return kind, None
    words = typing.get_args(kind)
    return words[0], "+" if Ellipsis in words else len(words)
