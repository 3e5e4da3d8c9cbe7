"""Tasks in this process and on a real local Ray with two workers."""

import json
import os
import sys
from argparse import ArgumentParser

import pytest
from furnished_room import room_frames, write_scene

from govnesf_model import evaluate
from govnesf_model.cli import main as cli_main
from govnesf_model.cluster import (
    ClusterOptions,
    ResultStore,
    Task,
    TasksFailed,
    key_of,
    run_stored,
    run_tasks,
)


def square(number: int) -> dict[str, int]:
    if number < 0:
        raise ValueError(f"{number} is negative: give a positive number")
    return {"square": number * number, "pid": os.getpid()}


def tasks(*numbers: int) -> list[Task]:
    return [Task(f"number {number}", key_of(number), number) for number in numbers]


def squares(found) -> dict[str, int]:
    return {task.name: result["square"] for task, result in found}


def test_in_this_process_results_come_in_order():
    found = list(run_tasks(square, tasks(3, 1, 2)))
    assert [task.argument for task, _ in found] == [3, 1, 2]
    assert [result["square"] for _, result in found] == [9, 1, 4]
    assert {result["pid"] for _, result in found} == {os.getpid()}
    assert list(run_tasks(square, [])) == []


def test_one_failure_leaves_the_others_their_results():
    found = []
    with pytest.raises(TasksFailed, match=r"1 of 3 scenes failed.*number -1: -1 is negative"):
        found.extend(run_tasks(square, tasks(1, -1, 2)))
    assert squares(found) == {"number 1": 1, "number 2": 4}
    with pytest.raises(ValueError, match=r"^-1 is negative"):  # alone, it fails as itself
        list(run_tasks(square, tasks(-1)))


def test_what_is_stored_is_not_run_again(tmp_path, capsys):
    store = ResultStore(tmp_path / "results")
    with pytest.raises(TasksFailed):
        run_stored(square, tasks(1, -1, 2), store)
    store.write("number 1", key_of(1), {"square": "kept"})
    assert capsys.readouterr().out == ""
    found = run_stored(square, tasks(1, 2, 3), store)
    assert found["number 1"] == {"square": "kept"}
    assert [found[f"number {n}"]["square"] for n in (2, 3)] == [4, 9]
    assert "2 of 3 scenes are done" in capsys.readouterr().out
    changed = [Task("number 1", "another key", 1)]
    assert run_stored(square, changed, store)["number 1"]["square"] == 1


def test_a_store_refuses_what_is_damaged_or_foreign(tmp_path):
    store = ResultStore(tmp_path)
    assert store.read("a", "key") is None
    store.write("a", "key", [1, 2])
    assert store.read("a", "key") == [1, 2]
    assert store.read("a", "other") is None
    store.path("a").write_text("[]")
    assert store.read("a", "key") is None
    store.path("a").write_text('{"key": "key"')
    assert store.read("a", "key") is None
    paths = {store.path(name) for name in ("a/b", "a_b", "a b", "x" * 300)}
    assert len(paths) == 4
    store.write("x" * 300, "key", 1)
    assert store.read("x" * 300, "key") == 1
    assert not list(tmp_path.glob(".*"))  # nothing half written is left


def test_keys_depend_on_everything():
    assert key_of(1, {"a": 2, "b": 3}) == key_of(1, {"b": 3, "a": 2})
    assert len({key_of(1), key_of("1"), key_of([1]), key_of(1, 1)}) == 4


def test_without_ray_its_absence_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"govnesf\[cluster\]"):
        list(run_tasks(square, tasks(1), ClusterOptions(address="auto")))


@pytest.fixture(scope="module")
def local_ray():
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'govnesf[cluster]'")
    return ClusterOptions(address="local", workers=2)


@pytest.mark.slow
def test_two_workers_of_a_local_ray_do_the_same(local_ray, tmp_path):
    import ray

    store = ResultStore(tmp_path)
    with pytest.raises(TasksFailed, match=r"1 of 5 scenes failed.*number -1: -1 is negative"):
        run_stored(square, tasks(1, 2, -1, 3, 4), store, local_ray)
    assert not ray.is_initialized()  # what was started is ended
    kept = {n: store.read(f"number {n}", key_of(n)) for n in (1, 2, 3, 4)}
    assert {n: result["square"] for n, result in kept.items()} == {1: 1, 2: 4, 3: 9, 4: 16}
    assert os.getpid() not in {result["pid"] for result in kept.values()}


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9"])  # the discard port
@pytest.mark.usefixtures("local_ray")
def test_no_ray_at_the_address_is_a_sentence(address):
    with pytest.raises(ConnectionError, match=f"no Ray answers at '{address}'.*ray start --head"):
        list(run_tasks(square, tasks(1), ClusterOptions(address=address)))


@pytest.mark.slow
def test_evaluate_on_ray_gives_the_figures_of_one_process(local_ray, tmp_path):
    scenes = [tmp_path / "one", tmp_path / "two"]
    for number, scene in enumerate(scenes):
        write_scene(scene, room_frames(3 + number, 80, 60), target=(1,))
    reports = []
    for name, extra in (("here", []), ("ray", ["--ray", "local", "--ray-workers", "2"])):
        parser = ArgumentParser()
        evaluate.add_parser(parser.add_subparsers())
        file = tmp_path / f"{name}.json"
        words = ["evaluate", *scenes, "--task", "3d", "--method", "average", "--width", "80"]
        arguments = parser.parse_args(list(map(str, [*words, "--json", file, *extra])))
        where = ClusterOptions.from_arguments(arguments)
        assert where.address == ("local" if extra else "")
        assert arguments.run(arguments) == 0
        reports.append(json.loads(file.read_text()))
    here, there = reports
    assert list(here["scenes"]) == list(there["scenes"]) == ["one", "two"]
    for key in ("miou", "oacc", "macc"):
        assert there["pooled"][key] == pytest.approx(here["pooled"][key], abs=1e-6)
        assert there["mean"][key] == pytest.approx(here["mean"][key], abs=1e-6)


@pytest.mark.slow
def test_extract_on_ray_fills_the_cache_that_one_process_reuses(
    local_ray, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path / "cache"))
    for number in (1, 2):
        write_scene(tmp_path / "scenes" / f"s{number}", room_frames(3 + number, 80, 60))
    words = ["extract", str(tmp_path / "scenes"), "--vlm", "embedded", "--size", "80", "60"]
    assert cli_main([*words, "--ray", "local", "--ray-workers", "2"]) == 0
    assert "9 frames computed, 0 were there" in capsys.readouterr().out
    assert cli_main(words) == 0
    assert "0 frames computed, 9 were there" in capsys.readouterr().out


def test_extract_leaves_out_a_scene_that_cannot_be_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GOVNESF_CACHE", str(tmp_path / "cache"))
    for number in (1, 2):
        write_scene(tmp_path / "scenes" / f"s{number}", room_frames(2, 80, 60))
    pose = next((tmp_path / "scenes" / "s1" / "pose").iterdir())
    pose.write_text("nan " * 16)
    words = ["extract", str(tmp_path / "scenes"), "--vlm", "embedded", "--size", "80", "60"]
    assert cli_main(words) == 1
    out = capsys.readouterr().out
    assert "2 frames computed" in out
    assert "1 of 2 scenes failed, the others are kept" in out
    assert "s1" in out
