import re

from fedcore import errors


def test_tree_in_the_docstring_is_the_family_with_its_exit_codes() -> None:
    named = re.findall(r"(\w+) +exit (\d+)", errors.__doc__ or "")
    assert named
    for name, code in named:
        assert getattr(errors, name).exit_code == int(code)


def test_every_error_is_drawn_in_the_tree() -> None:
    for name in errors.__all__:
        assert re.search(rf"\b{name}\b", errors.__doc__ or ""), name


def test_message_is_one_line_with_all_four_parts() -> None:
    text = str(errors.ConfigError("a", expected="b", got="c", do="d"))
    assert text == "a; expected b; got c; d"
