/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of this folder share.
 */
#ifndef BDWGC_PRIVATE_H
#define BDWGC_PRIVATE_H

#define GC_NO_THREAD_REDIRECTS
#include "mallard/bdwgc/gc/gc.h"

#define BDWGC_PUBLIC __attribute__((visibility("default")))

/* Each guards what the file says that takes it. */
enum bdwgc_lock {
    BDWGC_ALLOCATION, /* the program's: GC_call_with_alloc_lock */
    BDWGC_FINALIZERS,
    BDWGC_ROOTS,
    BDWGC_SETTINGS,
    BDWGC_TYPES,
    BDWGC_UNCOLLECTABLE,
    BDWGC_LOCKS
};
void bdwgc_lock(enum bdwgc_lock which);
void bdwgc_unlock(enum bdwgc_lock which);

/* In a forked child: the threads that were in GC_gcollect are not there. */
void bdwgc_forget_collecting(void);

/* Before an object is allocated: runs what the collector has left for a thread of the program. */
void bdwgc_before_allocating(void);

/* What memory was asked for and not had: what the program's procedure answers. */
void *bdwgc_no_memory(size_t bytes);

/* Runs finalizers that wait, unless the program wants to do it itself or one is running here. */
void bdwgc_finalize_some(void);
extern int bdwgc_finalizers_wait; /* atomic; a hint */
int bdwgc_is_finalizing(void);    /* the calling thread, at this moment */

/* The number of the last cycle, and of the one that the program was told of; atomic. */
extern GC_word bdwgc_cycle, bdwgc_cycle_told;
/* The program's start callback, if there is one, once for each cycle. */
void bdwgc_tell_cycle(void);

/* Whether the object was uncollectable; it is not any more. */
int bdwgc_forget_uncollectable(void *object);

#endif
