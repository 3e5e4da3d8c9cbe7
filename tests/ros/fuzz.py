"""Messages of any content for hypothesis, valid on the wire and senseless otherwise.

@fuzz(messages(Image), fast=200, slow=4000)
def test_something(message): ...
"""

import inspect
import re
from collections.abc import Callable
from importlib import import_module

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_NUMBERS = {
    **{f"uint{bits}": st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64)},
    **{f"int{bits}": st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32)},
    "int64": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "octet": st.binary(min_size=1, max_size=1),
    "double": st.floats(),
    "float": st.floats(width=32),
}
# What DDS carries: no lone surrogates, no zero in the middle.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


def fuzz(*cases: st.SearchStrategy, fast: int, slow: int) -> Callable:
    """Run a test with some cases, and as a slow test with many; fixtures come by keyword."""

    def decorate(test: Callable) -> Callable:
        def run(number: int, **fixtures: object) -> None:
            # The same cases every time: a failure in the field is no reason for one here.
            run_cases = settings(
                max_examples=number,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            run_cases(given(st.tuples(*cases))(lambda drawn: test(*drawn, **fixtures)))()

        # Pytest finds fixtures by the names of the arguments behind the drawn ones.
        names = ["number", *list(inspect.signature(test).parameters)[len(cases) :]]
        kind = inspect.Parameter.KEYWORD_ONLY
        run.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])
        run.__name__ = test.__name__
        many = pytest.param(slow, marks=pytest.mark.slow)
        return pytest.mark.parametrize("number", [fast, many])(run)

    return decorate


def messages(kind: type, **known: st.SearchStrategy) -> st.SearchStrategy:
    """Return any message of a type; fields named in `known` are drawn from there."""
    fields = {
        name: known[name] if name in known else values(described)
        for name, described in kind.get_fields_and_field_types().items()
    }
    return st.builds(kind, **fields)


def values(described: str) -> st.SearchStrategy:
    """Return any value of a type as rosidl writes it, e.g. sequence<double, 3>."""
    if described in _NUMBERS:
        return _NUMBERS[described]
    if described.startswith(("string", "wstring")):
        return TEXTS
    if match := re.fullmatch(r"sequence<(.*?)(?:, (\d+))?>", described):
        most = min(int(match[2] or 6), 6)
        if match[1] in ("uint8", "octet", "int8"):
            return st.binary(max_size=64)
        return st.lists(values(match[1]), max_size=most)
    if match := re.fullmatch(r"(.*)\[(\d+)\]", described):
        return st.lists(values(match[1]), min_size=int(match[2]), max_size=int(match[2]))
    package, name = described.split("/")
    return messages(getattr(import_module(f"{package}.msg"), name))


def mutated(data: bytes) -> st.SearchStrategy:
    """Return bytes with some changed, cut off or added."""
    change = st.tuples(st.integers(0, len(data) - 1), st.binary(min_size=1, max_size=4))

    def apply(changes: list, end: int, tail: bytes) -> bytes:
        found = bytearray(data)
        for position, part in changes:
            found[position : position + len(part)] = part
        return bytes(found[:end]) + tail

    cut = st.one_of(st.just(len(data) + 8), st.integers(0, len(data)))
    return st.builds(apply, st.lists(change, max_size=6), cut, st.binary(max_size=8))
