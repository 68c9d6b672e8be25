import numpy as np
import pytest

from training.release.evaluate_shipped import Leads


def test_the_margin_is_the_largest_below_which_fewer_than_half_are_right():
    leads = Leads(
        np.array([0.02, 0.04, 0.06, 0.08, 0.105, 0.205, 0.5, 0.9]),
        np.array([True, False, False, False, True, True, True, True]),
    )
    assert leads.choose_margin() == pytest.approx(0.2)
    assert leads.at_margin(0.2) == {
        "unsure_margin": 0.2,
        "unsure_share": 5 / 8,
        "accuracy_of_sure": 1.0,
        "accuracy_of_unsure": 2 / 5,
    }


def test_answers_that_are_mostly_right_need_no_margin():
    leads = Leads(np.array([0.1, 0.2]), np.array([True, True]))
    assert leads.choose_margin() == 0
    assert leads.at_margin(0.0)["unsure_share"] == 0
