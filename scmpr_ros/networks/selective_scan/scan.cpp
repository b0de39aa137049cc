// The selective scan on CPUs: `scan_grid` of backends.py, forward and backward.
//
// A task is one slice of u, one image of the batch and one vector of channels. It scans all
// directions that share the slice: nothing is summed across threads, so results do not depend on
// their number. Channels are last in memory, so a vector is one load. All arrays are contiguous,
// with the shapes given in backends.py.
//
// Compiled by cpp.py with the standard headers only. Vectors use GCC's vector extension, as wide
// as the flags allow: 64 bytes with AVX-512, 32 with AVX2, otherwise 16.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

namespace {

struct Bfloat16 {
    uint16_t bits;
};

template <typename Real>
struct Simd {
    static constexpr int64_t LANES = VECTOR_BYTES / sizeof(Real);
    typedef Real V __attribute__((vector_size(VECTOR_BYTES)));
    // For unaligned loads and stores: GCC would split a memcpy of 64 bytes.
    typedef Real Unaligned
        __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(Real)), may_alias));
    typedef int32_t Int __attribute__((vector_size(VECTOR_BYTES)));
    typedef uint16_t Half
        __attribute__((vector_size(VECTOR_BYTES / 2), aligned(2), may_alias));
};

template <typename Real>
using V = typename Simd<Real>::V;

template <typename Real>
inline V<Real> broadcast(Real value) {
    return value - V<Real>{};
}

// --- loads and stores; only the first `count` lanes if PARTIAL -------------------------------

inline float to_float(Bfloat16 x) {
    const union { uint32_t bits; float value; } as = {uint32_t(x.bits) << 16};
    return as.value;
}
inline float to_float(float x) { return x; }
inline double to_float(double x) { return x; }

template <typename Real>
inline V<Real> load_whole(const Real* from) {
    return *reinterpret_cast<const typename Simd<Real>::Unaligned*>(from);
}
template <typename Real>
inline V<Real> load_whole(const Bfloat16* from) {
    using S = Simd<Real>;
    const auto half = *reinterpret_cast<const typename S::Half*>(from);
    return (V<Real>)(__builtin_convertvector(half, typename S::Int) << 16);
}

template <bool PARTIAL, typename Real, typename T>
inline V<Real> load(const T* from, int64_t count) {
    if constexpr (!PARTIAL) return load_whole<Real>(from);
    V<Real> x = {};
    for (int64_t i = 0; i < count; ++i) x[i] = to_float(from[i]);
    return x;
}

template <bool PARTIAL, typename Real>
inline void store(Real* to, V<Real> x, int64_t count) {
    if constexpr (!PARTIAL) {
        *reinterpret_cast<typename Simd<Real>::Unaligned*>(to) = x;
    } else {
        for (int64_t i = 0; i < count; ++i) to[i] = x[i];
    }
}

// --- exp2 and softplus; both propagate NaN --------------------------------------------------

constexpr double LOG2_E = 1.4426950408889634;

// 2^n by setting exponent bits, 2^f by a polynomial on [-0.5, 0.5]; error 3e-9 before rounding.
inline V<float> exp2(V<float> x) {
    using Int = Simd<float>::Int;
    x = x < -126.0f ? broadcast(-126.0f) : x;
    x = x > 127.0f ? broadcast(127.0f) : x;
    const V<float> shifted = x + 12582912.0f;  // 1.5 * 2^23: the low bits of the sum are round(x)
    const V<float> f = x - (shifted - 12582912.0f);
    V<float> p = broadcast(1.54697320e-04f);
    p = p * f + 1.34004322e-03f;
    p = p * f + 9.61802560e-03f;
    p = p * f + 5.55032721e-02f;
    p = p * f + 2.40226512e-01f;
    p = p * f + 6.93147207e-01f;
    p = p * f + 1.0f;
    return (V<float>)((Int)p + ((Int)shifted << 23));
}

