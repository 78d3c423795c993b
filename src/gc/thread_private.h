/* SPDX-License-Identifier: Apache-2.0
 *
 * What the registry of threads (thread.c) does for the calling thread (thread_self.c).
 */
#ifndef MAL_GC_THREAD_PRIVATE_H
#define MAL_GC_THREAD_PRIVATE_H

#include "gc/thread.h"

#include <stdint.h>

/* Its record, made or found, with the stack it says; mal_gc_self from here on. NULL: no memory. */
struct mal_gc_thread *mal_gc_thread_take_record(uintptr_t stack_low, uintptr_t stack_high);
/* It runs libc's code only from here on: not stopped, not scanned. mal_gc_self is NULL then. */
void mal_gc_thread_note_leaving(struct mal_gc_thread *self);
/* Likewise, and the record is gone. */
void mal_gc_thread_drop(struct mal_gc_thread *self);

#endif
