"""The report page: one file, nothing from outside, every figure of the record on it."""

from html.parser import HTMLParser

import pytest

from govnesf_model.map_recording import MEANINGS
from govnesf_model.map_report_page import REASON_COLORS, Pictures, page

VOID = {"meta", "img", "br", "rect", "image", "path", "polyline", "polygon"}
PIXEL = "data:image/jpeg;base64,/9j/AAAA"


def record(**changes):
    return {
        "format": 1,
        "made": "2026-01-02T03:04:05+00:00",
        "command": "govnesf map 'drive <1>' --text mug",
        "scene": {
            "name": "drive <1>",
            "source": "ROS 2 bag",
            "width": 640,
            "height": 480,
            "depth": True,
            "recorded_seconds": 90.0,
            "notes": ["poses: optical in map & more"],
        },
        "units": "metres",
        "min_score": 0.5,
        "texts": [
            {
                "text": 'mug "red" <b>',
                "label": 1,
                "best": 0.83,
                "instances": [
                    {
                        "center": [1.234, -2.0, 0.5],
                        "size": [0.1, 0.11, 0.12],
                        "yaw": 1.5707963,
                        "score": 0.77,
                        "points": 42,
                        "seen_in": "000017",
                        "keyframes": 9,
                    }
                ],
            },
            {"text": "telescope", "label": 2, "best": 0.2, "instances": []},
        ],
        "warnings": ["'telescope' is a <guess>"],
        "images": {
            "count": 4,
            "reasons": {"accepted": 2, "blurred": 1, "unreadable": 1},
            "problems": ["image 3: <broken>"],
            "outcomes": [
                ["0", 0.0, "accepted"],
                ["1", 1.0, "accepted"],
                ["2", 2.0, "blurred"],
                ["3", 3.0, "unreadable"],
            ],
        },
        "map": {"points": 12345, "keyframes": [], "evicted": 3},
        "seconds": {
            "load": 1.0,
            "map": 45.0,
            "speed": 2.0,
            "stages": {
                "encode": {"count": 2, "total_s": 30.0, "median_ms": 15000.0, "p95_ms": 1e4},
                "new stage": {"count": 2, "total_s": 1.0, "median_ms": 500.0, "p95_ms": 600.0},
            },
        },
        "memory_mib": {"map": 100.0, "bound": 2048.0, "process_peak": 900.0},
        "settings": {"voxel_size": 0.03, "use_depth": True, "related_views": 16},
        "versions": {"torch": "2.13"},
        **changes,
    }


class Reader(HTMLParser):
    """Collects tags and text, and demands that every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_is_well_formed_and_tells_everything():
    read = Reader(page(record(), Pictures({0: (PIXEL, "000017")}, "<svg></svg>", "<svg></svg>")))
    for words in (
        "drive <1>",
        'mug "red" <b>',
        "1 of 2",
        "2.00 ×",
        "1 min 30 s",
        "12 345",
        "1.23, -2.00, 0.50",
        "90°",
        "000017",
        "less sharp than usual",
        "image 3: <broken>",
        "'telescope' is a <guess>",
        "3 keyframes were given up",
        "open-vocabulary encoder",
        "new stage",
        "100 of 2048 MiB",
        "Without a picture: telescope.",
    ):
        assert words in read.text, words


def test_the_page_needs_nothing_from_outside_and_runs_nothing():
    text = page(record(), Pictures({0: (PIXEL, "000017")}))
    read = Reader(text)
    kinds = {tag for tag, _ in read.tags}
    assert not kinds & {"script", "link", "iframe", "object", "b>"}
    for _, attributes in read.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
        assert not any(name.startswith("on") for name in attributes)
    assert "default-src 'none'" in text
    assert "url(" not in text
    assert "@import" not in text


def test_texts_cannot_become_markup():
    evil = '"><script>alert(1)</script>'
    content = record(command=evil)
    content["scene"].update(name=evil, source=evil, notes=[evil])
    content["texts"][0].update(text=evil)
    content["texts"][0]["instances"][0]["seen_in"] = evil
    content["images"]["problems"] = content["warnings"] = [evil]
    content["settings"] = content["versions"] = {evil: evil}
    read = Reader(page(content, Pictures({0: (PIXEL, evil), 1: (PIXEL, evil)})))
    assert "script" not in {tag for tag, _ in read.tags}
    assert read.text.count("<script>") >= 10


def test_a_text_that_was_not_found_says_how_near_it_came():
    read = Reader(page(record(), Pictures({1: (PIXEL, "7")})))
    assert "not found" in read.text
    assert "Nothing above 0.50; the best is 0.20" in read.text
    content = record()
    content["texts"][1]["best"] = 0.9
    assert (
        "Only scattered points above 0.50"
        in Reader(page(content, Pictures({1: (PIXEL, "7")}))).text
    )


def test_without_times_boxes_and_problems_the_page_still_stands():
    content = record(warnings=[], command="")
    content["seconds"]["speed"] = content["scene"]["recorded_seconds"] = None
    content["texts"] = content["texts"][1:]
    content["images"]["problems"] = []
    text = Reader(page(content, Pictures())).text
    assert "None of the texts was found." in text
    assert "per image" in text
    assert "real time" not in text


def test_the_strip_shows_each_image_in_order():
    read = Reader(page(record(), Pictures()))
    bars = [a for tag, a in read.tags if tag == "rect"]
    assert [(a["x"], a["width"]) for a in bars] == [("0", "2"), ("2", "1"), ("3", "1")]
    assert bars[1]["fill"] == REASON_COLORS["blurred"]
    assert set(REASON_COLORS) == set(MEANINGS)


@pytest.mark.parametrize(("seconds", "shown"), [(6.0, "6.0 s"), (7260.0, "2 h 1 min")])
def test_lengths_are_told_as_people_do(seconds, shown):
    content = record()
    content["scene"]["recorded_seconds"] = seconds
    assert shown in Reader(page(content, Pictures())).text
