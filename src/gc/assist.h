/* SPDX-License-Identifier: Apache-2.0
 *
 * What allocating threads do for the collector: assist marking, sweep in proportion, ring the bell.
 */
#ifndef MAL_GC_ASSIST_H
#define MAL_GC_ASSIST_H

#include <stdbool.h>
#include <stdint.h>

/* The heap's hook: `bytes` became allocatable to the calling thread. No lock held, outside critical
 * sections. */
void mal_gc_assist_charge(uint64_t bytes);

/* World stopped: a cycle that marks beside the program begins, or its marking is over. */
void mal_gc_assist_begin(void);
void mal_gc_assist_end(void);

/* Scan work that threads of the collector did: it pays for whoever allocates. Any thread. */
void mal_gc_assist_credit(uint64_t bytes);

/* There is new work: whoever waits for credit may scan instead. */
void mal_gc_assist_ring(void);

/* CPU time that threads of the program spent assisting in this cycle. */
uint64_t mal_gc_assist_ns(void);

/* World stopped, heap's trigger and sweep set anew. */
void mal_gc_assist_set_sweep(double pages_per_byte, uint64_t unswept_pages, uint64_t live_bytes);

void mal_gc_assist_forget_in_child(void);

#endif
