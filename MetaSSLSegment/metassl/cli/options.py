"""The options that settings and roles become."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..data.dataset import ROLES
from ..errors import InputError
from ..job import GROUPS, RENAMED, Job, words_of

SETTINGS = {item.name: item for item in fields(Job)}
METAVARS = {int: "N", float: "X", str: "NAME"}
AXES = ("I", "J", "K")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add an option for every setting of ``Job`` under its heading, and hidden ones for the former names."""
    groups = {heading: parser.add_argument_group(heading) for heading in GROUPS}
    for name, item in SETTINGS.items():
        add_setting(groups[item.metadata["group"]], name)
    for former, present in RENAMED.items():
        kind, count = words_of(SETTINGS[present])
        parser.add_argument(_flag(former), type=kind, nargs=count, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def add_setting(group, name: str, default: Any = argparse.SUPPRESS) -> None:
    """Add the option of one setting."""
    item = SETTINGS[name]
    kind, count = words_of(SETTINGS[name])
    metavar = AXES if count == len(AXES) else METAVARS[kind]
    words = {"choices": item.metadata["choices"]} if item.metadata["choices"] else {"metavar": metavar}
    text = item.metadata["help"] + ("" if item.default in (None, ()) else f" (default {item.default})")
    group.add_argument(_flag(name), type=kind, nargs=count, default=default, help=text, **words)


def job_given(args: argparse.Namespace) -> Job:
    """The job of a new run; ``Job.from_dict`` says what it refuses."""
    return Job.from_dict({"version": 1, **settings_given(args)}, "metassl train")  # version 1 has the former names


def settings_given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings on the command line, former names included, with sizes and spacings in array order (k, j, i)."""
    given = {}
    for name, value in vars(args).items():
        present = RENAMED.get(name, name)
        if present in SETTINGS:
            given[name] = value[::-1] if words_of(SETTINGS[present])[1] == len(AXES) else value
    return given


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def add_roles(parser: argparse.ArgumentParser) -> None:
    """Add an option for every role of a case."""
    for role in ROLES:
        text = f"cases that are {role}: ids, patterns, a number of random labelled cases, or @FILE / @FILE.json:KEY"
        parser.add_argument(f"--{role}", dest=role, default=argparse.SUPPRESS, nargs="+", metavar="CASES", help=text)


def source_and_roles(args: argparse.Namespace) -> tuple[Path, dict[str, list[str]]]:
    """SOURCE, also where it follows the cases of a role and argparse takes it for one of them, and the roles' cases.

    Raises:
        InputError: SOURCE is missing.
    """
    roles = {role: cases for role, cases in vars(args).items() if role in ROLES}  # in the order of the command line
    if args.source is not None:
        return args.source, roles
    for role, (*cases, last) in reversed(roles.items()):
        if cases and Path(last).exists():
            return Path(last), {**roles, role: cases}
    raise InputError(
        "metassl prepare needs SOURCE, the folder of the cases, and it must exist.",
        "Name it first: metassl prepare SOURCE --labelled CASES --out FILE",
    )
