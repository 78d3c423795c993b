/* SPDX-License-Identifier: Apache-2.0
 *
 * One size class, as people ask for it.
 */
#ifndef MAL_VIEW_CLASS_H
#define MAL_VIEW_CLASS_H

#include "box/layout.h"

#include <stddef.h>
#include <stdint.h>

struct view_class {
    uint64_t size_bytes; /* 0: objects that own their span, of any size */
    uint64_t live_objects, live_bytes;
    uint64_t free_objects, free_bytes;
    uint64_t spans, span_bytes; /* of one span; 0 where they differ */
    uint64_t waste_bytes;       /* in spans, and fits no object */
};

/* `index` is below class_count and MAL_BOX_CLASSES_MAX. Sums saturate: the box may lie. */
struct view_class view_class_of(const struct mal_box_stats *stats, size_t index);

#endif
