/* SPDX-License-Identifier: Apache-2.0
 *
 * Size classes: what sizes objects come in, and how spans of each are cut.
 *
 * Eight classes per power of two where Go has four to eight, and one for a page of 4 KiB with a
 * header; none that is not a multiple of 16 bytes, because C promises that alignment; and
 * twelve above 32 KiB: they pass through the per-CPU caches like small ones, so there is no cliff
 * at 32 KiB. Above 256 KiB an object owns a span that is cut to whole pages.
 *
 *     class byte   0          the page belongs to no span
 *                  1..85      objects of size mal_class[c].size_bytes
 *                  GC         the page belongs to the collected heap; see gc/tables.h
 *                  LARGE      first page of an object that owns its span
 *                  INSIDE     any later page of such an object
 */
#ifndef MAL_META_CLASSES_H
#define MAL_META_CLASSES_H

#include "base/attr.h"

#include <stddef.h>
#include <stdint.h>

#define MAL_PAGE_SHIFT 13
#define MAL_PAGE_BYTES (1u << MAL_PAGE_SHIFT)

#define MAL_CLASS_COUNT 86u                           /* classes are 1 .. MAL_CLASS_COUNT - 1 */
#define MAL_SMALL_CLASS_COUNT (MAL_CLASS_COUNT - 12u) /* those above 32 KiB are the last */
#define MAL_CLASS_NONE 0u
#define MAL_CLASS_GC 253u
#define MAL_CLASS_LARGE 254u
#define MAL_CLASS_INSIDE 255u

#define MAL_SMALL_MAX_BYTES 32768u
#define MAL_MEDIUM_MAX_BYTES 262144u
#define MAL_GRANULE_SHIFT 4 /* every object starts at a multiple of 16 bytes */

struct mal_class_info {
    uint32_t size_bytes;
    uint16_t span_pages;
    uint16_t span_objects;
    uint16_t batch;        /* objects moved at once between a CPU's cache and the central list */
    uint16_t cache_limit;  /* most objects that one CPU may cache */
    uint32_t divide_magic; /* offset / size == (offset * magic) >> 32 inside one span */
};

extern MAL_HIDDEN struct mal_class_info mal_class[MAL_CLASS_COUNT];
/* By (size + 15) / 16: the class's size << 8 | class. Zero before mal_classes_init. */
extern MAL_HIDDEN uint32_t mal_small[MAL_SMALL_MAX_BYTES / 16 + 1];
extern MAL_HIDDEN uint8_t
    mal_class_of_medium[MAL_MEDIUM_MAX_BYTES / MAL_PAGE_BYTES + 1]; /* by pages */

/* Fills the tables; once, before any other use. */
void mal_classes_init(void);

/* The class for `bytes`, at most MAL_SMALL_MAX_BYTES; 0 bytes get the smallest. */
MAL_FAST uint32_t mal_class_for_small(size_t bytes) {
    return (uint8_t)mal_small[(bytes + 15) >> 4];
}

/* The class for any size up to MAL_MEDIUM_MAX_BYTES. */
static inline uint32_t mal_class_for(size_t bytes) {
    if (bytes <= MAL_SMALL_MAX_BYTES)
        return mal_class_for_small(bytes);
    return mal_class_of_medium[(bytes + MAL_PAGE_BYTES - 1) >> MAL_PAGE_SHIFT];
}

/* The smallest class of at least `bytes` whose objects are all aligned to `alignment` (a power of
 * two, at most MAL_PAGE_BYTES); 0 when there is none. */
uint32_t mal_class_for_aligned(size_t bytes, size_t alignment);

/* Object states are kept one byte per 2^shift granules: fine enough that two objects never share
 * one, because a class of size s has shift floor(log2(s / 16)), and at most 7, because the tag in a
 * state byte tells 2^7 starts apart. */
static inline unsigned mal_class_state_shift(uint32_t size_bytes) {
    unsigned shift = 31u - (unsigned)__builtin_clz(size_bytes) - MAL_GRANULE_SHIFT;
    return shift < 7 ? shift : 7;
}

#endif
