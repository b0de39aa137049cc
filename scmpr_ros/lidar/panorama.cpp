// Draws the points near each place into a panorama: `draw_splats` as splatting.py, `draw_rays` as
// ray_sampling.py, which explain what is drawn. Compiled by panorama_kernel.py. Each thread draws whole
// places.
//
// Ranges and distances from rays are computed exactly as there; rows and columns only nearly. So a
// splat too close to the edge of a cell for its cell to be certain is not drawn but listed, and
// splatting.py draws it; and rays are looked for in a slightly larger window.
//
// Splats are not drawn cell by cell: the points whose splats have the same radius share a buffer,
// where each only counts in its central cell. Widening each buffer by its splat at the end gives
// the same minimum in every cell, with a cost that does not grow with the number of points.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace {

constexpr int64_t kNothing = std::numeric_limits<int64_t>::max();
constexpr int kBlock = 512;  // points whose cells are computed before any is drawn

struct Settings {
    float min_range_m, max_range_m, splat_radius_m, cell_rad;
    float fov_up_rad, row_rad, column_rad, splat_radius2_m2;
    int32_t height, width, is_circle, max_splat_cells, surface_mm;
};

// Columns to each side that a splat covers in one of its rows: a disc, as in splatting.py.
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

// Squared norm with one rounding for each fused multiply-add, as in splatting.py.
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

// One place: its position and its axes, as columns of a row-major matrix.
struct Pose {
    Pose(const float* p, const float* a)
        : px(p[0]), py(p[1]), pz(p[2]), ax(a[0]), ay(a[3]), az(a[6]), lx(a[1]), ly(a[4]),
          lz(a[7]), ux(a[2]), uy(a[5]), uz(a[8]) {}
    float px, py, pz, ax, ay, az, lx, ly, lz, ux, uy, uz;
};

// Azimuth to the left, within 4e-7.
inline float azimuth_of(float ahead, float left) {
    const float acute = angle(std::fabs(ahead), left);
    const float turned = std::copysign(3.14159274f, left) - acute;
    return ahead < 0 ? turned : acute;
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
                   int count, const Pose pose, const Settings& s, Block* __restrict block) {
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
        const float dx = x[i] - pose.px, dy = y[i] - pose.py, dz = z[i] - pose.pz;
        const float range = std::sqrt(squares(dx, dy, dz));
        const float ahead = dx * pose.ax + dy * pose.ay + dz * pose.az;
        const float left = dx * pose.lx + dy * pose.ly + dz * pose.lz;
        const float up = dx * pose.ux + dy * pose.uy + dz * pose.uz;
        const float flat = std::sqrt(std::fabs(range * range - up * up));
        const float c = half - azimuth_of(ahead, left) * per_column;
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

// Rays in reach of a block of points: the first row and column, and how many.
struct Windows {
    float ahead[kBlock], left[kBlock], up[kBlock];
    int32_t mm[kBlock], row[kBlock], rows[kBlock], column[kBlock], columns[kBlock];
};

void compute_windows(const float* __restrict x, const float* __restrict y,
                     const float* __restrict z, int count, const Pose pose, const Settings& s,
                     Windows* __restrict w) {
    const float per_row = 1 / s.row_rad, per_column = 1 / s.column_rad;
    const float height = float(s.height), width = float(s.width);
    const float half = 0.5f * width, fov_up = s.fov_up_rad * per_row;
    const float radius = s.splat_radius_m;
    const float nearest = s.min_range_m, farthest = s.max_range_m;
    const float low_column = s.is_circle ? -1e9f : 0.0f;
    const float high_column = s.is_circle ? 1e9f : width - 1;
    for (int i = 0; i < count; ++i) {
        const float dx = x[i] - pose.px, dy = y[i] - pose.py, dz = z[i] - pose.pz;
        const float range = std::sqrt(squares(dx, dy, dz));
        const float ahead = dx * pose.ax + dy * pose.ay + dz * pose.az;
        const float left = dx * pose.lx + dy * pose.ly + dz * pose.lz;
        const float up = dx * pose.ux + dy * pose.uy + dz * pose.uz;
        const float flat = std::sqrt(ahead * ahead + left * left);
        const float c = half - 0.5f - azimuth_of(ahead, left) * per_column;
        const float r = fov_up - 0.5f - angle(flat, up) * per_row;
        // Arc sines up to a half are at most 1.05 of their arguments.
        const float reach_rows = 1.05f * radius / range * per_row + 0.02f;
        const float some = 1.05f * radius / flat * per_column + 0.02f;
        const float reach_columns = flat > 2 * radius ? some : width;
        const float first_row = std::max(std::ceil(r - reach_rows), 0.0f);
        const float last_row = std::min(std::floor(r + reach_rows), height - 1);
        const float first_column = std::max(std::ceil(c - reach_columns), low_column);
        const float last_column = std::min(std::floor(c + reach_columns), high_column);
        const float columns = std::min(last_column - first_column + 1, width);
        const bool seen = (range >= nearest) & (range <= farthest) & (columns > 0);
        w->ahead[i] = ahead;
        w->left[i] = left;
        w->up[i] = up;
        w->mm[i] = int32_t(range * 1000.0f);
        w->row[i] = int32_t(first_row);
        w->rows[i] = seen ? int32_t(last_row - first_row + 1) : 0;
        w->column[i] = int32_t(first_column);
        w->columns[i] = int32_t(columns);
    }
}

// A point near the ray of a cell; `near` orders by distance from the ray, then by number.
struct Hit {
    int64_t near;
    int32_t cell, mm;
};

// Sines and cosines of the rows' elevations and of the columns' azimuths.
struct Rays {
    const float *cos_row, *sin_row, *cos_column, *sin_column;
};

void find_hits(const Windows& w, int i, int32_t number, const Settings& s, const Rays& rays,
               std::vector<int32_t>& front, std::vector<Hit>& hits) {
    for (int row = w.row[i]; row < w.row[i] + w.rows[i]; ++row) {
        for (int k = 0; k < w.columns[i]; ++k) {
            int column = w.column[i] + k;
            if (s.is_circle) column = ((column % s.width) + s.width) % s.width;
            const float x = rays.cos_row[row] * rays.cos_column[column];
            const float y = rays.cos_row[row] * rays.sin_column[column];
            const float z = rays.sin_row[row];
            const float cx = w.left[i] * z - w.up[i] * y;
            const float cy = w.up[i] * x - w.ahead[i] * z;
            const float cz = w.ahead[i] * y - w.left[i] * x;
            const float off2 = cx * cx + cy * cy + cz * cz;
            if (!(off2 <= s.splat_radius2_m2)) continue;
            const int32_t cell = row * s.width + column;
            int32_t order;  // floats from zero up are ordered as their bits
            std::memcpy(&order, &off2, sizeof order);
            front[cell] = std::min(front[cell], w.mm[i]);
            hits.push_back({int64_t(order) << 32 | number, cell, w.mm[i]});
        }
    }
}

}  // namespace

