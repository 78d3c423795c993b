/* SPDX-License-Identifier: Apache-2.0
 *
 * Mark procedures: code of the program's that finds pointers which the marker cannot. Asked for by
 * libmallard-bdwgc.so alone (bdwgc/engine.h).
 */
#ifndef MAL_GC_PROCEDURES_H
#define MAL_GC_PROCEDURES_H

#include <stdbool.h>
#include <stdint.h>

struct mal_gc_worker;

/* All of these: world stopped, the owner of the cycle. */

/* A new stop: whatever was called before may find something else now. */
void mal_gc_procedures_begin(void);
/* Calls the procedures that are due and have not been called in this stop, until there is none or,
 * after at least one, the deadline has passed. Returns whether there was one: what it marked is to
 * be drained, and may make others due. */
bool mal_gc_procedures_call(struct mal_gc_worker *worker, uint64_t deadline_ns);
/* For the oracle: those that were called in this stop. */
void mal_gc_procedures_call_again(struct mal_gc_worker *worker);
/* Marking complete, marks untouched: objects that die are forgotten. */
void mal_gc_procedures_end_mark(void);

void mal_gc_procedures_before_fork(void);
void mal_gc_procedures_after_fork(void);

#endif
