/* SPDX-License-Identifier: Apache-2.0
 *
 * How much the keep folder weighs, and keeping it within its bound: by what it weighed when it was
 * last trimmed and what was written since. Before something is written that would take it over the
 * bound (and each of the other threads may be about to write as much) it is trimmed, to a little
 * below, so that walking the folder is rare; and every ten minutes, since profiles grow old.
 *
 * SYNCHRONIZATION  `room_lock` lets one thread trim; `weight` and `trimmed_ns` are atomic.
 */
#include "daemon/keeper_private.h"

#include "base/now.h"

#include <unistd.h>

#define TRIM_EVERY_NS (600ull * 1000000000u)
#define FILE_OVERHEAD_BYTES 4096u

void keeper_weigh(struct keeper *keeper, uint64_t bytes) {
    atomic_fetch_add(&keeper->weight,
                     (bytes + 2 * FILE_OVERHEAD_BYTES - 1) & ~(uint64_t)(FILE_OVERHEAD_BYTES - 1));
}

static bool is_missing(const struct process *process, enum process_state state,
                       const void *context) {
    (void)process;
    (void)context;
    return state == PROCESS_DEAD;
}

/* Dead processes whose folders are gone are gone from the table too. */
static void forget_trimmed(struct keeper *keeper) {
    struct table_list list;
    if (table_list(keeper->options.table, is_missing, NULL, &list) < 0)
        return;
    for (size_t i = 0; i < list.count; i++)
        if (access(list.items[i].folder, F_OK) != 0)
            table_remove(keeper->options.table, list.items[i].process);
    table_list_free(keeper->options.table, &list);
}

void keeper_trim(struct keeper *keeper, uint64_t room_bytes) {
    struct keep_trimmed trimmed = {0};
    pthread_mutex_lock(&keeper->lock);
    uint64_t limit = keeper->options.keep_bytes;
    uint64_t keep_for_ns = keeper->options.keep_for_ns;
    pthread_mutex_unlock(&keeper->lock);
    uint64_t now = mal_now_ns(CLOCK_REALTIME);
    uint64_t taken = limit / 16 + room_bytes;
    keep_store_trim(keeper->options.store, limit > taken ? limit - taken : 0,
                    now > keep_for_ns ? now - keep_for_ns : 0, &trimmed);
    daemon_count(&keeper->options.counters->profiles_trimmed, trimmed.profiles);
    daemon_count(&keeper->options.counters->processes_trimmed, trimmed.folders);
    atomic_store(&keeper->trimmed_ns, mal_now_ns(CLOCK_MONOTONIC));
    atomic_store(&keeper->weight, keep_store_bytes(keeper->options.store));
    if (trimmed.folders > 0)
        forget_trimmed(keeper);
}

void keeper_make_room(struct keeper *keeper, uint64_t bytes) {
    pthread_mutex_lock(&keeper->room_lock);
    if (atomic_load(&keeper->weight) + KEEPER_THREADS * bytes > keeper_limit(keeper) ||
        mal_now_ns(CLOCK_MONOTONIC) > atomic_load(&keeper->trimmed_ns) + TRIM_EVERY_NS)
        keeper_trim(keeper, KEEPER_THREADS * bytes);
    pthread_mutex_unlock(&keeper->room_lock);
}

void keeper_set_limits(struct keeper *keeper, uint64_t keep_bytes, uint64_t keep_for_ns) {
    pthread_mutex_lock(&keeper->lock);
    keeper->options.keep_bytes = keep_bytes;
    keeper->options.keep_for_ns = keep_for_ns;
    pthread_mutex_unlock(&keeper->lock);
}

uint64_t keeper_bytes(struct keeper *keeper) {
    return atomic_load(&keeper->weight);
}

uint64_t keeper_limit(struct keeper *keeper) {
    pthread_mutex_lock(&keeper->lock);
    uint64_t limit = keeper->options.keep_bytes;
    pthread_mutex_unlock(&keeper->lock);
    return limit;
}
