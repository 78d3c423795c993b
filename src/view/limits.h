/* SPDX-License-Identifier: Apache-2.0
 *
 * How much memory a process's control group may use, and uses.
 */
#ifndef MAL_VIEW_LIMITS_H
#define MAL_VIEW_LIMITS_H

#include <stdint.h>

#define VIEW_NO_LIMIT UINT64_MAX

/* Each value is VIEW_NO_LIMIT where there is none or it cannot be read. */
struct view_limits {
    uint64_t max_bytes; /* the least of the group and those around it */
    uint64_t current_bytes, peak_bytes;
    uint64_t oom_kills;
};

/* `pid` is one of our pid namespace; of pid 0 nothing is known. Version 2 of control groups only.
 */
void view_limits_read(uint32_t pid, struct view_limits *ret_limits);

#endif
