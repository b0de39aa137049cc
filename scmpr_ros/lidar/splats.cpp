// Draws the points near each place as splats into a panorama, the nearest in front.
//
// Compiled by splat_kernel.py. Each thread draws whole places. Ranges are computed exactly as in
// splatting.py; rows and columns only nearly: a point too close to the edge of a cell for its cell
// to be certain is not drawn but listed, and splatting.py draws it. So both give the same picture.
//
// A splat is not drawn point by point: the points whose splats have the same radius share a buffer,
// where each only counts in its central cell. Widening each buffer by its splat at the end gives
// the same minimum in every cell, with a cost that does not grow with the number of points.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

constexpr int64_t kNothing = std::numeric_limits<int64_t>::max();
constexpr int kBlock = 512;  // points whose cells are computed before any is drawn

struct Settings {
    float min_range_m, max_range_m, splat_radius_m, cell_rad;
    float fov_rad, fov_up_rad, row_rad, column_rad;
    int32_t height, width, is_circle, max_splat_cells;
};

// Square of the half diagonal of a splat: cells within are covered, as in splatting.py.
int half_width(int radius, int d_row) {
    const double limit = (radius + 0.5) * (radius + 0.5) - double(d_row) * d_row;
    int half = 0;
    while (half < radius && double(half + 1) * (half + 1) <= limit) ++half;
    return half;
}

// One place's buffer of the points with one splat radius, with a margin for splats at its edges.
class Layer {
public:
    Layer(const Settings& s, int radius)
        : s_(s), radius_(radius), stride_(s.width + 2 * radius),
          keys_(size_t(s.height + 2 * radius) * stride_, kNothing),
          touched_(s.height + 2 * radius, 0) {}

    // Row and column may lie up to the radius outside of the picture.
    void draw(int row, int column, int64_t key) {
        touched_[row + radius_] = 1;
        int64_t& cell = keys_[size_t(row + radius_) * stride_ + column + radius_];
        cell = std::min(cell, key);
    }

    // Widens the points to splats in the picture, and empties the buffer.
    void widen(int64_t* picture, std::vector<int64_t>& wide) {
        wide.resize(size_t(radius_ + 1) * s_.width);
        for (int row = -radius_; row < s_.height + radius_; ++row) {
            if (!touched_[row + radius_]) continue;
            int64_t* keys = &keys_[size_t(row + radius_) * stride_];
            wrap(keys);
            widen_row(keys + radius_, wide);
            for (int d_row = -radius_; d_row <= radius_; ++d_row) {
                if (row + d_row < 0 || row + d_row >= s_.height) continue;
                const int64_t* from = &wide[size_t(half_width(radius_, d_row)) * s_.width];
                int64_t* to = picture + size_t(row + d_row) * s_.width;
                for (int c = 0; c < s_.width; ++c) to[c] = to[c] < from[c] ? to[c] : from[c];
            }
            std::fill_n(keys, stride_, kNothing);
            touched_[row + radius_] = 0;
        }
    }

private:
    // Repeats the two ends of a full circle in each other's margin.
    void wrap(int64_t* keys) const {
        if (!s_.is_circle) return;
        for (int i = 0; i < radius_; ++i) {
            const int left = ((-radius_ + i) % s_.width + s_.width) % s_.width;
            keys[i] = keys[radius_ + left];
            keys[radius_ + s_.width + i] = keys[radius_ + i % s_.width];
        }
    }

    // Minimum within w columns to both sides, for each w up to the radius.
    void widen_row(const int64_t* keys, std::vector<int64_t>& wide) const {
        std::copy_n(keys, s_.width, wide.begin());
        for (int w = 1; w <= radius_; ++w) {
            const int64_t* narrow = &wide[size_t(w - 1) * s_.width];
            int64_t* to = &wide[size_t(w) * s_.width];
            for (int c = 0; c < s_.width; ++c) {
                const int64_t left = keys[c - w], right = keys[c + w];
                const int64_t aside = left < right ? left : right;
                to[c] = narrow[c] < aside ? narrow[c] : aside;
            }
        }
    }

    Settings s_;
    int radius_, stride_;
    std::vector<int64_t> keys_;
    std::vector<uint8_t> touched_;
};

// Range with one rounding for each operation, as in splatting.py: fused, or in double.
inline float squares(float x, float y, float z) {
#ifdef __FMA__
    return __builtin_fmaf(z, z, __builtin_fmaf(y, y, x * x));
#else
    const float xy = float(double(y) * y + double(x * x));
    return float(double(z) * z + double(xy));
#endif
}

// Angle of (x, y) with x >= 0 in radians, within 3e-7: a minimax polynomial of atan on [0, 1].
inline float angle(float x, float y) {
    const float a = std::fabs(y);
    const float low = a < x ? a : x, high = a < x ? x : a;
    const float q = low / (high + 1e-30f), t = q * q;
    float p = 0.0026222278f;
    p = p * t - 0.0151324665f;
    p = p * t + 0.0411217414f;
    p = p * t - 0.0736669551f;
    p = p * t + 0.1057392679f;
    p = p * t - 0.1418597384f;
    p = p * t + 0.1999039643f;
    p = p * t - 0.3333298705f;
    p = p * t * q + q;
    p = a < x ? p : 1.57079637f - p;
    return y < 0 ? -p : p;
}

inline float distance_to_edge(float x) {
    return std::fabs(x - std::nearbyint(x));
}

// Cells of a block of points.
struct Block {
    float range_m[kBlock];
    int32_t row[kBlock], column[kBlock], radius[kBlock];
    int32_t state[kBlock];
};

enum State { kHidden, kDrawn, kUnsure };

