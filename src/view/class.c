/* SPDX-License-Identifier: Apache-2.0
 *
 * A row of the size classes with its products and differences.
 */
#include "view/class.h"

static uint64_t times(uint64_t a, uint64_t b) {
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static uint64_t minus(uint64_t a, uint64_t b) {
    return a > b ? a - b : 0;
}

struct view_class view_class_of(const struct mal_box_stats *stats, size_t index) {
    const struct mal_box_class *row = &stats->by_class[index];
    struct view_class class = {.size_bytes = row->size_bytes,
                               .live_objects = minus(row->mallocs, row->frees),
                               .free_objects = row->free_objects,
                               .spans = row->spans,
                               .span_bytes = row->span_bytes};
    class.live_bytes = index == 0 ? stats->value[MAL_STAT_LARGE_ALLOC]
                                  : times(class.live_objects, class.size_bytes);
    class.free_bytes = times(class.free_objects, class.size_bytes);
    uint64_t all = times(class.spans, class.span_bytes);
    class.waste_bytes = minus(minus(all, class.live_bytes), class.free_bytes);
    return class;
}
