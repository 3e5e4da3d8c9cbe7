"""Encoder specs: `KIND:ARGUMENT?option=value&option=value`.

    parse_spec("ViT-B-16/openai?attention=naclip", {"attention": "maskclip", "window": 0})
    # ("ViT-B-16/openai", {"attention": "naclip", "window": 0})

A file's name may hold "?": only what looks like options at the very end is read as such.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value", str, int, float, bool)

_OPTIONS = re.compile(r"\?(\w+=[^?&=]*(?:&\w+=[^?&=]*)*)$")
_TRUTH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def parse_spec(argument: str, defaults: Mapping[str, Value]) -> tuple[str, dict[str, Value]]:
    """Split options from an encoder's argument.

    Args:
        argument: what follows "KIND:".
        defaults: option -> its default, which also gives its type.

    Returns:
        The argument without options, and every option with its value.

    Raises:
        ValueError: an option that is not known, or a value of the wrong type.
    """
    options = dict(defaults)
    match = _OPTIONS.search(argument)
    if not match:
        return argument, options
    for part in match[1].split("&"):
        name, _, text = part.partition("=")
        if name not in defaults:
            known = ", ".join(f"{key}={value}" for key, value in defaults.items()) or "none"
            raise ValueError(f"there is no option {name!r} of this encoder: it knows {known}")
        options[name] = _convert(name, text, type(defaults[name]))
    return argument[: match.start()], options


def _convert(name: str, text: str, kind: type) -> str | int | float | bool:
    try:
        return _TRUTH[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise ValueError(f"option {name}={text!r} must be {wanted}") from None
