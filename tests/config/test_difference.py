"""Differences of nested mappings."""

from saddlepoint.config.training_keys import NO_VALUE, nested_difference


def test_keys_are_dotted_lists_are_values_and_missing_keys_have_no_value():
    old = {"a": {"b": 1, "c": [1, 2]}, "gone": "x"}
    new = {"a": {"b": 1, "c": [1, 3]}, "come": {"d": None}}
    assert nested_difference(old, new) == {
        "a.c": ([1, 2], [1, 3]), "come.d": (NO_VALUE, None), "gone": ("x", NO_VALUE),
    }  # fmt: skip
    assert nested_difference(old, old) == nested_difference({}, {}) == {}
    assert nested_difference({}, {"a": {}}) == {"a": (NO_VALUE, {})}


def test_true_is_not_1_and_the_text_nothing_is_a_value():
    assert nested_difference({"a": 1, "b": 1, "c": "nothing"}, {"a": True, "b": 1.0}) == {
        "a": (1, True), "b": (1, 1.0), "c": ("nothing", NO_VALUE),
    }  # fmt: skip


def test_keys_at_or_below_an_ignored_key_are_left_out():
    old, new = {"a": {"b": 1}, "ab": 1, "c": 1}, {"a": {"b": 2}, "ab": 2, "c": 2}
    assert list(nested_difference(old, new, ("a", "c"))) == ["ab"]
