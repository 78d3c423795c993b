/* SPDX-License-Identifier: Apache-2.0
 *
 * Huge pages under the collected heap.
 */
#ifndef MAL_GC_HUGE_H
#define MAL_GC_HUGE_H

#include <stdbool.h>
#include <stdint.h>

/* A pass of about `most_ns` at most: begin, then steps until one returns false. By one thread,
 * after a sweep; a new pass may begin at any time. A step takes some ms, and is not to be cut in
 * two by a fork. */
void mal_gc_huge_begin(uint64_t most_ns);
bool mal_gc_huge_step(void);

#endif
