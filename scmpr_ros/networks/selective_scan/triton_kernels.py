"""The Triton kernels of `triton_scan`, which imports this module on first use.

One program scans one direction of one image for a few channels, chunk by chunk: a parallel scan
within the chunk, with the state carried to the next chunk. Positions along the scan are mapped to
pixels, so the image is read in place, without reordering. Channels are last in memory: eight
float32 channels are one 32-byte sector for any order.

There are no atomic additions: results are identical from run to run.
"""

# mypy: allow-incomplete-defs

from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

# These vary between images: specialising on them would recompile the kernels needlessly.
_NOT_SPECIALISED = ["batch", "height", "width", "orders", "period"]


@triton.jit
def joined(decay, state, next_decay, next_entry):
    """Compose two consecutive runs of h -> decay h + state."""
    return decay * next_decay, state * next_decay + next_entry


@triton.jit
def joined_before(decay, before, entry, next_decay, next_before, next_entry):
    """As `joined`, with a run's state split into before + entry, the input at its last position.

    `before` is what is left of the previous state at the last position. Computing it as
    state - entry would lose it to rounding when a long step makes it small.
    """
    return decay * next_decay, (before + entry) * next_decay + next_before, next_entry


@triton.jit
def joined_back(reach, gradient, decay, next_reach, next_gradient, next_decay):
    """Compose two consecutive runs of g -> decay (reach g + gradient).

    `gradient` is the gradient of the run's last state, before its decay is applied.
    """
    through = decay * next_reach
    return reach * through, gradient * through + next_gradient, next_decay


@triton.jit
def _program(dim, batch, CHANNELS: tl.constexpr):
    """This program's block of channels, plane (one direction of one image), image and direction."""
    blocks = tl.cdiv(dim, CHANNELS)
    program = tl.program_id(0).to(tl.int64)  # offsets may exceed 32 bits
    plane = program // blocks
    return program % blocks, plane, plane % batch, plane // batch


@triton.jit
def _pixels(position, order, height, width):
    """Pixel indices of positions along a scan in one of the orders of module `orders`."""
    position = tl.where(order >= 2, height * width - 1 - position, position)
    columns = order % 2 == 1
    steps = tl.where(columns, height, width)
    line, step = position // steps, position % steps
    return tl.where(columns, step * width + line, line * width + step).to(tl.int64)


@triton.jit
def _step_and_slope(raw, SOFTPLUS: tl.constexpr):
    """The step and its derivative by delta. Softplus is linear above 20, as in torch."""
    if SOFTPLUS:
        z = tl.exp(-tl.abs(raw))
        # log(1 + z) = 2 atanh(s), by its series in s <= 1/3: accurate also for small z, where 1 + z
        # is not, and without the branches of a library's logarithm.
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
    u, delta, B, C, chunk, order, height, width, dim, channel, valid, rate, offset,
    SOFTPLUS: tl.constexpr, POSITIONS: tl.constexpr,
):  # fmt: skip
    """Load a chunk.

    Past the end u, B and C are 0 and the decay is 1, which leaves the state unchanged.

    Returns:
        pixel offsets and their mask (POSITIONS,); cell offsets and their mask, u, step, its slope
        and the decay (POSITIONS, CHANNELS); B and C (POSITIONS, 1).
    """
    position = chunk * POSITIONS + tl.arange(0, POSITIONS)
    inside = position < height * width
    pixel = _pixels(position, order, height, width)
    cell = pixel[:, None] * dim + channel[None, :]
    mask = inside[:, None] & valid[None, :]
    x = tl.load(u + cell, mask, 0.0).to(rate.dtype)
    raw = tl.load(delta + cell, mask, 0.0).to(rate.dtype) + offset[None, :]
    step, slope = _step_and_slope(raw, SOFTPLUS)
    decay = tl.where(inside[:, None], tl.exp(step * rate[None, :]), 1.0)
    b = tl.load(B + pixel, inside, 0.0)[:, None]
    c = tl.load(C + pixel, inside, 0.0)[:, None]
    return pixel, inside, cell, mask, x, step, slope, decay, b, c


@triton.jit
def _row(values, row, ROWS: tl.constexpr):
    """One row of a block, as a masked sum: Triton cannot index."""
    return tl.sum(tl.where((tl.arange(0, ROWS) == row)[:, None], values, 0.0), 0)


