/* SPDX-License-Identifier: Apache-2.0
 *
 * Call sites: where a heap profile's memory was allocated, by the innermost function and line.
 */
#ifndef MAL_VIEW_SITES_H
#define MAL_VIEW_SITES_H

#include "view/heap.h"
#include "view/profile.h"

#include <stddef.h>
#include <stdint.h>

struct view_site {
    const char *name, *file; /* the profile's */
    int64_t line;
    int64_t values[HEAP_VALUES];
};

/* All sites of a profile that heap_profile_build made, in memory to be freed. 0 or -ENOMEM. */
int view_sites_of(const struct view_profile *profile, struct view_site **ret_sites,
                  size_t *ret_count);

/* The largest first. */
void view_sites_sort(struct view_site *sites, size_t count, enum heap_value by);

#endif
