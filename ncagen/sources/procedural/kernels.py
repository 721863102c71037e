"""The kernels of the procedural tasks, compiled by numba: the rows that `tasks` defines.

They allocate nothing and check nothing: `source` makes the arrays. The input of an example is line[start : at];
a function that writes an answer gets these two, writes from `at` + 1 on, and returns the end of the answer.

    line    uint16[token], a row and up to one more example
    words   uint16[word], the words of one example
    table   uint16[alphabet + 2], by symbol and for the separator; 0 between examples
"""

import numpy as np

from ncagen.kernels import inlined, kernel
from ncagen.philox_kernels import philox_block
from ncagen.sources.procedural import tasks

_COPY, _REVERSE, _SORT, _, _UNION, _DELETE, _STACK, _ADDITION = range(len(tasks.TASKS))
_TASK, _LENGTH, _SECOND, _SYMBOLS = tasks.TASK, tasks.LENGTH, tasks.SECOND, tasks.SYMBOLS
_PUSH_EARLY, _PUSH_LATE, _POP = tasks.PUSH_EARLY, tasks.PUSH_LATE, tasks.POP
_ONE, _TWO, _FOUR, _SIXTEEN, _32 = (np.uint64(i) for i in (1, 2, 4, 16, 32))


@inlined
def _word(words, i):
    """Returns word i of 32 bits."""
    i = np.uint64(i) * _TWO
    return np.uint64(words[i]) | np.uint64(words[i + _ONE]) << _SIXTEEN


@inlined
def _below(words, i, n):
    """Returns a number below n, drawn from word i."""
    return _word(words, i) * np.uint64(n) >> _32


