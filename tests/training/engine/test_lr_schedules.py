import itertools
import math

import pytest

from training.config import Schedule
from training.engine.lr_schedules import learning_rate_factor


def factors(schedule, *, num_epochs=10, steps_per_epoch=20):
    total = num_epochs * steps_per_epoch
    return [
        learning_rate_factor(schedule, step, num_epochs=num_epochs, steps_per_epoch=steps_per_epoch)
        for step in range(total + 1)
    ]


def test_cosine_warms_up_and_falls_to_its_floor():
    seen = factors(Schedule(kind="cosine", warmup_share=0.1, floor=0.01))
    assert seen[0] == pytest.approx(1 / 20)
    assert seen[9] == pytest.approx(0.5)
    assert seen[19] == seen[20] == 1.0
    assert seen[110] == pytest.approx(0.505)
    assert seen[200] == pytest.approx(0.01)
    assert all(later < earlier for earlier, later in itertools.pairwise(seen[20:]))


def test_warm_up_may_be_given_in_epochs():
    assert factors(Schedule(warmup_epochs=1.0)) == factors(Schedule(warmup_share=0.1))
    with pytest.raises(ValueError, match="Expected `warmup_share` or `warmup_epochs`, got both"):
        factors(Schedule(warmup_epochs=1.0, warmup_share=0.1))


def test_m3dfels_rate_is_timms():
    """TFace 171ec14: timm 0.6's CosineLRScheduler, whose `step_update` the code calls after each optimiser step."""
    peak, low, warmup, total = 5e-4, 5e-6, 40, 600
    schedule = Schedule(warmup_epochs=2.0, floor=0.01, warmup_start=0.0, cosine_counts_warmup=True, delay=1)
    seen = factors(schedule, num_epochs=30)

    def of_timm(update):
        if update < warmup:
            return update * peak / warmup
        return low + 0.5 * (peak - low) * (1 + math.cos(math.pi * update / total))

    expected = [0.0, *(of_timm(update) for update in range(total))]
    assert [peak * factor for factor in seen] == pytest.approx(expected)


def test_cfc_sps_rate_is_mmcvs():
    """ABAW3 51ab58a: mmcv's CosineAnnealing with a linear warm-up from a tenth."""
    seen = factors(Schedule(warmup_share=0.01, warmup_start=0.1, cosine_counts_warmup=True), steps_per_epoch=1000)

    def of_mmcv(step):
        cosine = 0.5 * (1 + math.cos(math.pi * step / 10_000))
        return cosine * (1 - max(0, 1 - step / 100) * 0.9)

    assert seen == pytest.approx([of_mmcv(step) for step in range(10_001)], abs=3e-4)


def test_a_run_without_warm_up_starts_at_its_peak():
    assert factors(Schedule())[0] == 1.0


def test_steps_fall_at_their_milestones():
    seen = factors(Schedule(kind="step", milestones=(4, 6), decay=0.1))
    by_epoch = [seen[epoch * 20] for epoch in range(10)]
    assert by_epoch == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01])
    assert seen[79] == 1.0
    assert seen[80] == pytest.approx(0.1)


def test_exponential_falls_every_epoch():
    seen = factors(Schedule(kind="exponential", decay=0.9))
    assert [seen[epoch * 20 + 19] for epoch in range(3)] == pytest.approx([1, 0.9, 0.81])


def test_constant_stays():
    assert set(factors(Schedule(kind="constant"))) == {1.0}


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="one of cosine, step, exponential, constant, got 'linear'"):
        factors(Schedule(kind="linear"))
