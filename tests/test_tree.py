import numpy as np

from rella_cpp.engine.segments import Prompt
from rella_cpp.engine.tree import Node, common_lead, leaves, tree


def prompts_of(*texts: str) -> list[Prompt]:
    """`ab|c` is a prompt of two segments and three positions."""
    return [Prompt(tuple(np.array([ord(c) for c in part], np.int32) for part in text.split("|"))) for text in texts]


def drawn(node: Node, text: list[str]) -> list[object]:
    """A node as its letters and what stands beneath it."""
    return [text[node.below[0]][node.start : node.end], node.below, *(drawn(child, text) for child in node.children)]


def test_prompts_that_begin_alike_share_nodes() -> None:
    # The example in the module's docstring.
    texts = ["abcdX", "abcdY", "abeZ"]
    root = tree(prompts_of(*texts), [1, 1, 1], whole=False)
    assert drawn(root, texts) == ["ab", (0, 1, 2), ["cd", (0, 1), ["X", (0,)], ["Y", (1,)]], ["eZ", (2,)]]
    assert (root.total, root.leaves) == (8, 3) and [leaf.below for leaf in leaves(root)] == [(0,), (1,), (2,)]


def test_a_prompt_that_ends_where_others_go_on_has_a_leaf_of_no_positions() -> None:
    root = tree(prompts_of("ab", "abc"), [1, 1], whole=False)
    assert [(leaf.start, leaf.end, leaf.below) for leaf in leaves(root)] == [(2, 2, (0,)), (2, 3, (1,))]


def test_whole_segments_are_shared_whole_or_not_at_all() -> None:
    root = tree(prompts_of("ab|cd|X", "ab|ce|X"), [1, 1], whole=True)
    assert drawn(root, ["abcdX", "abceX"]) == ["ab", (0, 1), ["cdX", (0,)], ["ceX", (1,)]]


def test_last_segments_are_shared_only_where_as_many_outputs_are_wanted() -> None:
    same, other = (tree(prompts_of("ab|cd", "ab|cd"), counts, whole=True) for counts in ([1, 1], [1, 2]))
    assert (same.leaves, same.total) == (1, 4) and (other.leaves, other.total) == (2, 6)


def test_the_common_lead_is_of_whole_segments_and_never_a_last_one() -> None:
    assert common_lead(prompts_of("ab|c|X", "ab|c|Y", "ab|d|Z")) == 2
    assert common_lead(prompts_of("ab|c", "ab|c")) == 2 and common_lead(prompts_of("ab", "ab|c")) == 0
