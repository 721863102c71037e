"""Checks rows of procedural tasks by their tokens alone: inputs have the form of their task, answers are right.

Each row is split into its examples, and each answer is computed again from the inputs that stand before it, by the
functions of `tasks`; no random bits are drawn. Not covered: whether inputs are those of a candidate, which
`ncagen verify --regenerate` compares.
"""

from collections.abc import Callable, Iterator, Sequence

from ncagen.sources.procedural import tasks
from ncagen.sources.procedural.tasks import POP, TASKS, Ids, Sizes, Task

Parts = Sequence[Ids]


def check(sizes: Sizes, row: Ids) -> tuple[bool, bool]:
    """Returns whether all examples of a row have the form of a task, and whether all of their answers are right.

    row: ids. The last example may be cut. An example that has no form has no wrong answer.
    """
    form, answers = True, True
    for example, whole in _examples(sizes, row):
        task, parts = _parts(sizes, example)
        if task is None or not _has_form(sizes, task, parts, whole):
            form = False
        elif len(parts) > task.separators:
            answers &= _is_answer(task, parts, whole)
    return form, answers


def _examples(sizes: Sizes, row: Ids) -> Iterator[tuple[Ids, bool]]:
    """Yields each example without its end, and whether it is whole."""
    start = 0
    for _ in range(row.count(sizes.end)):
        end = row.index(sizes.end, start)
        yield row[start:end], True
        start = end + 1
    if start < len(row):
        yield row[start:], False


def _parts(sizes: Sizes, example: Ids) -> tuple[Task | None, Parts]:
    """Returns the task of an example, None if it has none, and what stands before, between and after separators."""
    if sizes.marked:
        number = example[0] - sizes.first_marker if example else -1
        example = example[1:]
    else:
        number = sizes.tasks[0]
    return TASKS[number] if number in sizes.tasks else None, _split(example, sizes.separator)


def _split(ids: Ids, separator: int) -> Parts:
    parts, start = [], 0
    for _ in range(ids.count(separator)):
        end = ids.index(separator, start)
        parts.append(ids[start:end])
        start = end + 1
    return [*parts, ids[start:]]


def _has_form(sizes: Sizes, task: Task, parts: Parts, whole: bool) -> bool:
    """Whether the inputs are such as the task draws; of an example that is cut, whether they can become such."""
    if len(parts) > task.separators + 1 or (whole and len(parts) <= task.separators):
        return False
    ended = len(parts) > task.separators
    inputs = parts[: task.separators]
    return FORMS[task.inputs](sizes, inputs, ended)


def _is_answer(task: Task, parts: Parts, whole: bool) -> bool:
    """Whether the last part is the answer to the others, or its beginning where the example is cut."""
    *inputs, given = parts
    answer = task.answer(*inputs)
    return given == (answer if whole else answer[: len(given)])


def _are_within(ids: Ids, least: int, most: int) -> bool:
    return not ids or (min(ids) >= least and max(ids) <= most)


def _is_sequence(sizes: Sizes, inputs: Parts, ended: bool) -> bool:
    least, most = sizes.lengths
    (given,) = inputs
    return (least if ended else 0) <= len(given) <= most and _are_within(given, 1, sizes.alphabet)


def _are_halves(sizes: Sizes, inputs: Parts, ended: bool) -> bool:
    whole = [symbol for part in inputs for symbol in part]
    first, most = len(inputs[0]), sizes.lengths[1]
    if len(inputs) == 1:
        return first <= most // 2 and _are_within(whole, 1, sizes.alphabet)
    second = len(inputs[1])
    halved = first <= second <= first + 1 if ended else second <= first + 1
    return halved and first >= sizes.lengths[0] // 2 and _is_sequence(sizes, [whole], ended)


def _are_input_and_symbol(sizes: Sizes, inputs: Parts, ended: bool) -> bool:
    given, *more = inputs
    if not more:
        return _is_sequence(sizes, [given], False)
    return (
        _is_sequence(sizes, [given], True)
        and (1 if ended else 0) <= len(more[0]) <= 1
        and _are_within(more[0], 1, sizes.alphabet)
    )


def _are_numbers(sizes: Sizes, inputs: Parts, ended: bool) -> bool:
    least, most = sizes.digits
    for i, digits in enumerate(inputs):
        complete = ended or i < len(inputs) - 1
        if not (least if complete else 0) <= len(digits) <= most or not _are_within(digits, 1, 10):
            return False
        if digits and digits[0] == 1:
            return False
    return True


def _are_operations(sizes: Sizes, inputs: Parts, ended: bool) -> bool:
    (given,) = inputs
    if not (sizes.lengths[0] if ended else 0) <= len(given) <= sizes.lengths[1]:
        return False
    held: Ids = []
    for i, operation in enumerate(given):
        must_pop = len(held) > 1 and (len(held) == sizes.alphabet or (ended and i == len(given) - 1))
        if operation == POP and len(held) > 1:
            held.pop()
        elif 1 <= operation <= sizes.alphabet and operation not in held and not must_pop:
            held.append(operation)
        else:
            return False
    return True


Form = Callable[[Sizes, Parts, bool], bool]
FORMS: dict[Callable, Form] = {
    tasks.one_input: _is_sequence,
    tasks.two_inputs: _are_halves,
    tasks.input_and_symbol: _are_input_and_symbol,
    tasks.two_numbers: _are_numbers,
    tasks.operations: _are_operations,
}
