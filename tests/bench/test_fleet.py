"""The simulated fleet: nothing is lost, nothing is answered without its adapter, and its queues and
caches are those of the theory where there is one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def fleet() -> Any:
    """The script's module; as scripts they find each other beside themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        import fleet

        yield fleet


@pytest.fixture
def times(fleet: Any) -> Any:
    return fleet.Times(0.02, 0.005, 0.02, 0.3, 0.01, 0.4, (1.0, 1.2, *[1.3] * 6))


def test_every_request_is_answered_once_by_who_has_its_adapter(
    fleet: Any, times: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fleet_model

    take, taken = fleet_model.Engine.take, []

    def checked(engine: Any, work: Any) -> None:
        assert work.arrival.adapter in engine.adapters
        assert len(engine.adapters) <= 8
        taken.append(work)
        take(engine, work)

    monkeypatch.setattr(fleet_model.Engine, "take", checked)
    shares = fleet.tenant_shares(60, 1.0)
    load = fleet.draw_load(shares, 3.0, 600, 0, fleet.Bursts(every_s=100))
    for policy in fleet.POLICIES:
        homes = fleet.home_counts(shares, 6)
        planned = fleet.Fleet(6, 8, policy, lost=(200, 400), homes=homes)
        outcomes = fleet.simulate(load, planned, times)
        answered = [one.arrival for one in outcomes if one.seconds is not None]
        assert sorted(map(hash, (one.arrival for one in outcomes))) == sorted(map(hash, load))
        assert len(answered) > 0.9 * len(load)
        for one in outcomes:
            alone = times.request + one.arrival.prompt * times.prompt
            alone += one.arrival.answer * times.token
            assert one.seconds is None or one.seconds > alone / max(times.speed)
            away = one.replica == 0 and one.seconds is not None
            assert not (away and 200 < one.arrival.at + one.seconds <= 400)
    assert taken


def test_requests_of_one_adapter_share_the_core(fleet: Any, times: Any) -> None:
    """M/G/1 with processor sharing: the mean time is the work over the share that is free."""
    import dataclasses

    alike = dataclasses.replace(times, speed=(1.0,) * 8)
    load = [
        dataclasses.replace(one, tenant=0, adapter=0)
        for one in fleet.draw_load(fleet.tenant_shares(1, 1.0), 0.5, 40_000, 0)
    ]
    works = [alike.request + o.prompt * alike.prompt + o.answer * alike.token for o in load]
    work = sum(works) / len(works)
    planned = fleet.Fleet(1, 4, "random", before=[[0]])
    found = fleet.summary(fleet.simulate(load, planned, alike))
    assert found.mean == pytest.approx(work / (1 - 0.5 * work), rel=0.05)


def test_misses_are_those_of_ches_approximation(fleet: Any, times: Any) -> None:
    tenants = fleet.tenant_shares(40, 1.0)
    shares = fleet.adapter_shares(tenants)
    assert fleet.lru_misses(shares, 20, 200_000, 0) == pytest.approx(
        fleet.che_misses(shares, 20), rel=0.02
    )
    load = fleet.draw_load(tenants, 0.01, 3_000_000, 0)  # hardly ever two at the same time
    planned = fleet.Fleet(1, 20, "random", before=[list(range(200))])
    tiers = [one.tier for one in fleet.simulate(load, planned, times)]
    assert set(tiers) == {"memory", "disk"}
    missed = tiers.count("disk") / len(tiers)
    assert missed == pytest.approx(fleet.che_misses(shares, 20), rel=0.03)


def test_a_lost_replica_moves_its_own_tenants_alone(fleet: Any) -> None:
    planned = fleet.Fleet(8, 4, "affinity")
    router = fleet.Router(planned, 0)
    for tenant in range(200):
        usual = router.choose(tenant, [0] * 8, range(8))
        assert router.choose(tenant, [5] * 8, range(1, 8)) == usual or usual == 0


@pytest.mark.parametrize("policy", ["bounded", "copies"])
def test_a_replica_that_is_full_gets_no_more(fleet: Any, policy: str) -> None:
    planned = fleet.Fleet(4, 4, policy, homes=[2])
    router = fleet.Router(planned, 0)
    under_way = [0] * 4
    for number in range(400):
        chosen = router.choose(0, under_way, range(4))
        under_way[chosen] += 1
        assert under_way[chosen] <= math.ceil(1.25 * (number + 1) / 4)


def test_the_hottest_are_shared_by_as_many_replicas_as_they_need(fleet: Any) -> None:
    shares = fleet.np.array([0.4, 0.1, *[0.05] * 10])
    homes = fleet.home_counts(shares, 4)
    assert homes == [4, 2]  # of 1.6 and 0.4 of a replica's load, a quarter in each, of at most 4
    router = fleet.Router(fleet.Fleet(4, 4, "copies", homes=homes), 0)
    for tenant, count in ((1, 2), (7, 1)):
        first, second = router.order(tenant)[:2]
        under_way = [20] * 4
        under_way[second] -= 1
        chosen = router.choose(tenant, under_way, range(4))
        assert chosen == (second if count == 2 else first)
        assert len(router.usual(tenant)) == count
