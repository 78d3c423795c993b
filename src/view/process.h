/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel says about a live process, for the process_* metrics.
 */
#ifndef MAL_VIEW_PROCESS_H
#define MAL_VIEW_PROCESS_H

#include <stdint.h>

#define PROCESS_UNKNOWN UINT64_MAX

/* Each value is PROCESS_UNKNOWN where it cannot be read. */
struct process_facts {
    uint64_t cpu_ticks;
    uint64_t virtual_bytes;
    uint64_t resident_bytes;
    uint64_t open_fds;
    uint64_t max_fds;
};

/* `pid` is one of our pid namespace; of pid 0 nothing is known. */
void process_facts_read(uint32_t pid, struct process_facts *ret_facts);

#endif
