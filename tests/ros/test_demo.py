"""The demo's judgement, against truths worked out by hand; test_bringup launches the rest."""

import pytest

from govnesf_model.resources import resource_dir
from govnesf_ros.demo import ABSENT, QUESTIONS, Answer, format_table, judge, true_objects

BOX = {"center": [1.0, 2.0, 0.5], "size": [1.0, 0.4, 1.0]}


def found_at(x: float, y: float, z: float, text: str = "cabinet") -> Answer:
    return Answer(text, True, (x, y, z), (0.5, 0.4, 1.0), 0.8, 12.0, f"{text}: 1 found")


NOT_FOUND = Answer("cabinet", False, None, None, 0.0, 9.0, "cabinet: nothing above 0.50")


@pytest.mark.parametrize(
    ("answer", "truth", "problem"),
    [
        (found_at(1.0, 2.0, 0.5), [BOX], ""),
        (found_at(1.5, 2.0, 0.9), [BOX], ""),  # on the box's edge: a part that the camera saw
        (found_at(1.7, 2.0, 0.5), [BOX], "was found 0.20 m outside the true box"),
        (found_at(4.0, 2.0, 0.5), [BOX, {**BOX, "center": [4.0, 2.0, 0.5]}], ""),
        (found_at(1.0, 2.0, 0.5), [], "is not in the room but was found"),
        (NOT_FOUND, [BOX], "is in the room but was not found"),
        (NOT_FOUND, [], ""),
    ],
)
def test_an_answer_is_right_only_where_the_thing_is(answer, truth, problem):
    assert problem in judge(answer, truth)
    assert bool(problem) == bool(judge(answer, truth))


def test_every_question_of_the_demo_has_a_truth_and_the_absent_one_has_none():
    room = resource_dir("assets") / "demo_room"
    for text in QUESTIONS:
        assert true_objects(room, text), f"nothing in the demo room is called '{text}'"
    assert true_objects(room, ABSENT) == []


def test_the_table_shows_what_was_found_and_what_not():
    lines = format_table([found_at(1.0, 2.0, 0.5), NOT_FOUND]).splitlines()
    assert lines[1].split()[:2] == ["cabinet", "yes"]
    assert "(1.00, 2.00, 0.50)" in lines[1]
    assert lines[2].split() == ["cabinet", "no", "-", "-", "-", "9"]