inline V<double> exp2(V<double> x) {
    for (int64_t i = 0; i < Simd<double>::LANES; ++i) x[i] = std::exp2(x[i]);
    return x;
}

// log(1 + z) for z in [0, 1]; relative error 3e-8 before rounding.
inline V<float> log1p(V<float> z) {
    V<float> p = broadcast(5.25346e-03f);
    p = p * z - 2.958851e-02f;
    p = p * z + 7.836167e-02f;
    p = p * z - 1.367477e-01f;
    p = p * z + 1.9111431e-01f;
    p = p * z - 2.484437e-01f;
    p = p * z + 3.3319271e-01f;
    p = p * z - 4.9999502e-01f;
    p = p * z + 9.9999997e-01f;
    return p * z;
}

inline V<double> log1p(V<double> z) {
    for (int64_t i = 0; i < Simd<double>::LANES; ++i) z[i] = std::log1p(z[i]);
    return z;
}

template <typename Real>
inline V<Real> exp_of_minus_magnitude(V<Real> x) {
    return exp2((x < 0 ? x : -x) * Real(LOG2_E));
}

template <typename Real>
inline V<Real> softplus(V<Real> x) {
    return (x < 0 ? broadcast(Real(0)) : x) + log1p(exp_of_minus_magnitude<Real>(x));
}

template <typename Real>
inline V<Real> sigmoid(V<Real> x) {
    const V<Real> z = exp_of_minus_magnitude<Real>(x), r = 1 / (1 + z);
    return x < 0 ? z * r : r;
}

template <typename Real>
inline Real sum(V<Real> x) {
    Real total = 0;
    for (int64_t i = 0; i < Simd<Real>::LANES; ++i) total += x[i];
    return total;
}

// --- the problem ----------------------------------------------------------------------------

// The scan order of a direction: `lines` runs of `steps` cells each. See orders.py.
struct Walk {
    int64_t lines, steps, first, line_stride, step_stride;
    Walk(int order, int64_t height, int64_t width) {
        const bool columns = order % 2, back = order >= 2;
        lines = columns ? width : height;
        steps = columns ? height : width;
        line_stride = columns ? 1 : width;
        step_stride = columns ? width : 1;
        first = back ? height * width - 1 : 0;
        if (back) line_stride = -line_stride, step_stride = -step_stride;
    }
};

template <typename T, typename Real>
struct Scan {
    const T *u, *delta;
    const Real *A, *B, *C, *D, *bias;
    int64_t slices, directions, batch, height, width, dim, state;
    bool use_softplus;
    const int32_t* orders;

    int64_t cells() const { return height * width; }
    int64_t blocks() const { return (dim + Simd<Real>::LANES - 1) / Simd<Real>::LANES; }
    int64_t tasks() const { return slices * batch * blocks(); }
};

// Position of one task; directions [k_begin, k_end) scan its slice.
template <typename T, typename Real>
struct Task {
    int64_t slice, image, block, channel, count, k_begin, k_end;
    Task(const Scan<T, Real>& scan, int64_t number) {
        block = number % scan.blocks();
        image = number / scan.blocks() % scan.batch;
        slice = number / scan.blocks() / scan.batch;
        channel = block * Simd<Real>::LANES;
        count = std::min(Simd<Real>::LANES, scan.dim - channel);
        k_begin = scan.slices > 1 ? slice : 0;
        k_end = scan.slices > 1 ? slice + 1 : scan.directions;
    }
};

// --- forward --------------------------------------------------------------------------------

