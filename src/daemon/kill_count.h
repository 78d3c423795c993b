/* SPDX-License-Identifier: Apache-2.0
 *
 * How often the OOM killer came to a control group, as one process of it is watched. The kernel
 * counts first and kills then, and the victim takes its time to go: a look between the two has the
 * kill in its count while the victim lives. So what a look found risen still explains an end of
 * the next seconds.
 *
 *   settled <= seen;  settled == seen unless seen has just risen
 */
#ifndef MAL_DAEMON_KILL_COUNT_H
#define MAL_DAEMON_KILL_COUNT_H

#include <stdint.h>

#define KILL_COUNT_UNKNOWN UINT64_MAX
#define KILL_COUNT_DYING_NS 5000000000ull /* from count to end: tens of GiB take seconds */

struct kill_count {
    uint64_t seen;    /* by the last look; KILL_COUNT_UNKNOWN */
    uint64_t settled; /* before it rose */
    uint64_t rose_ns; /* CLOCK_MONOTONIC */
};

/* The first look: what is counted by now is others'. */
void kill_count_begin(struct kill_count *count, uint64_t seen);
/* A later look while the process lives. */
void kill_count_look(struct kill_count *count, uint64_t seen, uint64_t now_ns);
/* What an end that is seen now is counted from; KILL_COUNT_UNKNOWN. */
uint64_t kill_count_before(const struct kill_count *count, uint64_t now_ns);
/* One of the kills up to `counted` was another process's. */
void kill_count_take_off(struct kill_count *count, uint64_t counted, uint64_t now_ns);

#endif
