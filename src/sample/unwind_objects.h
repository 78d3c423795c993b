/* SPDX-License-Identifier: Apache-2.0
 *
 * Loaded objects as a walk knows them: an address range, and a number that says what is in it.
 */
#ifndef MAL_SAMPLE_UNWIND_OBJECTS_H
#define MAL_SAMPLE_UNWIND_OBJECTS_H

#include "base/attr.h"
#include "base/bits.h"

#include <stdbool.h>
#include <stdint.h>

#define MAL_UNWIND_OFFSET_BITS 40 /* of an address within an object */

/* `key` is the number of the object's contents, in place for an entry's key (unwind_rows.h); 0 is
 * "no number". */
struct mal_unwind_object {
    uintptr_t lo;
    uintptr_t bytes;
    uint64_t key;
    uintptr_t hdr; /* its .eh_frame_hdr */
};

MAL_FAST bool mal_unwind_object_covers(const struct mal_unwind_object *object, uintptr_t pc) {
    return pc - object->lo < object->bytes;
}

MAL_FAST uint64_t mal_unwind_absorb(uint64_t print, uint64_t word) {
    return mal_rotate_right((print ^ word) * 0x9e3779b97f4a7c15ull, 29);
}

/* The object around `pc`; false when there is none with unwind tables. */
bool mal_unwind_object_find(uintptr_t pc, struct mal_unwind_object *ret_object);

/* The object around `pc`, if it is one of those that are never unloaded; else NULL. They are found
 * out first where that was not done yet, or only looked at. */
const struct mal_unwind_object *mal_unwind_lasting_find(uintptr_t pc);
const struct mal_unwind_object *mal_unwind_lasting_at(uintptr_t pc);

#endif