@kernel
def _draw(key, number, example, first, count, words):
    """Draws `count` words of an example from word `first` on, a multiple of 4."""
    for block in range(np.uint64(first) // _FOUR, (np.uint64(first) + np.uint64(count) + _FOUR - _ONE) // _FOUR):
        philox_block(key[0], key[1], example, number, block, words, block << np.uint64(3))


@kernel
def _symbols(words, alphabet, line, at, first, count):
    """Writes symbols `first` to `first` + `count` - 1 of an example."""
    for i in range(np.uint64(count)):
        line[np.uint64(at) + i] = _ONE + _below(words, np.uint64(_SYMBOLS + first) + i, alphabet)


@kernel
def _copy(line, start, at):
    for i in range(np.uint64(at - start)):
        line[np.uint64(at) + _ONE + i] = line[np.uint64(start) + i]
    return at + 1 + at - start


@kernel
def _reverse(line, start, at):
    for i in range(np.uint64(at - start)):
        line[np.uint64(at) + _ONE + i] = line[np.uint64(at) - _ONE - i]
    return at + 1 + at - start


@kernel
def _sort(line, start, at, table):
    """Counts the symbols, adds the counts up to places, and writes each symbol to its place."""
    for i in range(np.uint64(start), np.uint64(at)):
        table[line[i]] += 1
    place = 0
    for symbol in range(len(table)):
        count = table[symbol]
        table[symbol] = place
        place += count
    for i in range(np.uint64(start), np.uint64(at)):
        symbol = line[i]
        line[np.uint64(at) + _ONE + np.uint64(table[symbol])] = symbol
        table[symbol] += 1
    for symbol in range(len(table)):
        table[symbol] = 0
    return at + 1 + at - start


@kernel
def _distinct(line, start, at, separator, table):
    """Writes each symbol once, of both inputs if there is a separator between them; it branches on no symbol."""
    to = np.uint64(at) + _ONE
    table[separator] = 1
    for i in range(np.uint64(start), np.uint64(at)):
        symbol = line[i]
        line[to] = symbol
        to += _ONE - np.uint64(table[symbol])
        table[symbol] = 1
    table[separator] = 0
    for i in range(np.uint64(start), np.uint64(at)):
        table[line[i]] = 0
    return np.int64(to)


@kernel
def _delete(line, start, at):
    """Writes the input without a symbol. line[at - 1] is that symbol, line[at - 2] the separator before it."""
    to, removed, found = at + 1, line[at - 1], False
    for i in range(start, at - 2):
        if line[i] == removed and not found:
            found = True
        else:
            line[to] = line[i]
            to += 1
    return to


@kernel
def _operations(words, count, line, start, table):
    """Writes operations, and returns the last depth. table: the symbols on the stack, then the free ones."""
    alphabet, depth = len(table) - 2, 0
    for symbol in range(alphabet):
        table[symbol] = symbol + 1
    for i in range(count):
        limit = _PUSH_EARLY if i < count * 2 // 3 else _PUSH_LATE
        push = _word(words, _SYMBOLS + 2 * i) < np.uint64(limit) and depth < alphabet and i < count - 1
        if depth < 2 or push:
            other = depth + np.int64(_below(words, _SYMBOLS + 2 * i + 1, alphabet - depth))
            symbol = table[other]
            table[other] = table[depth]
            table[depth] = symbol
            line[start + i] = symbol
            depth += 1
        else:
            line[start + i] = _POP
            depth -= 1
    return depth


@kernel
def _stack(line, at, depth, table):
    """Writes what is on the stack, and clears the table."""
    for i in range(depth):
        line[at + 1 + i] = table[depth - 1 - i]
    for symbol in range(len(table)):
        table[symbol] = 0
    return at + 1 + depth


@kernel
def _addition(line, start, between, at):
    """Writes the sum of the numbers line[start : between] and line[between + 1 : at]. Digit d is symbol d + 1."""
    first, second = between - start, at - between - 1
    most = max(first, second)
    carry = np.int64(0)
    for i in range(most):
        digit = carry
        if i < first:
            digit += np.int64(line[between - 1 - i]) - 1
        if i < second:
            digit += np.int64(line[at - 1 - i]) - 1
        carry = np.int64(digit > 9)
        line[at + 1 + most - i] = digit - 10 * carry + 1
    if carry:
        line[at + 1] = 2
        return at + 2 + most
    for i in range(most):
        line[at + 1 + i] = line[at + 2 + i]
    return at + 1 + most


@kernel
def _number(words, line, at, first, digits):
    """Writes a number of `digits` digits that are drawn from symbol `first` on."""
    line[at] = _TWO + _below(words, _SYMBOLS + first, 9)
    _symbols(words, 10, line, at + 1, first + 1, digits - 1)


@kernel
def _numbers(key, number, example, limits, separator, words, line, start):
    """Writes an example of addition from its first digit on, and returns the end of its answer."""
    least, ways = limits[2], limits[3] - limits[2] + 1
    first = least + np.int64(_below(words, _LENGTH, ways))
    second = least + np.int64(_below(words, _SECOND, ways))
    _draw(key, number, example, _SYMBOLS, first + second, words)
    _number(words, line, start, 0, first)
    line[start + first] = separator
    _number(words, line, start + first + 1, first, second)
    at = start + first + 1 + second
    line[at] = separator
    return _addition(line, start, start + first, at)


@kernel
def _sequence(key, number, example, task, limits, alphabet, words, line, start, table):
    """Writes an example of any task but addition from its first symbol on, and returns the end of its answer."""
    count = limits[0] + np.int64(_below(words, _LENGTH, limits[1] - limits[0] + 1))
    if task == _STACK:
        _draw(key, number, example, _SYMBOLS, 2 * count, words)
        depth = _operations(words, count, line, start, table)
        line[start + count] = alphabet + 1
        return _stack(line, start + count, depth, table)
    _draw(key, number, example, _SYMBOLS, count, words)
    at = _inputs(task, count, alphabet, words, line, start)
    line[at] = alphabet + 1
    return _answer(task, line, start, at, alphabet + 1, table)


@kernel
def _inputs(task, count, alphabet, words, line, start):
    """Writes the inputs of an example, and returns their end."""
    first = count // 2 if task == _UNION else count
    at = start + first
    _symbols(words, alphabet, line, start, 0, first)
    if task == _UNION:
        line[at] = alphabet + 1
        _symbols(words, alphabet, line, at + 1, first, count - first)
        return at + 1 + count - first
    if task == _DELETE:
        line[at] = alphabet + 1
        line[at + 1] = _ONE + _below(words, _SECOND, alphabet)
        return at + 2
    return at


@kernel
def _answer(task, line, start, at, separator, table):
    if task == _COPY:
        return _copy(line, start, at)
    if task == _REVERSE:
        return _reverse(line, start, at)
    if task == _SORT:
        return _sort(line, start, at, table)
    if task == _DELETE:
        return _delete(line, start, at)
    return _distinct(line, start, at, separator, table)


@kernel
def rows(key, candidates, chosen, marked, limits, alphabet, words, line, table, tokens):
    """Writes the row of each candidate.

    key: seed and stream. candidates: uint64[row]. chosen: int64[task], numbers of tasks. marked: whether examples
    begin with a marker. limits: the fewest and most symbols of an input, and digits of a number. tokens: uint16[row,
    token].
    """
    count, length = tokens.shape
    for row in range(count):
        at, example = 0, 0
        while at < length:
            _draw(key, candidates[row], example, 0, _SYMBOLS, words)
            task = chosen[_below(words, _TASK, len(chosen))]
            if marked:
                line[at] = alphabet + 3 + task
                at += 1
            if task == _ADDITION:
                at = _numbers(key, candidates[row], example, limits, alphabet + 1, words, line, at)
            else:
                at = _sequence(key, candidates[row], example, task, limits, alphabet, words, line, at, table)
            line[at] = alphabet + 2
            at += 1
            example += 1
        for i in range(np.uint64(length)):
            tokens[row, i] = line[i]
