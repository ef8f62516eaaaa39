"""The ether: who hears what, collisions and capture, half duplex, chance, and the law's hour."""

from __future__ import annotations

import pytest
from felinar_air import plan
from felinar_sim.ether import HOUR, SUB_BANDS, Crystal, Ether, EtherError, airtime, sub_band

UP = 868100


def pair(distance: float, *more: float, seed: int = 0, shadow: float = 0.0) -> Ether:
    """A receiver at 0 m, tuned to SF7, and senders at the distances."""
    ether = Ether(seed, shadow_db=shadow)
    ether.station(0, 0)
    for metres in (distance, *more):
        ether.station(metres, 0)
    ether.tune(0, UP, 7, 0)
    return ether


def heard(ether: Ether, *sent: tuple[int, int, int]) -> list[int]:
    """The sources of what station 0 heard of (source, begin, sf) frames of 30 bytes."""
    frames = []
    moments = [(begin, 1, source, sf) for source, begin, sf in sent]
    out = []
    while moments or frames:
        frames.sort(key=lambda frame: frame.end)
        moments.sort()
        if moments and (not frames or moments[0][0] < frames[0].end):
            begin, _, source, sf = moments.pop(0)
            frames.append(ether.begin(source, begin, UP, sf, 14, b"", 30))
        else:
            frame = frames.pop(0)
            if 0 in ether.end(frame).stations:
                out.append(frame.source)
    return out


def test_distance_and_spreading_factor_decide_who_is_heard() -> None:
    # 14 dBm - (128.95 + 23.2 log10 km) + 117 dBm: -7.5 dB at 2.57 km, 5 dB less at 4.2 km.
    assert heard(pair(2500), (1, 0, 7)) == [1]
    assert heard(pair(2650), (1, 0, 7)) == []
    far = pair(4100)
    far.tune(0, UP, 9, 0)
    assert heard(far, (1, 0, 9)) == [1]
    assert heard(pair(1000), (1, 0, 9)) == [], "tuned to another spreading factor"
    assert pair(1000).snr(1, 0, 14) == pytest.approx(2.05)


def test_of_two_at_once_the_stronger_by_six_decibels_is_heard() -> None:
    assert heard(pair(1000, 1000), (1, 0, 7), (2, 500, 7)) == []
    # 23.2 dB a decade: 6 dB are a factor of 1.81.
    assert heard(pair(1000, 1850), (1, 0, 7), (2, 500, 7)) == [1]
    assert heard(pair(1000, 1750), (1, 0, 7), (2, 500, 7)) == []
    assert heard(pair(1850, 1000), (1, 0, 7), (2, 500, 7)) == [2], "within the preamble the stronger one takes over"
    assert heard(pair(1850, 1000), (1, 0, 7), (2, 40_000, 7)) == [], "later it spoils the other and is not noticed"
    assert heard(pair(1000, 1000), (1, 0, 7), (2, 0, 9)) == [1], "another spreading factor is noise"
    assert heard(pair(1000, 100), (1, 0, 7), (2, 0, 9)) == [], "unless it is 16 dB stronger"


def test_the_last_symbols_of_one_frame_may_meet_the_first_of_the_next() -> None:
    length = 71_936  # us of 30 bytes at SF7
    assert heard(pair(1000, 1000), (1, 0, 7), (2, length - 2_000, 7)) == [2]
    assert heard(pair(1000, 1000), (1, 0, 7), (2, length, 7)) == [1, 2]


def test_who_sends_is_deaf_and_who_comes_late_hears_nothing() -> None:
    ether = pair(500)
    first = ether.begin(0, 0, 868300, 7, 14, b"", 30)
    second = ether.begin(1, 10, UP, 7, 14, b"", 30)
    with pytest.raises(EtherError, match="sends while"):
        ether.begin(1, 20, UP, 7, 14, b"", 30)
    ether.end(first)
    ether.tune(0, UP, 7, first.end)
    assert list(ether.end(second).stations) == []
    late = ether.begin(1, 200_000, UP, 7, 14, b"", 30)
    ether.tune(0, UP, 7, 203_000)
    assert list(ether.end(late).stations) == [0], "five symbols of the preamble are enough"


def test_what_a_radio_notices() -> None:
    ether = pair(500)
    frame = ether.begin(1, 0, UP, 7, 14, b"", 30)
    assert not ether.receiving(0, 4_000)
    assert ether.receiving(0, 6_000)
    assert ether.active(0, UP, 7, 3_000)
    assert not ether.active(0, UP, 9, 3_000)
    assert not ether.active(1, UP, 7, 3_000), "its own frame"
    ether.end(frame)
    assert not ether.receiving(0, 80_000)


def test_loss_is_as_asked_and_the_same_for_a_seed() -> None:
    def run(seed: int) -> tuple[int, str]:
        ether = pair(500, seed=seed, shadow=7.8)
        count = 0
        for i in range(1000):
            frame = ether.begin(1, i * 100_000_000, UP, 7, 14, b"x", 30, 0.2)
            count += len(ether.end(frame).stations)
        return count, ether.digest

    got, digest = run(1)
    assert 760 < got < 840
    assert run(1) == (got, digest)
    assert run(2)[1] != digest


def test_the_hour_that_slides_is_kept_to() -> None:
    ether = pair(500)
    # 71.936 ms: 500 of them are 35.968 s, one more is beyond 1 % of an hour.
    for i in range(500):
        ether.end(ether.begin(1, i * 1_000_000, UP, 7, 14, b"", 30))
    assert ether.peak[1] == pytest.approx(35.968 / 36)
    with pytest.raises(EtherError, match="on the air"):
        ether.begin(1, 500_000_000, UP, 7, 14, b"", 30)
    ether = pair(500)
    for i in range(500):
        ether.end(ether.begin(1, i * 1_000_000, UP, 7, 14, b"", 30))
    # The first ones have left the hour; on another sub-band there is room at any time.
    ether.end(ether.begin(1, HOUR + 1_000_000, UP, 7, 14, b"", 30))
    ether.end(ether.begin(1, HOUR + 1_200_000, 869525, 7, 14, b"", 30))
    with pytest.raises(EtherError, match="frequency"):
        ether.begin(1, HOUR + 2_000_000, 868650, 7, 14, b"", 30)
    assert ether.peak[1] == max(ether.peaks.values())
    assert {place for _, place in ether.peaks} == {2, 4}, "each sub-band has its own account"


def test_the_law_of_the_ether_is_its_own_and_agrees_with_the_protocols() -> None:
    assert [(low, high, share / 1000) for low, high, share, _ in plan.BANDS] == list(SUB_BANDS)
    for khz in range(862_900, 870_200, 10):
        try:
            place = plan.band(khz)
        except ValueError:
            with pytest.raises(EtherError):
                sub_band(khz)
        else:
            assert sub_band(khz) == place
    assert all(airtime(size, sf) == plan.airtime(sf, size) for sf in range(7, 13) for size in range(256))


def test_a_crystal_shows_its_own_time() -> None:
    crystal = Crystal(20_000, 5_000_000)
    assert crystal.local(1_000_000_000) == 1_005_020_000
    for local in (5_000_001, 1_005_020_000, 7_777_777_777):
        when = crystal.when(local)
        assert crystal.local(when) >= local > crystal.local(when - 1)
