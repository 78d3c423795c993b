/* SPDX-License-Identifier: Apache-2.0
 *
 * MALLARD_DEBUG and GODEBUG: lists of NAME=VALUE.
 */
#ifndef MAL_FRONT_DEBUG_H
#define MAL_FRONT_DEBUG_H

#include <stdint.h>

struct mal_debug {
    uint32_t flags;          /* enum mal_option_flags */
    uint32_t simulated_cpus; /* 0: those there are */
    uint32_t gc;             /* enum mal_gc_debug */
    uint32_t gc_trace;       /* 0, 1, 2 */
    uint32_t gc_signal;      /* that stops threads; 0: one that is free */
    uint32_t gc_stress;      /* a cycle at every so many'th refill; 0 off */
};

/* Applies the entries that are known. */
void mal_debug_parse(const char *value, struct mal_debug *debug);

/* One line on standard error for each of the others, with what `debug` has in its place. */
void mal_debug_complain(const char *value, const struct mal_debug *debug);

#endif
