/* SPDX-License-Identifier: Apache-2.0
 *
 * What libmallard.so.0 exports for this library alone, beside its public names. Both are of one
 * version: nobody else may rely on these.
 */
#ifndef MAL_GCLIB_ENGINE_H
#define MAL_GCLIB_ENGINE_H

#include <stdbool.h>

#include "mallard/gc.h"

/* mallard_gc_blocking_begin for wrappers: 0 when the thread is not in the registry, or holds one of
 * Mallard's locks; then nothing was begun. */
int mallard_gc_blocking_try(void);
/* How many regions the calling thread is in. */
unsigned mallard_gc_blocking_depth(void);

/* Puts the calling thread into the registry. */
void mallard_gc_thread_attach(void);
/* False while Mallard itself starts a thread, which must stay out of the registry. */
bool mallard_gc_thread_is_wanted(void);

/* The signal that stops threads, 0 when there is none. */
int mallard_gc_signal(void);
/* Whether the program must keep its hands off this signal. */
bool mallard_gc_signal_is_taken(int number);

#endif