// STATES: number of state dimensions kept in registers (1), or 0 for any number, kept in memory.
template <typename T, typename Real, int STATES, bool PARTIAL>
void forward_task(const Scan<T, Real>& scan, const Task<T, Real>& task, V<Real>* memory, Real* y) {
    const int64_t dim = scan.dim, states = STATES ? STATES : scan.state;
    const int64_t shared = (task.slice * scan.batch + task.image) * scan.cells();
    V<Real> registers[STATES ? 2 * STATES : 1];
    V<Real>* const h = STATES ? registers : memory;
    V<Real>* const rate = h + states;

    for (int64_t k = task.k_begin; k < task.k_end; ++k) {
        const int64_t own = (k * scan.batch + task.image) * scan.cells();
        const int64_t of_k = k * dim + task.channel;
        const V<Real> bias = load<PARTIAL, Real>(scan.bias + of_k, task.count);
        const V<Real> D = load<PARTIAL, Real>(scan.D + of_k, task.count);
        for (int64_t n = 0; n < states; ++n) {
            h[n] = V<Real>{};
            rate[n] = V<Real>{};
            for (int64_t i = 0; i < task.count; ++i)
                rate[n][i] = scan.A[(of_k + i) * states + n] * Real(LOG2_E);
        }
        const Walk walk(scan.orders[k], scan.height, scan.width);
        for (int64_t line = 0; line < walk.lines; ++line) {
            int64_t cell = walk.first + line * walk.line_stride;
            for (int64_t i = 0; i < walk.steps; ++i, cell += walk.step_stride) {
                const int64_t at = (shared + cell) * dim + task.channel;
                const V<Real> u = load<PARTIAL, Real>(scan.u + at, task.count);
                V<Real> step = bias + load<PARTIAL, Real>(
                    scan.delta + (own + cell) * dim + task.channel, task.count);
                if (scan.use_softplus) step = softplus<Real>(step);
                const V<Real> entry = step * u;
                const Real* B = scan.B + (own + cell) * states;
                const Real* C = scan.C + (own + cell) * states;
                V<Real> out = D * u;
                for (int64_t n = 0; n < states; ++n) {
                    h[n] = exp2(step * rate[n]) * h[n] + entry * B[n];
                    out += h[n] * C[n];
                }
                if (k > task.k_begin) out += load<PARTIAL, Real>(y + at, task.count);
                store<PARTIAL, Real>(y + at, out, task.count);
            }
        }
    }
}

template <typename T, typename Real>
void forward(const Scan<T, Real>& scan, Real* y, int threads) {
    const int64_t tasks = scan.tasks();
#pragma omp parallel num_threads(threads)
    {
        std::vector<V<Real>> memory(2 * scan.state);
#pragma omp for schedule(static)
        for (int64_t number = 0; number < tasks; ++number) {
            const Task<T, Real> task(scan, number);
            const bool partial = task.count < Simd<Real>::LANES;
            auto run = scan.state == 1
                ? (partial ? forward_task<T, Real, 1, true> : forward_task<T, Real, 1, false>)
                : (partial ? forward_task<T, Real, 0, true> : forward_task<T, Real, 0, false>);
            run(scan, task, memory.data(), y);
        }
    }
}

// --- backward -------------------------------------------------------------------------------

// Partial sums, to be added up by the caller: dB and dC per block of channels, (blocks, K, batch,
// H, W, state); dA, dD and dbias per image, (batch, K, dim, state) and (batch, K, dim).
template <typename Real>
struct Gradients {
    const Real* y;
    Real *u, *delta, *A, *B, *C, *D, *bias;
};

// Buffers of a thread, one vector per cell in scan order: steps, their gradients, and states.
template <typename Real>
struct Trail {
    std::vector<V<Real>> step, d_step, h;
    explicit Trail(int64_t cells) : step(cells), d_step(cells), h(cells) {}
};

