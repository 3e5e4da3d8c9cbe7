"""Message types by name, and messages from and to YAML."""

from __future__ import annotations

import array
import importlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml
from rosidl_parser.definition import AbstractNestedType, BasicType, NamespacedType

TRUNCATE_LENGTH = 128
KINDS = {"msg": "message", "srv": "service", "action": "action"}


def get_interface(name: str, kind: str) -> type:
    """Return the class of `package/Type` or `package/kind/Type`.

    Raises:
        RuntimeError: if there is none, with what is missing.
    """
    parts = name.split("/")
    if len(parts) == 2:
        parts.insert(1, kind)
    if len(parts) != 3 or parts[1] != kind:
        raise RuntimeError(f"The passed {KINDS[kind]} type is invalid: '{name}'")
    try:
        return getattr(importlib.import_module(f"{parts[0]}.{kind}"), parts[2])
    except (ModuleNotFoundError, AttributeError) as error:
        raise RuntimeError(
            f"The passed {KINDS[kind]} type is invalid: '{name}' ({error}); is the workspace of "
            f"package '{parts[0]}' sourced?"
        ) from error


def set_fields(message: Any, values: Mapping[str, Any] | None) -> None:
    """Fill a message from what YAML gave.

    Raises:
        ValueError: if a field does not exist or does not take the value, with its name.
    """
    if values is None:
        return
    kind = type(message).__name__
    if not isinstance(values, Mapping):
        raise ValueError(f"{kind} takes a mapping of fields, found {values!r}")
    slot_types = dict(zip(message.get_fields_and_field_types(), message.SLOT_TYPES, strict=True))
    # Without this the setters of generated messages accept anything.
    message._check_fields = True
    for name, value in values.items():
        if name not in slot_types:
            raise ValueError(
                f"'{kind}' object has no attribute '{name}', it has: {', '.join(slot_types)}"
            )
        try:
            setattr(message, name, _convert(getattr(message, name), slot_types[name], value))
        except (AssertionError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"field '{name}' of {kind} does not take {value!r}: {error}"
            ) from error


def to_yaml(
    message: Any,
    *,
    truncate_length: int | None = None,
    no_arr: bool = False,
    no_str: bool = False,
    flow_style: bool = False,
) -> str:
    """Return a message as YAML.

    Args:
        truncate_length: arrays and texts are cut after so many elements, None for never.
        no_arr: write only type and length of arrays.
        no_str: write only the length of texts.
        flow_style: everything in one line.
    """
    plain = to_plain(message, truncate_length=truncate_length, no_arr=no_arr, no_str=no_str)
    return dump_yaml(plain, flow_style)


def dump_yaml(plain: Any, flow_style: bool = False) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(
        plain,
        Dumper=dumper,
        allow_unicode=True,
        sort_keys=False,
        width=sys.maxsize if dumper is yaml.SafeDumper else 2**31 - 1,
        default_flow_style=flow_style,
    )


def to_plain(
    value: Any,
    *,
    truncate_length: int | None = None,
    no_arr: bool = False,
    no_str: bool = False,
    field_type: str = "",
) -> Any:
    """Return dicts, lists, texts and numbers for a message or a field of one."""
    options = dict(truncate_length=truncate_length, no_arr=no_arr, no_str=no_str)
    if hasattr(value, "get_fields_and_field_types"):
        return {
            name: to_plain(getattr(value, name), field_type=kind, **options)
            for name, kind in value.get_fields_and_field_types().items()
        }
    if isinstance(value, str):
        return _plain_text(value, truncate_length, no_str)
    if isinstance(value, bytes):
        return _plain_text("".join(chr(byte) for byte in value), truncate_length, no_str)
    if isinstance(value, list | tuple | array.array | np.ndarray):
        if no_arr:
            return _array_summary(value, field_type)
        shown = value if truncate_length is None else value[:truncate_length]
        items = shown.tolist() if isinstance(shown, array.array | np.ndarray) else shown
        plain = [to_plain(item, **options) for item in items]
        return plain if len(shown) == len(value) else [*plain, "..."]
    return value


def to_csv(message: Any, truncate_length: int | None = None) -> str:
    """Return all values of a message, separated by commas."""

    def flat(plain: Any) -> list[str]:
        if isinstance(plain, Mapping):
            return [text for item in plain.values() for text in flat(item)]
        if isinstance(plain, list):
            return [text for item in plain for text in flat(item)]
        return [str(plain)]

    return ",".join(flat(to_plain(message, truncate_length=truncate_length)))


def _plain_text(text: str, truncate_length: int | None, no_str: bool) -> str:
    if no_str:
        return f"<string length: <{len(text)}>>"
    if truncate_length is not None and len(text) > truncate_length:
        return text[:truncate_length] + "..."
    return text


def _array_summary(value: Any, field_type: str) -> str:
    if field_type.startswith("sequence<"):
        item_type = field_type.removeprefix("sequence<").removesuffix(">").split(",")[0]
        return f"<sequence type: {item_type}, length: {len(value)}>"
    return f"<array type: {field_type}>"


def _convert(current: Any, slot_type: Any, value: Any) -> Any:
    """Return `value` as the setter of a field wants it."""
    if isinstance(slot_type, AbstractNestedType):
        if isinstance(value, str | Mapping) or not hasattr(value, "__iter__"):
            raise ValueError("it takes a list")
        items = [_convert_item(slot_type.value_type, item) for item in value]
        if isinstance(current, array.array):
            return array.array(current.typecode, items)
        if isinstance(current, np.ndarray):
            return np.array(items, dtype=current.dtype)
        return items
    return _convert_item(slot_type, value)


def _convert_item(slot_type: Any, value: Any) -> Any:
    if isinstance(slot_type, NamespacedType):
        module = importlib.import_module(".".join(slot_type.namespaces))
        message = getattr(module, slot_type.name)()
        set_fields(message, value)
        return message
    if isinstance(slot_type, BasicType):
        if slot_type.typename in ("float", "double") and type(value) in (int, str):
            return float(value)
        if slot_type.typename == "octet" and isinstance(value, int):
            return bytes([value])
        return value
    # Texts: YAML reads `5` or `yes` as a number or a truth although a text was meant.
    return str(value) if isinstance(value, bool | int | float) else value
