/* SPDX-License-Identifier: Apache-2.0
 *
 * What pacer.c and pacer_cycle.c share.
 */
#ifndef MAL_GC_PACER_PRIVATE_H
#define MAL_GC_PACER_PRIVATE_H

#include "gc/pacer.h"

/* The share of all CPUs that background marking gets. */
#define MAL_GC_UTILIZATION 0.25

/* The scan work of a cycle if it is like the last. */
uint64_t mal_gc_pacer_expected_scan(const struct mal_gc_pacer *pacer);

#endif
