/* SPDX-License-Identifier: Apache-2.0
 *
 * The newest statistics of a box, and how a reader waits for a writer that is at it.
 *
 * The record is under a sequence lock: odd while it is written. A copy counts when the number was
 * even before and the same after it; else the copy is made again, for 100 ms at most, since a
 * writer may have died in the middle.
 *
 * SYNCHRONIZATION. Acquire fences stand between the first look at the number, the copy and the last
 * look. A handle belongs to one thread at a time.
 *
 * It must never wait without a deadline, nor give out a record that was written meanwhile.
 */
#include "box/reader.h"

#include "base/now.h"

#include "box/reader_private.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define WRITER_PATIENCE_NS 100000000u
#define WRITER_RETRY_NS 100000u

void mal_reader_nap_ns(long ns) {
    struct timespec nap = {.tv_nsec = ns};
    nanosleep(&nap, NULL);
}

uint64_t mal_reader_patience_ns(void) {
    return mal_now_ns(CLOCK_MONOTONIC) + WRITER_PATIENCE_NS;
}

int mal_reader_wait_for_writer(uint64_t deadline_ns) {
    if (mal_now_ns(CLOCK_MONOTONIC) >= deadline_ns)
        return -EAGAIN;
    mal_reader_nap_ns(WRITER_RETRY_NS);
    return 0;
}

/* One attempt under the sequence lock; -EAGAIN when the writer was at it. */
static int stats_try(struct mal_box_reader *reader, struct mal_box_stats *stats) {
    uint64_t before, after;
    int error = mal_reader_section(reader, MAL_BOX_STATS, 0, &before, sizeof(before));
    if (error)
        return error;
    if (before & 1)
        return -EAGAIN;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    error = mal_reader_section(reader, MAL_BOX_STATS, 0, stats, sizeof(*stats));
    if (error)
        return error;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    error = mal_reader_section(reader, MAL_BOX_STATS, 0, &after, sizeof(after));
    if (error)
        return error;
    return before == after && stats->sequence == before ? 0 : -EAGAIN;
}

int mal_reader_stats(struct mal_box_reader *reader, struct mal_box_stats *ret_stats) {
    struct mal_box_stats *stats = malloc(sizeof(*stats));
    if (!stats)
        return -ENOMEM;
    uint64_t deadline_ns = mal_reader_patience_ns();
    int error;
    while ((error = stats_try(reader, stats)) == -EAGAIN) {
        if (mal_reader_wait_for_writer(deadline_ns) != 0)
            break;
    }
    if (!error && stats->class_count > MAL_BOX_CLASSES_MAX)
        error = -EBADMSG;
    if (!error)
        *ret_stats = *stats;
    free(stats);
    return error;
}
