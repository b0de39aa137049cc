"""The Triton kernels of `triton_scan`. Only that module imports this one, and only when it scans.

One program walks one direction of one image for a few channels, a chunk of positions at a time:
a parallel scan inside the chunk, the state carried from chunk to chunk. It walks in the image's
own memory: a position of the walk is turned into a pixel, so that nothing is reordered. Channels
lie last in memory, so that eight of float32 are one sector of 32 bytes wherever the walk goes.

Nothing is added atomically: results do not change from run to run.
"""

# mypy: allow-incomplete-defs

from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

# Values that change from image to image; a kernel of its own for each would be compiled in vain.
_ANY_SIZE = ["batch", "height", "width", "orders", "period"]


@triton.jit
def joined(decay, state, next_decay, next_entry):
    """Two runs of h -> decay h + state, one after the other, as one."""
    return decay * next_decay, state * next_decay + next_entry


@triton.jit
def joined_before(decay, before, entry, next_decay, next_before, next_entry):
    """As `joined`, where a run's state is before + entry, and entry is its last position's own.

    So `before` is what the last position keeps of its predecessor. state - entry would be that,
    too, but with the rounding errors of both, which a long step makes larger than the result.
    """
    return decay * next_decay, (before + entry) * next_decay + next_before, next_entry


@triton.jit
def joined_back(reach, gradient, decay, next_reach, next_gradient, next_decay):
    """Two runs of g -> decay (reach g + gradient), one after the other, as one.

    `gradient` is that of the run's last state; the decay from there on is not yet applied.
    """
    through = decay * next_reach
    return reach * through, gradient * through + next_gradient, next_decay


@triton.jit
def _place(dim, batch, CHANNELS: tl.constexpr):
    """This program's block of channels, image of its direction, image of the batch, direction."""
    blocks = tl.cdiv(dim, CHANNELS)
    program = tl.program_id(0).to(tl.int64)  # offsets outgrow 32 bits
    image = program // blocks
    return program % blocks, image, image % batch, image // batch


@triton.jit
def _pixels(position, order, height, width):
    """Where a walk is at a position. Orders are those of `orders`."""
    position = tl.where(order >= 2, height * width - 1 - position, position)
    columns = order % 2 == 1
    steps = tl.where(columns, height, width)
    line, step = position // steps, position % steps
    return tl.where(columns, step * width + line, line * width + step).to(tl.int64)


@triton.jit
def _step_and_slope(raw, SOFTPLUS: tl.constexpr):
    """The step, and its derivative by delta. Softplus is linear from 20 on, as torch's is."""
    if SOFTPLUS:
        z = tl.exp(-tl.abs(raw))
        # log(1 + z) = 2 atanh(s) by its series in s <= 1/3: exact also for small z, where 1 + z is
        # not, and without the branches of a library's logarithm.
        s = z / (z + 2)
        TERMS: tl.constexpr = 17 if raw.dtype == tl.float64 else 8
        series = tl.zeros_like(s)
        for term in tl.static_range(TERMS):
            series = series * (s * s) + 2.0 / (2 * (TERMS - term) - 1)
        sigmoid = tl.where(raw < 0, z, 1.0) / (z + 1)
        linear = raw > 20
        return (
            tl.where(linear, raw, tl.maximum(raw, 0.0) + s * series),
            tl.where(linear, 1.0, sigmoid),
        )
    else:
        return raw, tl.zeros_like(raw) + 1


@triton.jit
def _chunk(
    u, delta, B, C, chunk, order, height, width, dim, channel, exists, rate, offset,
    SOFTPLUS: tl.constexpr, POSITIONS: tl.constexpr,
):  # fmt: skip
    """Where a chunk's cells are and what is in them.

    Past the end u, B and C are 0 and the decay is 1, so that a state stays as it is.

    Returns:
        offsets of pixels and which exist (POSITIONS,), offsets of cells and which exist, u, step,
        its slope and the decay (POSITIONS, CHANNELS), B and C as (POSITIONS, 1).
    """
    position = chunk * POSITIONS + tl.arange(0, POSITIONS)
    inside = position < height * width
    pixel = _pixels(position, order, height, width)
    cell = pixel[:, None] * dim + channel[None, :]
    mask = inside[:, None] & exists[None, :]
    x = tl.load(u + cell, mask, 0.0).to(rate.dtype)
    raw = tl.load(delta + cell, mask, 0.0).to(rate.dtype) + offset[None, :]
    step, slope = _step_and_slope(raw, SOFTPLUS)
    decay = tl.where(inside[:, None], tl.exp(step * rate[None, :]), 1.0)
    b = tl.load(B + pixel, inside, 0.0)[:, None]
    c = tl.load(C + pixel, inside, 0.0)[:, None]
    return pixel, inside, cell, mask, x, step, slope, decay, b, c


@triton.jit
def _row(values, row, ROWS: tl.constexpr):
    """One row of a block. A sum over the others' zeros, as Triton cannot index."""
    return tl.sum(tl.where((tl.arange(0, ROWS) == row)[:, None], values, 0.0), 0)


