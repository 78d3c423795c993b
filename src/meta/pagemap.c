/* SPDX-License-Identifier: Apache-2.0
 *
 * The page map's tables. See the header for what they mean.
 *
 * Both tables are reserved for the whole window at start (address space only) and committed in
 * steps as the heap grows, so a small program has a small map and an address-space limit is
 * respected. Nothing here knows spans beyond their address.
 *
 * SYNCHRONIZATION. As the header says.
 */
#include "meta/pagemap.h"

#include "base/check.h"
#include "os/vm.h"

#include <errno.h>

#define HINT_ATTEMPTS 8

struct mal_pagemap mal_pagemap;

static const uint8_t no_state; /* zero for ever */

uint64_t mal_entry_without_states(uint32_t class) {
    return (uint64_t)(uintptr_t)&no_state << 16 | (uint64_t) class << 8 | MAL_ENTRY_NO_STATES_SHIFT;
}

/* A place counts as free when one page can be had there: the rest is asked for as the heap grows.
 */
static uintptr_t choose_base(uint64_t random) {
    size_t probe_bytes = mal_round_up(MAL_PAGE_BYTES, mal_vm_page_bytes());
    for (unsigned attempt = 0; attempt < HINT_ATTEMPTS; attempt++) {
        uintptr_t hint = mal_vm_window_hint(attempt, random);
        if (mal_vm_map_at((void *)hint, probe_bytes) != 0)
            continue;
        mal_vm_unmap((void *)hint, probe_bytes);
        return hint;
    }
    return 0;
}

int mal_pagemap_init(uint64_t random) {
    struct mal_pagemap *map = &mal_pagemap;
    map->window_bytes = mal_vm_window_bytes();
    size_t pages = map->window_bytes >> MAL_PAGE_SHIFT;
    map->base = choose_base(random);
    if (map->base == 0 ||
        mal_table_reserve(&map->entry_table, pages * sizeof *map->entry, MAL_META_SPAN) != 0 ||
        mal_table_reserve(&map->span_table, pages * sizeof *map->span, MAL_META_SPAN) != 0)
        return -ENOMEM;
    map->entry = (uint64_t *)(void *)map->entry_table.base;
    map->span = (struct mal_span **)(void *)map->span_table.base;
    return 0;
}

int mal_pagemap_extend(size_t pages) {
    struct mal_pagemap *map = &mal_pagemap;
    if (mal_table_commit(&map->entry_table, pages * sizeof *map->entry) != 0 ||
        mal_table_commit(&map->span_table, pages * sizeof *map->span) != 0)
        return -ENOMEM;
    uint64_t granules = (uint64_t)pages << MAL_GRANULES_PER_PAGE_SHIFT;
    for (size_t page = map->extent_granules >> MAL_GRANULES_PER_PAGE_SHIFT; page < pages; page++)
        mal_store_relaxed(&map->entry[page], mal_entry_without_states(MAL_CLASS_NONE));
    if (granules > map->extent_granules)
        mal_store_release(&map->extent_granules, granules);
    return 0;
}

struct mal_span *mal_pagemap_span_of(const void *address) {
    uint64_t extent = mal_load_acquire(&mal_pagemap.extent_granules);
    uint64_t offset = (uintptr_t)address - mal_pagemap.base;
    if (offset >> MAL_GRANULE_SHIFT >= extent)
        return NULL;
    size_t page = offset >> MAL_PAGE_SHIFT;
    uint32_t class = mal_entry_class(mal_load_relaxed(&mal_pagemap.entry[page]));
    while (class == MAL_CLASS_INSIDE && page > 0)
        class = mal_entry_class(mal_load_relaxed(&mal_pagemap.entry[--page]));
    return class == MAL_CLASS_NONE ? NULL : mal_load_relaxed(&mal_pagemap.span[page]);
}
