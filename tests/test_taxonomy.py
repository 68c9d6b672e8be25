import pytest

from dfer_hf.models import configuration_dfer
from dfer_hf.taxonomy import SENTIMENT_GROUPS, SEVEN_EMOTIONS, Emotion, Sentiment, coarsen


def test_the_configuration_spells_the_labels_as_the_taxonomy_does():
    spelled = {str(group): tuple(map(str, labels)) for group, labels in SENTIMENT_GROUPS.items()}
    assert tuple(map(str, SEVEN_EMOTIONS)) == configuration_dfer.SEVEN_LABELS
    assert list(spelled.items()) == list(configuration_dfer.SENTIMENTS.items())


def test_every_emotion_of_the_seven_is_in_one_group():
    members = [emotion for group in SENTIMENT_GROUPS.values() for emotion in group]
    assert sorted(members) == sorted(SEVEN_EMOTIONS)
    assert set(SENTIMENT_GROUPS) == set(Sentiment)


def test_names_print_as_plain_words():
    assert f"{Emotion.ANGER}" == str(Emotion.ANGER) == "anger"
    assert f"{Sentiment.POSITIVE}" == "positive"


def test_coarsen_sums_the_members_in_the_order_of_the_groups():
    fine = dict(zip(map(str, SEVEN_EMOTIONS), (0.1, 0.2, 0.3, 0.05, 0.15, 0.08, 0.12), strict=True))
    coarse = coarsen(fine, SENTIMENT_GROUPS)
    assert list(coarse) == ["positive", "neutral", "negative"]
    assert coarse == pytest.approx({"positive": 0.25, "neutral": 0.3, "negative": 0.45})


def test_coarsen_takes_names_and_members_of_the_enumeration_alike():
    by_member = dict.fromkeys(SEVEN_EMOTIONS, 1 / 7)
    by_name = dict.fromkeys(map(str, SEVEN_EMOTIONS), 1 / 7)
    assert coarsen(by_member, SENTIMENT_GROUPS) == coarsen(by_name, SENTIMENT_GROUPS)


@pytest.mark.parametrize(
    "groups", [{"good": ["happiness"]}, {"good": ["happiness", "fear"], "bad": ["fear"]}], ids=["in none", "in two"]
)
def test_coarsen_refuses_a_class_that_is_not_in_exactly_one_group(groups):
    with pytest.raises(ValueError, match="fear"):
        coarsen({"happiness": 0.5, "fear": 0.5}, groups)
