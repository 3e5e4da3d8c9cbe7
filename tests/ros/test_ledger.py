from concurrent.futures import ThreadPoolExecutor

import pytest

from govnesf_ros.ledger import FrameLedger


def test_every_image_has_one_outcome() -> None:
    ledger = FrameLedger(warn=lambda message: None)
    tokens = [ledger.receive() for _ in range(5)]
    ledger.use(tokens[0])
    ledger.skip(tokens[1], "static")
    ledger.skip(tokens[2], "static")
    ledger.drop(tokens[3], "no_transform", "why")
    counts = ledger.counts()
    assert (counts.received, counts.used, counts.skipped) == (5, 1, 2)
    assert (counts.dropped, counts.waiting) == (1, 1)
    assert counts.reasons == {"no_transform": 1, "static": 2}
    with pytest.raises(KeyError):
        ledger.use(tokens[0])


def test_the_sum_holds_at_any_moment() -> None:
    ledger = FrameLedger(warn=lambda message: None)

    def work(_: int) -> None:
        token = ledger.receive()
        counts = ledger.counts()
        total = counts.used + counts.skipped + counts.dropped + counts.waiting
        assert counts.received == total
        (ledger.use(token) if token % 3 else ledger.skip(token, "static"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(2000)))
    assert ledger.counts().received == 2000
    assert ledger.counts().waiting == 0


def test_a_reset_forgets_outcomes_and_keeps_what_waits() -> None:
    ledger = FrameLedger(warn=lambda message: None)
    ledger.skip(ledger.receive(), "static")
    waiting = ledger.receive()
    ledger.reset()
    assert (ledger.counts().received, ledger.counts().waiting) == (1, 1)
    ledger.use(waiting)
    assert (ledger.counts().received, ledger.counts().used) == (1, 1)


def test_complaints_are_throttled_by_reason() -> None:
    said, now = [], [0.0]
    ledger = FrameLedger(said.append, steady=lambda: now[0])
    for second in range(11):
        now[0] = float(second)
        ledger.drop(ledger.receive(), "no_transform", f"no transform at {second}")
        ledger.drop(ledger.receive(), "no_depth", f"no depth at {second}")
    assert said == [f"no {what} at {s}" for s in (0, 5, 10) for what in ("transform", "depth")]
    assert ledger.counts().dropped == 22
