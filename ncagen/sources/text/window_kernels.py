"""Cuts rows out of a corpus. Kernels; callers make the arrays, and `definition.py` says what they compute."""

import numpy as np

from ncagen.kernels import kernel


@kernel
def _document_of(starts, position):
    """The index d with starts[d] <= position < starts[d + 1]."""
    low, high = 0, len(starts) - 1
    while high - low > 1:
        middle = (low + high) >> 1
        if starts[middle] <= position:
            low = middle
        else:
            high = middle
    return low


@kernel
def packed_rows(tokens, ends, order, starts, windows, seq_len, end, out, documents, content):
    """Writes the windows of the documents in order, each with an end behind it.

    tokens: [token]; ends: int64[document]; order: int64[place], documents; starts: int64[place + 1], where each
    begins in that sequence. windows: int64[row]. out: [row, token], documents, content: int32[row], written.
    """
    for row in range(len(windows)):
        position = windows[row] * seq_len
        place = _document_of(starts, position)
        at = position - starts[place]
        documents[row], content[row] = 0, 0
        filled = 0
        while filled < out.shape[1]:
            document = order[place]
            begin = ends[document - 1] if document > 0 else np.int64(0)
            count = min(ends[document] - begin - at, out.shape[1] - filled)
            for t in range(count):
                out[row, filled + t] = tokens[begin + at + t]
            documents[row] += count > 0
            content[row] += count
            filled += count
            if filled < out.shape[1]:
                out[row, filled] = end
                filled += 1
            place, at = place + 1, np.int64(0)


@kernel
def split_rows(tokens, ends, order, starts, windows, seq_len, end, out, documents, content):
    """Writes pieces of documents, each padded with ends. starts: int64[place + 1], rows before each document."""
    for row in range(len(windows)):
        place = _document_of(starts, windows[row])
        document = order[place]
        begin = ends[document - 1] if document > 0 else np.int64(0)
        begin += (windows[row] - starts[place]) * seq_len
        count = min(ends[document] - begin, out.shape[1])
        for t in range(count):
            out[row, t] = tokens[begin + t]
        for t in range(count, out.shape[1]):
            out[row, t] = end
        documents[row], content[row] = 1, count
