"""Names that are used exist.

Ruff's F821 finds those that do not, but also takes jaxtyping's shapes of one word for names, as in
Float[Tensor, "n"]. So pyproject.toml turns it off, and here what it misreads is sorted out.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

SHAPES = """from jaxtyping import Float
from torch import Tensor

Ü = dict


def length(a: Float[Tensor, "n"], b: Ü[str, Float[Tensor, "m"]]) -> Float[Tensor, "n"]:
    return a.norm() + b["x"]
"""


def undefined(*where: Path) -> list[str]:
    """Return file, line and name of what is used and nowhere defined."""
    # Selected here, it is looked for in spite of the settings, whose folders still count.
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "F821"]
    command += ["--config", str(REPOSITORY / "pyproject.toml"), "--output-format", "json"]
    done = subprocess.run([*command, *where], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    found, misread = [], {}
    for report in json.loads(done.stdout):
        file, at = report["filename"], report["location"]
        if file not in misread:
            misread[file] = set(places_misread(Path(file).read_text()))
        if (at["row"], at["column"]) not in misread[file]:
            found.append(f"{Path(file).name}:{at['row']}: {report['message']}")
    return found


def places_misread(source: str) -> Iterator[tuple[int, int]]:
    """Yield where ruff sees a name that is none, or is defined: line and column, counted from 1."""
    tree, lines = ast.parse(source), source.splitlines()
    for node in (*shapes(tree), *names_deleted_later(tree)):
        # ast counts bytes, ruff letters; what it takes for a name stands behind the quote.
        column = len(lines[node.lineno - 1].encode()[: node.col_offset].decode()) + 1
        yield node.lineno, column + isinstance(node, ast.Constant)


def shapes(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the strings in Float[Tensor, "n"] and its like, whatever they were imported as."""
    types = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "jaxtyping"
        for alias in node.names
    }
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(
                value=ast.Name(id=name),
                slice=ast.Tuple(elts=[_, ast.Constant(value=str()) as shape]),
            ) if name in types:
                yield shape


def names_deleted_later(tree: ast.Module) -> Iterator[ast.Name]:
    """Yield names in lambdas that the function around them deletes: ruff looks there last."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        inside = list(ast.walk(function))
        deleted = {
            name.id
            for node in inside
            if isinstance(node, ast.Delete)
            for name in node.targets
            if isinstance(name, ast.Name)
        }
        for node in inside:
            if isinstance(node, ast.Lambda):
                names = (part for part in ast.walk(node) if isinstance(part, ast.Name))
                yield from (name for name in names if name.id in deleted)


def write(folder: Path, source: str) -> Path:
    file = folder / "module.py"
    file.write_text(source)
    return file


def test_every_name_that_is_used_is_defined():
    assert undefined(REPOSITORY) == []


def test_shapes_are_not_names(tmp_path):
    file = write(tmp_path, SHAPES)
    assert len(list(shapes(ast.parse(SHAPES)))) == 3
    assert undefined(file) == []


def test_a_name_may_be_deleted_after_a_lambda_that_uses_it(tmp_path):
    source = "def run(go):\n    a = 1\n    b = go(lambda: a)\n    del a\n    return b\n"
    assert undefined(write(tmp_path, source)) == []
    after = undefined(write(tmp_path, source.replace("return b", "return a")))
    assert after == ["module.py:5: Undefined name `a`"]


def test_a_misspelt_name_is_found(tmp_path):
    file = write(tmp_path, SHAPES.replace("a.norm()", "aa.norm()"))
    assert undefined(file) == ["module.py:8: Undefined name `aa`"]


def test_a_misspelt_type_is_found_beside_its_shape(tmp_path):
    file = write(tmp_path, SHAPES.replace('Float[Tensor, "m"]', 'Float[Tensr, "m"]'))
    assert undefined(file) == ["module.py:7: Undefined name `Tensr`"]


def test_only_strings_of_jaxtyping_are_shapes(tmp_path):
    file = write(tmp_path, SHAPES.replace("from jaxtyping import", "from typing import"))
    assert [one.split("`")[1] for one in undefined(file)] == ["n", "m", "n"]
