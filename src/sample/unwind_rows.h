/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of unwind tables that were read before: from a place in an object to its row.
 *
 *     (object, offset) -> row number     mal_unwind_entries, 8192 words in sets of eight
 *     row number -> row                  mal_unwind_rows, at most 4096 different ones
 */
#ifndef MAL_SAMPLE_UNWIND_ROWS_H
#define MAL_SAMPLE_UNWIND_ROWS_H

#include "base/atomic.h"
#include "base/attr.h"
#include "sample/unwind_cfi.h"
#include "sample/unwind_objects.h"

#include <stddef.h>
#include <stdint.h>

enum {
    MAL_UNWIND_ENTRY_BITS = 13,
    MAL_UNWIND_ENTRY_COUNT = 1 << MAL_UNWIND_ENTRY_BITS,
    MAL_UNWIND_SET_ENTRIES = MAL_CACHE_LINE_BYTES / 8,
    MAL_UNWIND_ROW_BITS = 12,
    MAL_UNWIND_ROW_COUNT = 1 << MAL_UNWIND_ROW_BITS,
};

struct mal_unwind_row_slot {
    struct mal_unwind_row row; /* constant once its number is known to anybody */
    uint32_t state;            /* unwind_rows.c, rule 2 */
} __attribute__((aligned(32)));

/* object number:12 | offset in the object:40 | row number:12; 0 is an empty entry. Acquire. */
extern MAL_HIDDEN uint64_t mal_unwind_entries[MAL_UNWIND_ENTRY_COUNT];
extern MAL_HIDDEN struct mal_unwind_row_slot mal_unwind_rows[MAL_UNWIND_ROW_COUNT];

/* Reads the tables for a pc in `here`, keeps the row if there is room, and else leaves it in
 * *scratch. */
MAL_SLOW const struct mal_unwind_row *mal_unwind_row_read(const struct mal_unwind_object *here,
                                                          uintptr_t pc,
                                                          struct mal_unwind_row *scratch);

/* Forgets every place. Safe beside walks in other threads; for tests. */
void mal_unwind_rows_forget(void);

MAL_FAST size_t mal_unwind_entry_of(uint64_t key) {
    return (key * 0x9e3779b97f4a7c15ull) >> (64 - MAL_UNWIND_ENTRY_BITS);
}

/* The row of a pc in `here`. */
MAL_FAST const struct mal_unwind_row *mal_unwind_row_at(const struct mal_unwind_object *here,
                                                        uintptr_t pc,
                                                        struct mal_unwind_row *scratch) {
    uint64_t key = here->key + (pc - here->lo);
    size_t at = mal_unwind_entry_of(key);
    for (size_t i = 0; i < MAL_UNWIND_SET_ENTRIES; i++) {
        uint64_t entry = mal_load_acquire(&mal_unwind_entries[at ^ i]);
        if (MAL_LIKELY(entry >> MAL_UNWIND_ROW_BITS == key))
            return &mal_unwind_rows[entry % MAL_UNWIND_ROW_COUNT].row;
    }
    return mal_unwind_row_read(here, pc, scratch);
}

#endif
