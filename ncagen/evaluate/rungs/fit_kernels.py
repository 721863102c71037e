"""Compiled fits of a cell's next state: logistic regression, and the automaton's network by Adam.

Both read the 3 x 3 neighbourhood as nine indices of one-hot inputs. Kernels allocate nothing and add in a fixed order.
Their exponential is made of products, so the results do not depend on a mathematical library. Not covered: which
transitions are fitted, random numbers, sharpness (`fitted`).
"""

import math

from ncagen.kernels import inlined, kernel

LEAST_EXPONENT = -80.0
FIRST_DECAY, SECOND_DECAY, TINY = 0.9, 0.999, 1e-8  # of Adam: Kingma and Ba, 2015
CHANNELS, UNITS, NEIGHBOURS = 4, 16, 9  # of the automaton's network, as in `sources.nca.rules`


@inlined
def softmax(units, line, first, states):
    """Replaces logits by probabilities, in place. units: float64[line, value], logits from `first` on in one line.

    exp(x) is the Taylor polynomial of degree 5 of x / 256, squared eight times: its relative error is below 5e-4 down
    to LEAST_EXPONENT, where exp(x) is 2e-35, and below 4e-7 above -25.
    """
    most = units[line, first]
    for s in range(1, states):
        most = max(most, units[line, first + s])
    total = 0.0
    for s in range(states):
        x = max(units[line, first + s] - most, LEAST_EXPONENT) / 256.0
        y = 1 + x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5))))
        y = y * y
        y = y * y
        y = y * y
        y = y * y
        y = y * y
        y = y * y
        y = y * y
        y = y * y
        units[line, first + s] = y
        total += y
    for s in range(states):
        units[line, first + s] /= total


@kernel
def fit_linear(neighbours, after, often, work, units, passes, penalty, step):
    """Lowers the sum of losses and of penalty / 2 * weight ** 2, in passes over all examples, from the present weights.

    neighbours: int32[example, neighbour]. after: uint8[example]. often: float64[input], examples with each input. work:
    float64[4, input, state]: weights, and room for the pass before, those ahead and the gradient. units:
    float64[1, state], room. Nesterov's accelerated gradient, restarted where it goes uphill; the step of each input is
    divided by how often it occurs.
    """
    inputs, states = work.shape[1], work.shape[2]
    for f in range(inputs):
        for s in range(states):
            work[1, f, s] = work[0, f, s]
    pace = 1.0
    for _ in range(passes):
        faster = (1 + math.sqrt(1 + 4 * pace * pace)) / 2
        ahead = (pace - 1) / faster
        pace = faster
        for f in range(inputs):
            for s in range(states):
                weight = work[0, f, s]
                work[2, f, s] = weight + ahead * (weight - work[1, f, s])
                work[1, f, s] = weight
                work[3, f, s] = penalty * work[2, f, s]
        for i in range(len(after)):
            for s in range(states):
                units[0, s] = 0.0
            for n in range(NEIGHBOURS):
                f = neighbours[i, n]
                for s in range(states):
                    units[0, s] += work[2, f, s]
            softmax(units, 0, 0, states)
            units[0, after[i]] -= 1.0
            for n in range(NEIGHBOURS):
                f = neighbours[i, n]
                for s in range(states):
                    work[3, f, s] += units[0, s]
        uphill = 0.0
        for f in range(inputs):
            rate = step / (often[f] + step * penalty)
            for s in range(states):
                work[0, f, s] = work[2, f, s] - rate * work[3, f, s]
                uphill += work[3, f, s] * (work[0, f, s] - work[1, f, s])
        if uphill > 0:
            pace = 1.0


@kernel
def linear_logits(neighbours, weights, logits):
    """Logits of cells. neighbours: int32[cell, neighbour]. weights: float64[input, state]. logits: float32[cell, state]
    of zeros, filled."""
    for i in range(len(neighbours)):
        for n in range(NEIGHBOURS):
            f = neighbours[i, n]
            for s in range(logits.shape[1]):
                logits[i, s] += weights[f, s]


