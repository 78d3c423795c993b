/* SPDX-License-Identifier: Apache-2.0
 *
 * MALLARD_DEBUG and GODEBUG: lists of NAME=VALUE.
 */
#ifndef MAL_FRONT_DEBUG_H
#define MAL_FRONT_DEBUG_H

#include <stdbool.h>
#include <stdint.h>

struct mal_debug {
    uint32_t flags;          /* enum mal_option_flags */
    uint32_t simulated_cpus; /* 0: those there are */
    uint32_t gc;             /* enum mal_gc_debug */
    uint32_t gc_trace;       /* 0, 1, 2 */
    uint32_t gc_signal;      /* that stops threads; 0: one that is free */
    uint32_t gc_stress;      /* a cycle at every so many'th refill; 0 off */
};

/* Applies the entries that are known; false when there are others too. */
bool mal_debug_parse(const char *value, struct mal_debug *debug);

#endif
