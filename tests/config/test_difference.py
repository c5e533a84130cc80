"""One difference of two configs, for all who ask."""

from saddlepoint.config.training_keys import NOTHING, difference


def test_keys_are_dotted_lists_are_leaves_and_what_is_missing_is_nothing():
    old = {"a": {"b": 1, "c": [1, 2]}, "gone": "x"}
    new = {"a": {"b": 1, "c": [1, 3]}, "come": {"d": None}}
    assert difference(old, new) == {
        "a.c": ([1, 2], [1, 3]), "come.d": (NOTHING, None), "gone": ("x", NOTHING),
    }  # fmt: skip
    assert difference(old, old) == difference({}, {}) == {}
    assert difference({}, {"a": {}}) == {"a": (NOTHING, {})}


def test_true_is_no_number_and_the_word_nothing_is_a_value():
    assert difference({"a": 1, "b": 1, "c": "nothing"}, {"a": True, "b": 1.0}) == {
        "a": (1, True), "b": (1, 1.0), "c": ("nothing", NOTHING),
    }  # fmt: skip


def test_what_is_at_or_below_an_ignored_key_is_left_out():
    old, new = {"a": {"b": 1}, "ab": 1, "c": 1}, {"a": {"b": 2}, "ab": 2, "c": 2}
    assert list(difference(old, new, ("a", "c"))) == ["ab"]
