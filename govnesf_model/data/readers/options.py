"""Options of a scene: given by keyword or behind its path, checked against what a layout knows.

"recording?image=/left/image_raw&every=5"
"""

import re
from collections.abc import Mapping

from govnesf_model.data.posed_scene import SceneError

COMMON = {"size": "", "every": 1, "holdout": 0, "gravity": ""}
_OPTIONS = re.compile(r"\?(\w+=[^?&=]*(?:&\w+=[^?&=]*)*)$")


def split_path(path: str) -> tuple[str, dict[str, str]]:
    """Split "PATH?option=value&option=value" into the path and its options.

    A name may hold "?": only what looks like options at the very end is read as such.
    """
    match = _OPTIONS.search(path)
    if not match:
        return path, {}
    pairs = (part.partition("=") for part in match[1].split("&"))
    return path[: match.start()], {name: value for name, _, value in pairs}


def checked(
    given: Mapping[str, object], own: Mapping[str, str | int | float], layout: str
) -> dict[str, object]:
    """Return every option of a layout with its value, of the type of its default.

    Raises:
        SceneError: an option that the layout does not know, or a value of the wrong type.
    """
    defaults = {**COMMON, **own}
    options: dict[str, object] = dict(defaults)
    for name, value in given.items():
        if name not in defaults:
            known = ", ".join(defaults)
            raise SceneError(
                f"a scene of the layout {layout} has no option {name!r}: it has {known}"
            )
        kind = type(defaults[name])
        try:
            options[name] = kind(value) if value is not None else defaults[name]
        except (TypeError, ValueError):
            wanted = {int: "a whole number", float: "a number", str: "a text"}[kind]
            raise SceneError(f"option {name}={value!r} must be {wanted}") from None
    for name, least in (("every", 1), ("holdout", 0)):
        if options[name] < least or (name == "holdout" and options[name] == 1):
            raise SceneError(
                f"option {name}={options[name]}: every counts from 1; holdout is 0 (none) or 2 "
                "and more"
            )
    options["size"] = _size(options["size"])
    return options


def _size(value: object) -> tuple[int, int] | None:
    text = "x".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    if not text:
        return None
    match = re.fullmatch(r"\(?(\d+)\s*[x,]\s*(\d+)\)?", text.lower())
    if not match or 0 in (int(match[1]), int(match[2])):
        raise SceneError(f"option size={text!r}: give it as WIDTHxHEIGHT, such as 320x240")
    return int(match[1]), int(match[2])