// One loop without branches, so that compilers turn it into vectors.
void compute_cells(const float* __restrict x, const float* __restrict y, const float* __restrict z,
                   int count, const float* p, const float* axes, const Settings& s,
                   Block* __restrict block) {
    const float px = p[0], py = p[1], pz = p[2];
    const float ax = axes[0], ay = axes[3], az = axes[6];
    const float lx = axes[1], ly = axes[4], lz = axes[7];
    const float ux = axes[2], uy = axes[5], uz = axes[8];
    const float per_row = 1 / s.row_rad, per_column = 1 / s.column_rad;
    const float height = float(s.height), width = float(s.width);
    const float half = 0.5f * width, fov_up = s.fov_up_rad * per_row;
    const float most = float(s.max_splat_cells), splat_m = s.splat_radius_m, cell = s.cell_rad;
    const float nearest = s.min_range_m, farthest = s.max_range_m;
    // Several times the errors of both ways to compute a row and a column, in cells.
    const float unsure_column = 2e-6f * per_column + 1e-6f * width;
    const float unsure_row = 2e-6f * per_row + 1e-6f * height;
    const float far_aside = s.is_circle ? 1e9f : 0.0f;
    for (int i = 0; i < count; ++i) {
        const float dx = x[i] - px, dy = y[i] - py, dz = z[i] - pz;
        const float range = std::sqrt(squares(dx, dy, dz));
        const float ahead = dx * ax + dy * ay + dz * az;
        const float left = dx * lx + dy * ly + dz * lz;
        const float up = dx * ux + dy * uy + dz * uz;
        const float acute = angle(std::fabs(ahead), left);
        const float turned = std::copysign(3.14159274f, left) - acute;
        const float azimuth = ahead < 0 ? turned : acute;
        const float flat = std::sqrt(std::fabs(range * range - up * up));
        const float c = half - azimuth * per_column;
        const float r = fov_up - angle(flat, up) * per_row;
        const float cells = std::nearbyint((1 / (range * cell)) * splat_m);
        const float radius = cells < most ? cells : most;
        // Near the pole the elevation is ill-conditioned.
        const float pole = 1e-6f * per_row * range / (flat + 1e-3f * range);
        const float off_column = std::fabs(c - std::nearbyint(c));
        const float off_row = std::fabs(r - std::nearbyint(r));
        const float margin = radius + 1;
        const float aside = margin + far_aside;
        const int unsure = (off_column < unsure_column) | (off_row < unsure_row + pole);
        const int seen = (range >= nearest) & (range <= farthest)
            & (r > -margin) & (r < height + margin) & (c > -aside) & (c < width + aside);
        block->range_m[i] = range;
        block->row[i] = int32_t(std::floor(r));
        block->column[i] = int32_t(std::floor(c));
        block->radius[i] = int32_t(radius);
        block->state[i] = seen ? (unsure ? kUnsure : kDrawn) : kHidden;
    }
}

}  // namespace

// Draws `places` pictures of (height, width) keys, `range in mm << 32 | number of the point`.
// xyz: (3, points); number: (points,). runs: (2, number of runs) first and last point + 1;
// the runs of place i are those from first_run[i] to first_run[i + 1]. Listed points: (2, capacity)
// place and sorted point. Returns how many there are; if more than the capacity, call again.
extern "C" int64_t draw(
    const float* xyz, const int32_t* number, int64_t points, const int64_t* runs,
    const int64_t* first_run, int64_t places, const float* positions, const float* axes,
    const Settings* settings, int64_t* pictures, int64_t* listed, int64_t capacity, int threads) {
    const Settings s = *settings;
    const int64_t num_runs = first_run[places], cells = int64_t(s.height) * s.width;
    const float *xs = xyz, *ys = xyz + points, *zs = xyz + 2 * points;
    int64_t num_listed = 0;
#pragma omp parallel num_threads(threads)
    {
        std::vector<Layer> layers;
        for (int radius = 0; radius <= s.max_splat_cells; ++radius) layers.emplace_back(s, radius);
        std::vector<int64_t> wide, own;
        Block block;
#pragma omp for schedule(dynamic)
        for (int64_t place = 0; place < places; ++place) {
            own.clear();
            for (int64_t run = first_run[place]; run < first_run[place + 1]; ++run) {
                const int64_t stop = runs[num_runs + run];
                for (int64_t begin = runs[run]; begin < stop; begin += kBlock) {
                    const int count = int(std::min<int64_t>(kBlock, stop - begin));
                    compute_cells(xs + begin, ys + begin, zs + begin, count, positions + 3 * place,
                                  axes + 9 * place, s, &block);
                    for (int i = 0; i < count; ++i) {
                        if (block.state[i] == kUnsure) own.push_back(begin + i);
                        if (block.state[i] != kDrawn) continue;
                        const int radius = block.radius[i], row = block.row[i];
                        int column = block.column[i];
                        if (s.is_circle) {
                            column = column < 0 ? column + s.width : column;
                            column = column >= s.width ? column - s.width : column;
                        } else if (column < -radius || column >= s.width + radius) {
                            continue;
                        }
                        if (row < -radius || row >= s.height + radius) continue;
                        const int64_t mm = int64_t(block.range_m[i] * 1000.0f);
                        layers[radius].draw(row, column, mm << 32 | number[begin + i]);
                    }
                }
            }
            int64_t* picture = pictures + place * cells;
            std::fill_n(picture, cells, kNothing);
            for (Layer& layer : layers) layer.widen(picture, wide);
            int64_t at;
#pragma omp atomic capture
            { at = num_listed; num_listed += int64_t(own.size()); }
            for (size_t i = 0; i < own.size() && at + int64_t(i) < capacity; ++i) {
                listed[at + i] = place;
                listed[capacity + at + i] = own[i];
            }
        }
    }
    return num_listed;
}