@triton.jit(do_not_specialize=_NOT_SPECIALISED)
def forward(
    u, delta, A, B, C, D, bias, y, starts,
    batch, height, width, dim, orders, period,
    SHARED: tl.constexpr, SOFTPLUS: tl.constexpr, SAVE: tl.constexpr,
    POSITIONS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Compute outputs y (K, batch, H, W, dim) from inputs as in `backends.scan_grid`.

    Args:
        A: (K, dim).
        B, C: (K, batch, H, W).
        starts: (K, batch, chunks, dim), states before each chunk; written if SAVE.
        orders, period: bit pair k % period of `orders` is the order of direction k.
        SHARED: whether all directions share one u.
    """
    block, plane, image, k = _program(dim, batch, CHANNELS)
    order = (orders >> (2 * (k % period))) & 3
    length = height * width
    channel = block * CHANNELS + tl.arange(0, CHANNELS)
    valid = channel < dim
    real = A.dtype.element_ty
    rate = tl.load(A + k * dim + channel, valid, 0.0)
    skip = tl.load(D + k * dim + channel, valid, 0.0)
    offset = tl.load(bias + k * dim + channel, valid, 0.0)

    u += (image if SHARED else plane) * length * dim
    delta += plane * length * dim
    y += plane * length * dim
    B += plane * length
    C += plane * length
    starts += plane * tl.cdiv(length, POSITIONS) * dim

    h = tl.zeros([CHANNELS], real)
    for chunk in range(0, tl.cdiv(length, POSITIONS)):
        pixel, inside, cell, mask, x, step, slope, decay, b, c = _chunk(
            u, delta, B, C, chunk, order, height, width, dim, channel, valid, rate, offset,
            SOFTPLUS, POSITIONS,
        )  # fmt: skip
        reach, states = tl.associative_scan((decay, step * x * b), 0, joined)
        states += reach * h[None, :]
        tl.store(y + cell, states * c + skip[None, :] * x, mask)
        if SAVE:
            tl.store(starts + chunk * dim + channel, h, valid)
        h = _row(states, POSITIONS - 1, POSITIONS)


@triton.jit(do_not_specialize=_NOT_SPECIALISED)
def backward(
    u, delta, A, B, C, D, bias, starts, dy,
    du, d_delta, dA, dB, dC, dD, d_bias,
    batch, height, width, dim, orders, period,
    SHARED: tl.constexpr, SOFTPLUS: tl.constexpr,
    POSITIONS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Compute gradients, as partial sums.

    Chunks are processed from last to first. In each, the states are recomputed from the state
    before the chunk, then the gradients of the states are scanned backwards.

    Args:
        dy: as u.
        du: (K, batch, H, W, dim), per direction.
        dA, dD, d_bias: (batch, K, dim), per image.
        dB, dC: (blocks, K, batch, H, W), per block of channels.
    """
    block, plane, image, k = _program(dim, batch, CHANNELS)
    order = (orders >> (2 * (k % period))) & 3
    length = height * width
    chunks = tl.cdiv(length, POSITIONS)
    channel = block * CHANNELS + tl.arange(0, CHANNELS)
    valid = channel < dim
    real = A.dtype.element_ty
    rate = tl.load(A + k * dim + channel, valid, 0.0)
    skip = tl.load(D + k * dim + channel, valid, 0.0)
    offset = tl.load(bias + k * dim + channel, valid, 0.0)

    planes = tl.num_programs(0) // tl.cdiv(dim, CHANNELS)
    source = (image if SHARED else plane) * length * dim
    u += source
    dy += source
    delta += plane * length * dim
    du += plane * length * dim
    d_delta += plane * length * dim
    B += plane * length
    C += plane * length
    dB += (block * planes + plane) * length
    dC += (block * planes + plane) * length
    starts += plane * chunks * dim

    carried = tl.zeros([CHANNELS], real)  # gradient passed back by the following chunk
    sum_A = tl.zeros([CHANNELS], real)
    sum_D = tl.zeros([CHANNELS], real)
    sum_bias = tl.zeros([CHANNELS], real)
    for past in range(0, chunks):
        chunk = chunks - 1 - past
        pixel, inside, cell, mask, x, step, slope, decay, b, c = _chunk(
            u, delta, B, C, chunk, order, height, width, dim, channel, valid, rate, offset,
            SOFTPLUS, POSITIONS,
        )  # fmt: skip
        out = tl.load(dy + cell, mask, 0.0)
        h = tl.load(starts + chunk * dim + channel, valid, 0.0)

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

    partial = (image * (planes // batch) + k) * dim + channel
    tl.store(dA + partial, sum_A, valid)
    tl.store(dD + partial, sum_D, valid)
    tl.store(d_bias + partial, sum_bias, valid)


# Set by TRITON_INTERPRET when the kernels are declared.
INTERPRETED = not isinstance(forward, triton.JITFunction)
