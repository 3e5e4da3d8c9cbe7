"""The page's HTML: what comes from outside is text, never markup."""

from html.parser import HTMLParser

import numpy as np
import pytest
from govnesf_ros.msg import MapStatus

from govnesf_ros import viewer_html as html
from govnesf_ros.viewer_state import Found

NASTY = "<script>alert('\"&{1+1}</script>"
COLOR = np.array([255, 70, 10], np.uint8)


class Parsed(HTMLParser):
    """Tags and text of a piece of HTML; what was opened must be closed."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.append(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data


def nasty_status() -> MapStatus:
    return MapStatus(
        state=NASTY, model=NASTY, device=NASTY, last_query=NASTY, reasons=[NASTY], reason_counts=[3]
    )


@pytest.mark.parametrize(
    "content",
    [
        html.note("warn", NASTY, "second"),
        html.status_line(nasty_status(), 0.1),
        html.status_table(nasty_status()),
        html.found_card(Found(NASTY, 1, 0.5, (1, 2, 3), (1, 1, 1), 0.0), COLOR),
        html.legend("words", [NASTY]),
        html.legend("relevancy", [NASTY]),
        html.soft(NASTY),
    ],
)
def test_texts_stay_texts(content) -> None:
    parsed = Parsed(content)
    assert NASTY in parsed.text.replace("_", " ")
    assert set(parsed.tags) <= {"div", "span", "b", "i", "br", "table", "tr", "td"}


def test_a_result_says_what_how_sure_how_large_and_where() -> None:
    parsed = Parsed(
        html.found_card(Found("mug", 1, 0.756, (1, -2, 0.25), (0.1, 0.2, 0.3), 0), COLOR)
    )
    assert parsed.text == "mug 0.760.10 × 0.20 × 0.30 m at (1.00, -2.00, 0.25)"
    content = html.found_card(Found("mug", 1, 7.0, (0, 0, 0), (1, 1, 1), 0), COLOR)
    assert "width:100%" in content
    assert "#ff460a" in content


def test_a_very_long_text_is_cut() -> None:
    parsed = Parsed(html.legend("words", ["x" * 10_000]))
    assert len(parsed.text) < 100
    assert parsed.text.endswith("…")


def test_a_long_vocabulary_is_counted() -> None:
    parsed = Parsed(html.legend("words", [f"word {number}" for number in range(254)]))
    assert parsed.text.endswith(f"and {254 - html.MAX_LEGEND} more")


def test_a_mapper_that_is_silent_is_not_called_active() -> None:
    status = MapStatus(state="active", keyframes=1, points=1200, last_query_ms=20.0)
    assert Parsed(html.status_line(status, 0.5)).text == (
        "active1 keyframe1,200 pointsanswered in 20 ms"
    )
    assert Parsed(html.status_line(status, 9.0)).text == "mapper silent for 9 s"
    assert Parsed(html.status_line(None, None)).text == "no mapper"


def test_nothing_to_say_takes_no_room() -> None:
    assert html.note("info") == html.note("info", "") == html.soft("") == ""
    assert html.legend("photo", ["a"]) == html.status_table(None) == ""
