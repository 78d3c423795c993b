/* SPDX-License-Identifier: Apache-2.0
 *
 * History rows: their slope, fewer of them, and as JSON. Rows may come from a hostile box: their
 * times need not grow, so nothing here divides by a distance that may be zero.
 */
#include "view/history.h"

#define SECOND_NS 1000000000u
#define GROWTH_MIN_NS (60ull * SECOND_NS)
#define GROWTH_MAX_NS (3600ull * SECOND_NS)
#define HOUR_SECONDS 3600.0

/* -------------------------------------------------------------------------------------- growth */

struct fit {
    double n, x, y, xx, xy; /* sums; x in seconds before the newest row, y in bytes */
};

static void fit_add(struct fit *fit, double x, double y) {
    fit->n += 1;
    fit->x += x;
    fit->y += y;
    fit->xx += x * x;
    fit->xy += x * y;
}

static int64_t clamped(double value) {
    if (!(value > -9e18))
        return INT64_MIN;
    return value < 9e18 ? (int64_t)value : INT64_MAX;
}

bool view_history_growth(const struct mal_box_history_row *rows, size_t count, int64_t *ret_slope) {
    struct fit fit = {0};
    uint64_t widest_ns = 0;
    if (count == 0)
        return false;
    const struct mal_box_history_row *last = &rows[count - 1];
    for (size_t i = count; i-- > 0;) {
        uint64_t age_ns = last->unix_ns - rows[i].unix_ns;
        if (rows[i].unix_ns > last->unix_ns || age_ns > GROWTH_MAX_NS)
            break;
        widest_ns = age_ns > widest_ns ? age_ns : widest_ns;
        fit_add(&fit, -(double)age_ns / SECOND_NS, (double)rows[i].heap_alloc_bytes);
    }
    double spread = fit.n * fit.xx - fit.x * fit.x;
    if (widest_ns < GROWTH_MIN_NS || spread <= 0)
        return false;
    *ret_slope = clamped((fit.n * fit.xy - fit.x * fit.y) / spread * HOUR_SECONDS);
    return true;
}

/* ------------------------------------------------------------------------------------ thinning */

/* In which of `count` equal stretches of the time from `first` to `last` a row lies. */
static size_t stretch_of(uint64_t unix_ns, uint64_t first, uint64_t last, size_t count) {
    if (last <= first || unix_ns <= first)
        return 0;
    double share = (double)(unix_ns - first) / (double)(last - first);
    return share < 1 ? (size_t)(share * (double)count) : count - 1;
}

/* Between the two ends there is room for `points` - 2 rows, one for each stretch. Rows move to the
 * front while they are read, never past the one being read. */
size_t view_history_thin(struct mal_box_history_row *rows, size_t count, size_t points) {
    if (points < 2)
        points = 2;
    if (count <= points)
        return count;
    const struct mal_box_history_row last = rows[count - 1];
    const uint64_t first_ns = rows[0].unix_ns;
    size_t kept = 1, newest = SIZE_MAX;
    for (size_t i = 1; points > 2 && i < count - 1; i++) {
        size_t stretch = stretch_of(rows[i].unix_ns, first_ns, last.unix_ns, points - 2);
        if (stretch != newest && kept < points - 1)
            rows[kept++] = rows[i];
        else if (rows[i].rss_bytes > rows[kept - 1].rss_bytes)
            rows[kept - 1] = rows[i];
        newest = stretch;
    }
    rows[kept++] = last;
    return kept;
}

/* ---------------------------------------------------------------------------------------- JSON */

#define COLUMNS(X)                                                                                 \
    X(unix_ns)                                                                                     \
    X(rss_bytes)                                                                                   \
    X(heap_alloc_bytes)                                                                            \
    X(heap_inuse_bytes)                                                                            \
    X(heap_idle_bytes)                                                                             \
    X(heap_released_bytes)                                                                         \
    X(cache_bytes)                                                                                 \
    X(span_free_bytes)                                                                             \
    X(tables_bytes)                                                                                \
    X(profiler_bytes)                                                                              \
    X(mallocs)                                                                                     \
    X(frees)                                                                                       \
    X(total_alloc_bytes)                                                                           \
    X(next_gc_bytes)                                                                               \
    X(num_gc)

static void row_json(const struct mal_box_history_row *row, struct view_json *json) {
    view_json_array(json, NULL);
#define PUT_VALUE(name) view_json_unsigned(json, NULL, row->name);
    COLUMNS(PUT_VALUE)
#undef PUT_VALUE
    view_json_array_end(json);
}

static uint64_t step_of(const struct mal_box_history_row *rows, size_t count) {
    if (count < 2 || rows[count - 1].unix_ns <= rows[0].unix_ns)
        return SECOND_NS;
    return (rows[count - 1].unix_ns - rows[0].unix_ns) / (count - 1);
}

void view_history_json(const struct mal_box_history_row *rows, size_t count,
                       struct view_json *json) {
    view_json_unsigned(json, "step_ns", step_of(rows, count));
    view_json_array(json, "columns");
#define PUT_NAME(name) view_json_text(json, NULL, #name);
    COLUMNS(PUT_NAME)
#undef PUT_NAME
    view_json_array_end(json);
    view_json_array(json, "rows");
    for (size_t i = 0; i < count; i++)
        row_json(&rows[i], json);
    view_json_array_end(json);
}