// One state dimension of one direction: recompute the states forward, then scan backward.
template <typename T, typename Real, bool PARTIAL>
void backward_state(const Scan<T, Real>& scan, const Task<T, Real>& task, int64_t k, int64_t n,
                    Trail<Real>& trail, const Gradients<Real>& d) {
    const int64_t dim = scan.dim, states = scan.state, cells = scan.cells();
    const int64_t shared = (task.slice * scan.batch + task.image) * cells;
    const int64_t own = (k * scan.batch + task.image) * cells;
    const int64_t of_k = k * dim + task.channel;
    const Walk walk(scan.orders[k], scan.height, scan.width);
    V<Real> A = {};
    for (int64_t i = 0; i < task.count; ++i) A[i] = scan.A[(of_k + i) * states + n];
    const V<Real> rate = A * Real(LOG2_E);

    V<Real> h = {};
    int64_t t = 0;
    for (int64_t line = 0; line < walk.lines; ++line) {
        int64_t cell = walk.first + line * walk.line_stride;
        for (int64_t i = 0; i < walk.steps; ++i, ++t, cell += walk.step_stride) {
            const V<Real> u =
                load<PARTIAL, Real>(scan.u + (shared + cell) * dim + task.channel, task.count);
            const V<Real> step = trail.step[t];
            h = exp2(step * rate) * h + step * u * scan.B[(own + cell) * states + n];
            trail.h[t] = h;
        }
    }

    const bool first_of_slice = k == task.k_begin && n == 0;
    const int64_t summand = task.block * scan.directions * scan.batch * cells;
    V<Real> carried = {}, dA = {};  // carried: gradient passed back by the next cell's state
    for (int64_t line = walk.lines - 1; line >= 0; --line) {
        int64_t cell = walk.first + line * walk.line_stride + (walk.steps - 1) * walk.step_stride;
        for (int64_t i = walk.steps - 1; i >= 0; --i, cell -= walk.step_stride) {
            --t;
            const int64_t at = (shared + cell) * dim + task.channel, small = (own + cell) * states + n;
            const V<Real> u = load<PARTIAL, Real>(scan.u + at, task.count);
            const V<Real> dy = load<PARTIAL, Real>(d.y + at, task.count);
            const V<Real> step = trail.step[t], before = t ? trail.h[t - 1] : V<Real>{};
            const V<Real> decay = exp2(step * rate);
            const Real B = scan.B[small];
            const V<Real> g = dy * scan.C[small] + carried;
            d.C[summand * states + small] = sum<Real>(dy * trail.h[t]);
            d.B[summand * states + small] = sum<Real>(g * step * u);
            carried = g * decay;
            const V<Real> d_exponent = carried * before;
            dA += d_exponent * step;
            trail.d_step[t] += g * u * B + d_exponent * A;
            V<Real> du = g * step * B;
            if (!first_of_slice) du += load<PARTIAL, Real>(d.u + at, task.count);
            store<PARTIAL, Real>(d.u + at, du, task.count);
        }
    }
    Real* const to = d.A + ((task.image * scan.directions + k) * dim + task.channel) * states + n;
    for (int64_t i = 0; i < task.count; ++i) to[i * states] = dA[i];
}

