/* SPDX-License-Identifier: Apache-2.0
 *
 * A count with a memory of its last rise. See kill_count.h for why it needs one.
 *
 * SYNCHRONIZATION  None; everything is the caller's.
 */
#include "daemon/kill_count.h"

#include <stdbool.h>

void kill_count_begin(struct kill_count *count, uint64_t seen) {
    *count = (struct kill_count){.seen = seen, .settled = seen};
}

static bool rose_just_now(const struct kill_count *count, uint64_t now_ns) {
    return count->settled != count->seen && now_ns < count->rose_ns + KILL_COUNT_DYING_NS;
}

void kill_count_look(struct kill_count *count, uint64_t seen, uint64_t now_ns) {
    if (seen != count->seen && !rose_just_now(count, now_ns)) {
        count->settled = seen < count->seen ? seen : count->seen; /* the unknown is the largest */
        count->rose_ns = now_ns;
    }
    count->seen = seen;
}

uint64_t kill_count_before(const struct kill_count *count, uint64_t now_ns) {
    return rose_just_now(count, now_ns) ? count->settled : count->seen;
}

void kill_count_take_off(struct kill_count *count, uint64_t counted, uint64_t now_ns) {
    if (counted == KILL_COUNT_UNKNOWN || kill_count_before(count, now_ns) >= counted)
        return;
    if (rose_just_now(count, now_ns))
        count->settled++;
    else
        count->settled = ++count->seen;
}
