"""What the documents say is so: quoted sentences, names, parameters, commands and links exist."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from govnesf_model.cli import COMMANDS
from govnesf_model.keyframes import ACCEPTED, REASONS
from govnesf_ros import parameters, topics

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = sorted((REPOSITORY / "docs").glob("*.md"))
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *DOCS]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
# Call -> the argument that holds the reason for which an image is not used.
REASON_AT = {"BadInput": 0, "TransformUnavailable": 0, "flush": 0, "drop": 1, "skip": 1}
FOR_CLOUDS = "clouds.py"  # refuses clouds of requests, which no status counts
# Arguments of other people's packages and of the commands of ROS itself.
FOREIGN_PACKAGES = ("realsense2_camera", "rtabmap_launch", "align_depth.enable", "_profile")


def sources() -> list[Path]:
    return [
        path
        for name in ("govnesf_ros", "govnesf_model")
        for path in (REPOSITORY / name).rglob("*.py")
    ]


def literals(path: Path) -> Iterator[str]:
    """Yield the texts of a source file, with `...` in the place of values."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(map(_shown, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _shown(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    quoted = isinstance(part, ast.FormattedValue) and chr(max(part.conversion, 0)) in "ra"
    return "'...'" if quoted else "..."


def test_quoted_sentences_are_those_of_the_code() -> None:
    said = "\n".join(text for path in sources() for text in literals(path))
    page = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
    quotes = [quote for _, quote in re.findall(r"\*\*(`+)(.+?)\1", page)]
    assert len(quotes) > 30
    commands = ("ros2 ", "pip ")
    unsaid = [
        (part, quote)
        for quote in quotes
        if not quote.startswith(commands)
        for part in quote.split("...")
        if part.strip() not in said
    ]
    assert unsaid == []


def reasons_in_code() -> set[str]:
    """Return the words by which the node counts what it does not use."""
    found = set(REASONS) - {ACCEPTED}
    for path in (REPOSITORY / "govnesf_ros").glob("*.py"):
        if path.name == FOR_CLOUDS:
            continue
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call):
                continue
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            at = {"BadInput": 0, "TransformUnavailable": 0, "flush": 0, "drop": 1, "skip": 1}.get(
                name
            )
            if at is None or len(call.args) <= at:
                continue
            for constant in ast.walk(call.args[at]):
                if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                    found.add(constant.value)
    return found


def test_every_reason_of_the_status_is_explained() -> None:
    page = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
    table = page.split("## Reasons in the status")[1].split("\n## ")[0]
    explained = {
        name
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert explained == reasons_in_code()


@each_page
def test_names_on_the_graph_exist(page) -> None:
    known = {
        "/govnesf/" + value[2:]
        for value in vars(topics).values()
        if isinstance(value, str) and value.startswith("~/")
    }
    text = page.read_text()
    for name in re.findall(r"(?<![\w/])/govnesf/[a-z_]+(?:/[a-z_]+)*", text):
        if name != "/govnesf/transition_event":
            assert name in known or name == "/govnesf/query", name


@each_page
def test_launch_arguments_and_parameters_exist(page) -> None:
    known = {
        item.name
        for settings in vars(parameters).values()
        if isinstance(settings, type) and settings.__name__.endswith("Settings")
        for item in fields(settings)
    }
    for launch in (REPOSITORY / "launch").glob("*.py"):
        known |= {text for text in literals(launch) if text.isidentifier()}
    text = page.read_text()
    for block in re.split(r"\n\s*\n", text):
        if any(package in block for package in FOREIGN_PACKAGES):
            continue
        for name in re.findall(r"(?<![\w.])([a-z_]+):=", block):
            assert name in known, f"{name}:= in {page.name}"


@each_page
def test_commands_of_the_command_line_exist(page) -> None:
    known = {command.name for command in COMMANDS}
    for command in re.findall(r"(?:^|`)\s*govnesf ([a-z]+)\b", page.read_text(), re.MULTILINE):
        assert command in known, f"govnesf {command}"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as forges make them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(plain.replace(" ", "-"))
    return found


@each_page
def test_links_lead_somewhere(page) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        goal = (page.parent / file).resolve() if file else page
        assert goal.exists(), f"{target} in {page.name}"
        if anchor and goal.suffix == ".md":
            assert anchor in anchors(goal), f"{target} in {page.name}"


def test_the_readme_leads_to_every_document() -> None:
    text = (REPOSITORY / "README.md").read_text()
    missing = [page.name for page in DOCS if f"(docs/{page.name}" not in text]
    assert missing == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_map_of_the_tree_is_right(page) -> None:
    text = (REPOSITORY / page).read_text()
    roots = [REPOSITORY / name for name in ("", "govnesf_model", "govnesf_ros", "tests/model")]
    roots += [REPOSITORY / "govnesf_model" / name for name in ("vlm", "data")]
    for name in re.findall(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+(?:\.py|/))`", text):
        assert any((root / name).exists() for root in roots), f"{page} names {name}"