@triton.jit(do_not_specialize=_ANY_SIZE)
def forward(
    u, delta, A, B, C, D, bias, y, starts,
    batch, height, width, dim, orders, period,
    SHARED: tl.constexpr, SOFTPLUS: tl.constexpr, SAVE: tl.constexpr,
    POSITIONS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Outputs of all directions, (K, batch, H, W, dim), from inputs as in `backends.scan_grid`.

    Args:
        A: (K, dim).
        B, C: (K, batch, H, W).
        starts: (K, batch, chunks, dim), the states before each chunk; written if SAVE.
        orders, period: the walk of direction k is the k % period-th pair of bits in orders.
        SHARED: whether all directions share one u.
    """
    block, image, of_batch, k = _place(dim, batch, CHANNELS)
    order = (orders >> (2 * (k % period))) & 3
    length = height * width
    channel = block * CHANNELS + tl.arange(0, CHANNELS)
    exists = channel < dim
    real = A.dtype.element_ty
    rate = tl.load(A + k * dim + channel, exists, 0.0)
    skip = tl.load(D + k * dim + channel, exists, 0.0)
    offset = tl.load(bias + k * dim + channel, exists, 0.0)

    u += (of_batch if SHARED else image) * length * dim
    delta += image * length * dim
    y += image * length * dim
    B += image * length
    C += image * length
    starts += image * tl.cdiv(length, POSITIONS) * dim

    h = tl.zeros([CHANNELS], real)
    for chunk in range(0, tl.cdiv(length, POSITIONS)):
        pixel, inside, cell, mask, x, step, slope, decay, b, c = _chunk(
            u, delta, B, C, chunk, order, height, width, dim, channel, exists, rate, offset,
            SOFTPLUS, POSITIONS,
        )  # fmt: skip
        reach, states = tl.associative_scan((decay, step * x * b), 0, joined)
        states += reach * h[None, :]
        tl.store(y + cell, states * c + skip[None, :] * x, mask)
        if SAVE:
            tl.store(starts + chunk * dim + channel, h, exists)
        h = _row(states, POSITIONS - 1, POSITIONS)


@triton.jit(do_not_specialize=_ANY_SIZE)
def backward(
    u, delta, A, B, C, D, bias, starts, dy,
    du, d_delta, dA, dB, dC, dD, d_bias,
    batch, height, width, dim, orders, period,
    SHARED: tl.constexpr, SOFTPLUS: tl.constexpr,
    POSITIONS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Gradients, as parts that are still to be summed.

    Chunks are walked from the last to the first. In each, the states are computed once more from
    the state before the chunk, then the gradients by the states against the walk.

    Args:
        dy: as u.
        du: (K, batch, H, W, dim), of each direction.
        dA, dD, d_bias: (batch, K, dim), of each image.
        dB, dC: (blocks, K, batch, H, W), of each block of channels.
    """
    block, image, of_batch, k = _place(dim, batch, CHANNELS)
    order = (orders >> (2 * (k % period))) & 3
    length = height * width
    chunks = tl.cdiv(length, POSITIONS)
    channel = block * CHANNELS + tl.arange(0, CHANNELS)
    exists = channel < dim
    real = A.dtype.element_ty
    rate = tl.load(A + k * dim + channel, exists, 0.0)
    skip = tl.load(D + k * dim + channel, exists, 0.0)
    offset = tl.load(bias + k * dim + channel, exists, 0.0)

    images = tl.num_programs(0) // tl.cdiv(dim, CHANNELS)
    source = (of_batch if SHARED else image) * length * dim
    u += source
    dy += source
    delta += image * length * dim
    du += image * length * dim
    d_delta += image * length * dim
    B += image * length
    C += image * length
    dB += (block * images + image) * length
    dC += (block * images + image) * length
    starts += image * chunks * dim

    carried = tl.zeros([CHANNELS], real)  # what the following chunk passes back to this one
    sum_A = tl.zeros([CHANNELS], real)
    sum_D = tl.zeros([CHANNELS], real)
    sum_bias = tl.zeros([CHANNELS], real)
    for past in range(0, chunks):
        chunk = chunks - 1 - past
        pixel, inside, cell, mask, x, step, slope, decay, b, c = _chunk(
            u, delta, B, C, chunk, order, height, width, dim, channel, exists, rate, offset,
            SOFTPLUS, POSITIONS,
        )  # fmt: skip
        out = tl.load(dy + cell, mask, 0.0)
        h = tl.load(starts + chunk * dim + channel, exists, 0.0)

        entry = step * x * b
        reach, before, entry = tl.associative_scan(
            (decay, tl.zeros_like(entry), entry), 0, joined_before
        )
        before += reach * h[None, :]
        tl.store(dC + pixel, tl.sum(out * (before + entry), 1), inside)

        one = tl.full([POSITIONS, CHANNELS], 1.0, real)
        reach, g, decay = tl.associative_scan((one, out * c, decay), 0, joined_back, reverse=True)
        g += reach * carried[None, :]
        carried = _row(g * decay, 0, POSITIONS)
        tl.store(dB + pixel, tl.sum(g * step * x, 1), inside)
        d_exponent = g * before
        d_raw = (g * x * b + d_exponent * rate[None, :]) * slope
        tl.store(d_delta + cell, d_raw, mask)
        tl.store(du + cell, g * step * b + skip[None, :] * out, mask)
        sum_A += tl.sum(d_exponent * step, 0)
        sum_D += tl.sum(out * x, 0)
        sum_bias += tl.sum(d_raw, 0)

    own = (of_batch * (images // batch) + k) * dim + channel
    tl.store(dA + own, sum_A, exists)
    tl.store(dD + own, sum_D, exists)
    tl.store(d_bias + own, sum_bias, exists)


# Triton decided it when the kernels were declared, by TRITON_INTERPRET.
INTERPRETED = not isinstance(forward, triton.JITFunction)