// All state dimensions of each direction: steps first, then gradients through steps and D.
template <typename T, typename Real, bool PARTIAL>
void backward_task(const Scan<T, Real>& scan, const Task<T, Real>& task, Trail<Real>& trail,
                   const Gradients<Real>& d) {
    const int64_t dim = scan.dim, cells = scan.cells();
    const int64_t shared = (task.slice * scan.batch + task.image) * cells;
    for (int64_t k = task.k_begin; k < task.k_end; ++k) {
        const int64_t own = (k * scan.batch + task.image) * cells;
        const int64_t of_k = k * dim + task.channel;
        const V<Real> bias = load<PARTIAL, Real>(scan.bias + of_k, task.count);
        const V<Real> D = load<PARTIAL, Real>(scan.D + of_k, task.count);
        const Walk walk(scan.orders[k], scan.height, scan.width);
        const auto for_each_cell = [&](auto visit) {
            int64_t t = 0;
            for (int64_t line = 0; line < walk.lines; ++line) {
                int64_t cell = walk.first + line * walk.line_stride;
                for (int64_t i = 0; i < walk.steps; ++i, ++t, cell += walk.step_stride)
                    visit(t, cell, bias + load<PARTIAL, Real>(
                        scan.delta + (own + cell) * dim + task.channel, task.count));
            }
        };
        for_each_cell([&](int64_t t, int64_t, V<Real> raw) {
            trail.step[t] = scan.use_softplus ? softplus<Real>(raw) : raw;
            trail.d_step[t] = V<Real>{};
        });
        for (int64_t n = 0; n < scan.state; ++n)
            backward_state<T, Real, PARTIAL>(scan, task, k, n, trail, d);
        V<Real> dbias = {}, dD = {};
        for_each_cell([&](int64_t t, int64_t cell, V<Real> raw) {
            const int64_t at = (shared + cell) * dim + task.channel;
            const V<Real> dy = load<PARTIAL, Real>(d.y + at, task.count);
            V<Real> d_raw = trail.d_step[t];
            if (scan.use_softplus) d_raw *= sigmoid<Real>(raw);
            store<PARTIAL, Real>(d.delta + (own + cell) * dim + task.channel, d_raw, task.count);
            dbias += d_raw;
            dD += dy * load<PARTIAL, Real>(scan.u + at, task.count);
            store<PARTIAL, Real>(
                d.u + at, load<PARTIAL, Real>(d.u + at, task.count) + D * dy, task.count);
        });
        const int64_t to = (task.image * scan.directions + k) * dim + task.channel;
        store<PARTIAL, Real>(d.bias + to, dbias, task.count);
        store<PARTIAL, Real>(d.D + to, dD, task.count);
    }
}

template <typename T, typename Real>
void backward(const Scan<T, Real>& scan, const Gradients<Real>& d, int threads) {
    const int64_t tasks = scan.tasks();
#pragma omp parallel num_threads(threads)
    {
        Trail<Real> trail(scan.cells());
#pragma omp for schedule(static)
        for (int64_t number = 0; number < tasks; ++number) {
            const Task<T, Real> task(scan, number);
            if (task.count < Simd<Real>::LANES) {
                backward_task<T, Real, true>(scan, task, trail, d);
            } else {
                backward_task<T, Real, false>(scan, task, trail, d);
            }
        }
    }
}

}  // namespace

// --- C interface for cpp.py -----------------------------------------------------------------

// sizes: slices, directions, batch, height, width, dim, state, use_softplus.
#define EXPORT(NAME, T, Real)                                                                      \
    static Scan<T, Real> scan_##NAME(const T* u, const T* delta, const Real* const* p,             \
                                     const int64_t* s, const int32_t* orders) {                    \
        return {u, delta, p[0], p[1], p[2], p[3], p[4], s[0], s[1], s[2], s[3], s[4], s[5], s[6],  \
                s[7] != 0, orders};                                                                \
    }                                                                                              \
    extern "C" void forward_##NAME(const T* u, const T* delta, const Real* const* parameters,      \
                                   Real* y, const int64_t* sizes, const int32_t* orders,           \
                                   int threads) {                                                  \
        forward<T, Real>(scan_##NAME(u, delta, parameters, sizes, orders), y, threads);            \
    }                                                                                              \
    extern "C" void backward_##NAME(const T* u, const T* delta, const Real* const* parameters,     \
                                    const Real* dy, Real* const* d, const int64_t* sizes,          \
                                    const int32_t* orders, int threads) {                          \
        const Gradients<Real> gradients = {dy, d[0], d[1], d[2], d[3], d[4], d[5], d[6]};          \
        backward<T, Real>(scan_##NAME(u, delta, parameters, sizes, orders), gradients, threads);   \
    }

EXPORT(bfloat16, Bfloat16, float)
EXPORT(float32, float, float)
EXPORT(float64, double, double)

extern "C" int lanes() { return VECTOR_BYTES / 4; }