@inlined
def forward(neighbours, i, work, units, states):
    """The network's values for example i, into units[0]: channels, hidden units, logits."""
    inner = NEIGHBOURS * states * CHANNELS
    outer = inner + UNITS * CHANNELS
    for c in range(CHANNELS):
        units[0, c] = 0.0
    for n in range(NEIGHBOURS):
        at = neighbours[i, n] * CHANNELS
        for c in range(CHANNELS):
            units[0, c] += work[0, at + c]
    for u in range(UNITS):
        value = 0.0
        for c in range(CHANNELS):
            value += work[0, inner + u * CHANNELS + c] * units[0, c]
        units[0, CHANNELS + u] = max(value, 0.0)
    for s in range(states):
        value = 0.0
        for u in range(UNITS):
            value += work[0, outer + s * UNITS + u] * units[0, CHANNELS + u]
        units[0, CHANNELS + UNITS + s] = value


@inlined
def backward(neighbours, i, work, units, states):
    """Adds example i's gradient to work[1]. units[0]: its values, with the gradient of its logits in their place."""
    inner = NEIGHBOURS * states * CHANNELS
    outer = inner + UNITS * CHANNELS
    for u in range(CHANNELS + UNITS):
        units[1, u] = 0.0
    for s in range(states):
        error = units[0, CHANNELS + UNITS + s]
        at = outer + s * UNITS
        for u in range(UNITS):
            units[1, CHANNELS + u] += error * work[0, at + u]
            work[1, at + u] += error * units[0, CHANNELS + u]
    for u in range(UNITS):
        if units[0, CHANNELS + u] > 0:
            error = units[1, CHANNELS + u]
            at = inner + u * CHANNELS
            for c in range(CHANNELS):
                work[1, at + c] += error * units[0, c]
                units[1, c] += error * work[0, at + c]
    for n in range(NEIGHBOURS):
        at = neighbours[i, n] * CHANNELS
        for c in range(CHANNELS):
            work[1, at + c] += units[1, c]


@kernel
def fit_network(neighbours, after, examples, work, units, batch, done, rates, decay):
    """Trains the network by Adam, from the present weights.

    neighbours: int32[example, neighbour]. after: uint8[example]. examples: int64[step * batch], which ones each step
    takes. work: float64[4, weight]: weights, gradient, first and second moments; the weights of the three layers are
    [input, channel], [unit, channel], [state, unit]. units: float64[2, value], room. done: steps before these. rates:
    the first and the last learning rate. decay / 2 * weight ** 2 is added to the mean loss.
    """
    weights, states = work.shape[1], units.shape[1] - CHANNELS - UNITS
    steps = len(examples) // batch
    for step in range(steps):
        for w in range(weights):
            work[1, w] = 0.0
        for b in range(batch):
            i = examples[step * batch + b]
            forward(neighbours, i, work, units, states)
            softmax(units, 0, CHANNELS + UNITS, states)
            units[0, CHANNELS + UNITS + after[i]] -= 1.0
            backward(neighbours, i, work, units, states)
        t = done + step + 1
        rate = rates[0] + (rates[1] - rates[0]) * step / steps
        rate *= math.sqrt(1 - SECOND_DECAY**t) / (1 - FIRST_DECAY**t)
        for w in range(weights):
            slope = work[1, w] / batch + decay * work[0, w]
            first = FIRST_DECAY * work[2, w] + (1 - FIRST_DECAY) * slope
            second = SECOND_DECAY * work[3, w] + (1 - SECOND_DECAY) * slope * slope
            work[2, w], work[3, w] = first, second
            work[0, w] -= rate * first / (math.sqrt(second) + TINY)


@kernel
def network_logits(neighbours, weights, units, logits):
    """Logits of cells. neighbours: int32[cell, neighbour]. weights: float64[1, weight]. logits: float32[cell, state],
    filled."""
    states = logits.shape[1]
    for i in range(len(neighbours)):
        forward(neighbours, i, weights, units, states)
        for s in range(states):
            logits[i, s] = units[0, CHANNELS + UNITS + s]
