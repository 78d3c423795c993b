/* SPDX-License-Identifier: Apache-2.0
 *
 * The caches of rows. Why what they say is never stale: unwind_objects.c.
 *
 * Path up: a pc that is not there is looked up in its object's tables, which costs about a
 * microsecond; its row gets a number, or is found to have one, and the pc is entered with it. 4096
 * rows are kept, for good; what comes later is looked up in the tables each time.
 *
 * SYNCHRONIZATION
 *  1. An entry is one word that holds both its key and its row's number, so it cannot be torn. Any
 *     thread may overwrite any entry at any time (store-release); a reader (load-acquire) sees a
 *     whole entry or another whole entry, and the key in the word it read says whose it is.
 *  2. A row is written once. Its slot goes from EMPTY to BUSY by compare-and-swap, which gives one
 *     thread the right to write it, and to READY by a store-release. Its number is handed out only
 *     after that, through 1, so whoever has the number sees the row. Nobody waits for a BUSY slot:
 *     they use the next one, at the worst a row is held twice. A thread that never comes back to
 *     its BUSY slot costs that slot.
 *
 * Must never take a lock or allocate.
 */
#include "sample/unwind_rows.h"

#include <string.h>

#include "base/bits.h"
#include "sample/unwind.h"

enum { PROBE_MAX = 32 }; /* slots looked at before giving up */

enum slot_state { SLOT_EMPTY, SLOT_BUSY, SLOT_READY };

MAL_LINE_ALIGNED uint64_t mal_unwind_entries[MAL_UNWIND_ENTRY_COUNT];
MAL_LINE_ALIGNED struct mal_unwind_row_slot mal_unwind_rows[MAL_UNWIND_ROW_COUNT];

static uint64_t hash_row(const struct mal_unwind_row *row) {
    uint64_t hash = 0;
    for (unsigned i = 0; i < MAL_UNWIND_SP; i++)
        hash = mal_unwind_absorb(hash, (uint16_t)row->saved[i]);
    hash = mal_unwind_absorb(hash, (uint64_t)row->cfa_reg << 32 | (uint32_t)row->cfa_offset);
    return mal_mix(hash ^ row->flags ^ (uint64_t)row->base_mask << 16 ^ row->base_reg);
}

/* Gives the row to the slot, or finds it there. Rule 2. */
static bool slot_holds(struct mal_unwind_row_slot *slot, const struct mal_unwind_row *row) {
    uint32_t empty = SLOT_EMPTY;
    if (mal_load_relaxed(&slot->state) == SLOT_EMPTY &&
        mal_cas_acquire(&slot->state, &empty, SLOT_BUSY)) {
        slot->row = *row;
        mal_store_release(&slot->state, SLOT_READY);
        return true;
    }
    /* A failed exchange acquires nothing: what it found may be the other thread's READY. */
    return mal_load_acquire(&slot->state) == SLOT_READY &&
           memcmp(&slot->row, row, sizeof *row) == 0;
}

/* The number of a row like `row`, or MAL_UNWIND_ROW_COUNT when there is no more room. */
static size_t intern(const struct mal_unwind_row *row) {
    uint64_t hash = hash_row(row);
    for (size_t i = 0; i < PROBE_MAX; i++) {
        size_t at = (hash + i) % MAL_UNWIND_ROW_COUNT;
        if (slot_holds(&mal_unwind_rows[at], row))
            return at;
    }
    return MAL_UNWIND_ROW_COUNT;
}

/* Into the first empty place of its set, or over whoever is at its first place. Rule 1. */
static void remember(uint64_t key, size_t row) {
    size_t at = mal_unwind_entry_of(key);
    size_t place = 0;
    for (size_t i = MAL_UNWIND_SET_ENTRIES; i-- > 0;) {
        if (mal_load_relaxed(&mal_unwind_entries[at ^ i]) == 0)
            place = i;
    }
    mal_store_release(&mal_unwind_entries[at ^ place], key << MAL_UNWIND_ROW_BITS | row);
}

const struct mal_unwind_row *mal_unwind_row_read(const struct mal_unwind_object *here, uintptr_t pc,
                                                 struct mal_unwind_row *scratch) {
    struct mal_unwind_image image = {here->lo, here->lo + here->bytes, here->hdr};
    mal_unwind_cfi_row(&image, pc, scratch);
    mal_add_relaxed(&mal_unwind_stats.misses, 1);
    size_t row = intern(scratch);
    if (row == MAL_UNWIND_ROW_COUNT || here->key == 0) {
        mal_add_relaxed(&mal_unwind_stats.uncached, 1);
        return scratch;
    }
    remember(here->key + (pc - here->lo), row);
    return &mal_unwind_rows[row].row;
}

void mal_unwind_rows_forget(void) {
    for (size_t i = 0; i < MAL_UNWIND_ENTRY_COUNT; i++)
        mal_store_relaxed(&mal_unwind_entries[i], 0);
}
