/* SPDX-License-Identifier: Apache-2.0
 *
 * Kinds of objects under the names of Boehm's collector: each is scanned word by word, or not at
 * all. Mark procedures of the program's own (GC_new_proc, GC_mark_and_push, GC_MAKE_PROC) are not
 * there. By contract one looks only where a scan word by word would look too, which could then take
 * its place; but those that are in use lead out of the heap (Guile's mark the stacks of its virtual
 * machine), so what they would mark would be lost.
 */
#ifndef MALLARD_BDWGC_GC_MARK_H
#define MALLARD_BDWGC_GC_MARK_H

#include "gc.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GC_DS_TAG_BITS 2
#define GC_DS_TAGS ((1 << GC_DS_TAG_BITS) - 1)
#define GC_DS_LENGTH 0
#define GC_DS_BITMAP 1
#define GC_DS_PER_OBJECT 3

void **GC_new_free_list(void); /* for GC_new_kind, and nothing else */
/* A descriptor of no length is for objects that are not scanned; all others are word by word.
 * UINT_MAX, which GC_generic_malloc refuses, when there are too many. */
unsigned GC_new_kind(void **free_list, GC_word descriptor, int add_size, int clear);
void *GC_generic_malloc(size_t bytes, int kind);
void *GC_generic_malloc_ignore_off_page(size_t bytes, int kind);

#ifdef __cplusplus
}
#endif

#endif
