/* SPDX-License-Identifier: Apache-2.0
 *
 * Knobs. Each is read as MALLARD_<NAME>, and where Go has the same one and ours is not set, by Go's
 * name; a bad value is one line on standard error and the default.
 */
#ifndef MAL_FRONT_OPTIONS_H
#define MAL_FRONT_OPTIONS_H

#include "base/attr.h"

#include "front/debug.h"
#include "os/percpu.h"

#include <stdint.h>

#define MAL_GOGC_OFF UINT64_MAX

enum mal_option_flags {
    MAL_OPTION_EAGER = 1u << 0,     /* somebody watches from the start: background thread at once */
    MAL_OPTION_KEEP = 1u << 1,      /* a clean exit leaves the box */
    MAL_OPTION_SCAVTRACE = 1u << 2, /* the scavenger's lines go to standard error too */
    MAL_OPTION_ALLOCFREETRACE = 1u << 3, /* every allocation and free goes to standard error */
    MAL_OPTION_MADVFREE = 1u << 4,       /* the OS takes released pages only when it is short */
};

struct mal_options {
    uint64_t mem_profile_rate;   /* bytes */
    uint64_t memory_limit_bytes; /* MAL_LIMIT_OFF none */
    uint64_t gogc_percent;       /* or MAL_GOGC_OFF; 0 .. INT32_MAX */
    enum mal_percpu_mode cpu_cache;
    uint32_t flags;         /* enum mal_option_flags */
    struct mal_debug debug; /* numbers of MALLARD_DEBUG, and what it says of the collector */
    const char *http;       /* address or NULL */
    const char *http_token; /* or NULL */
};

extern MAL_HIDDEN struct mal_options mal_options; /* constant after mal_options_read */

/* Reads the environment. Once. */
void mal_options_read(void);

/* KEY=VALUE lines of what is in force, for the box. */
const char *mal_options_text(void);

#endif