// Points, and those near each place: runs of the place i are from first_run[i] to first_run[i + 1].
struct Scene {
    const float* xyz;        // (3, points)
    const int32_t* number;   // (points,)
    const int64_t* runs;     // (2, number of runs): first point, last point + 1
    const int64_t* first_run;
    const float *positions, *axes;  // (places, 3), (places, 3, 3)
    int64_t points, num_runs, places;

    Pose pose(int64_t place) const { return Pose(positions + 3 * place, axes + 9 * place); }

    // Calls use(first point, count) for each block of points near a place.
    template <class Use>
    void blocks(int64_t place, Use use) const {
        for (int64_t run = first_run[place]; run < first_run[place + 1]; ++run) {
            const int64_t stop = runs[num_runs + run];
            for (int64_t begin = runs[run]; begin < stop; begin += kBlock) {
                use(begin, int(std::min<int64_t>(kBlock, stop - begin)));
            }
        }
    }

    const float* x(int64_t i) const { return xyz + i; }
    const float* y(int64_t i) const { return xyz + points + i; }
    const float* z(int64_t i) const { return xyz + 2 * points + i; }
};

// Draws pictures of (height, width) keys, `range in mm << 32 | number of the point`. Lists points
// that are not drawn, (2, capacity) place and sorted point, and returns how many there are: if more
// than the capacity, call again.
extern "C" int64_t draw_splats(const Scene* scene, const Settings* settings, int64_t* pictures,
                               int64_t* listed, int64_t capacity, int threads) {
    const Settings s = *settings;
    const int64_t cells = int64_t(s.height) * s.width;
    int64_t num_listed = 0;
#pragma omp parallel num_threads(threads)
    {
        std::vector<Layer> layers;
        for (int radius = 0; radius <= s.max_splat_cells; ++radius) layers.emplace_back(s, radius);
        std::vector<int64_t> wide, own;
        Block block;
#pragma omp for schedule(dynamic)
        for (int64_t place = 0; place < scene->places; ++place) {
            own.clear();
            const Pose pose = scene->pose(place);
            scene->blocks(place, [&](int64_t begin, int count) {
                compute_cells(scene->x(begin), scene->y(begin), scene->z(begin), count, pose, s,
                              &block);
                for (int i = 0; i < count; ++i) {
                    if (block.state[i] == kUnsure) own.push_back(begin + i);
                    if (block.state[i] != kDrawn) continue;
                    const int radius = block.radius[i], row = block.row[i];
                    const int column = block.column[i];
                    if (row < -radius || row >= s.height + radius || column < -radius
                        || column >= s.width + radius) continue;
                    const int64_t mm = int64_t(block.range_m[i] * 1000.0f);
                    layers[radius].draw(row, column, mm << 32 | scene->number[begin + i]);
                }
            });
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

// Draws pictures of the same keys, of the points nearest to the ray of each cell.
extern "C" void draw_rays(const Scene* scene, const Settings* settings, const Rays* rays,
                          int64_t* pictures, int threads) {
    const Settings s = *settings;
    const int64_t cells = int64_t(s.height) * s.width;
#pragma omp parallel num_threads(threads)
    {
        std::vector<int32_t> front(cells), mm(cells);
        std::vector<Hit> hits;
        Windows windows;
#pragma omp for schedule(dynamic)
        for (int64_t place = 0; place < scene->places; ++place) {
            std::fill(front.begin(), front.end(), std::numeric_limits<int32_t>::max());
            hits.clear();
            const Pose pose = scene->pose(place);
            scene->blocks(place, [&](int64_t begin, int count) {
                compute_windows(scene->x(begin), scene->y(begin), scene->z(begin), count, pose, s,
                                &windows);
                for (int i = 0; i < count; ++i) {
                    if (windows.rows[i] > 0) {
                        find_hits(windows, i, scene->number[begin + i], s, *rays, front, hits);
                    }
                }
            });
            int64_t* picture = pictures + place * cells;
            std::fill_n(picture, cells, kNothing);
            for (const Hit& hit : hits) {
                if (hit.mm > front[hit.cell] + s.surface_mm || hit.near >= picture[hit.cell]) continue;
                picture[hit.cell] = hit.near;
                mm[hit.cell] = hit.mm;
            }
            for (int64_t cell = 0; cell < cells; ++cell) {
                if (picture[cell] == kNothing) continue;
                picture[cell] = int64_t(mm[cell]) << 32 | (picture[cell] & 0xFFFFFFFF);
            }
        }
    }
}
