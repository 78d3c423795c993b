/* SPDX-License-Identifier: Apache-2.0
 *
 * A stop, seen by the thread that asks for it: threads that nobody knows.
 *
 * The kernel's number of threads is compared with ours: those that are registered, Mallard's own,
 * and ghosts, ids that the kernel lists though they have ended: a first thread that left. Where the
 * numbers differ all threads are listed, and those that are news are adopted: each gets a record,
 * which it claims in its signal handler.
 *
 * The kernel's own are threads that io_uring starts in this process: they never run the program's
 * code and take no signals, but they come and go like others, so while there are any, numbers say
 * nothing and every thread is looked at. They write to objects, stopped or not: see park.c.
 *
 * SYNCHRONIZATION: the stop lock.
 *
 * Must never call malloc, stdio or a cancellation point.
 */
#include "gc/thread.h"
#include "gc/world_private.h"
#include "meta/memory.h"
#include "os/kernel.h"
#include "os/tasks.h"
#include "os/thread.h"

#include <stddef.h>
#include <unistd.h>

static char *task_buffer; /* for listing threads */
static size_t task_buffer_bytes;
static uint32_t ghosts;  /* listed last */
static uint32_t kernels; /* threads of the kernel's own that were listed last */

/* The first thread stays listed after it has ended while others run; any other vanishes. */
static bool is_ghost(pid_t tid) {
    return tid == mal_own_pid() && mal_task_look(tid).state == MAL_TASK_GONE;
}

static void meet(pid_t tid, void *context) {
    struct mal_gc_round *round = context;
    if (mal_thread_is_own(tid))
        return;
    if (is_ghost(tid))
        round->ghosts++;
    else if (!mal_gc_thread_is_known(tid) && mal_task_is_kernels(tid))
        round->kernels++;
    else if (mal_gc_thread_meet(tid) == MAL_GC_ADOPTED)
        round->adopted++;
}

/* Memory to list `threads` in one go; what there was before is used where there is no more. */
static void make_room_for(uint32_t threads) {
    size_t wanted = 65536;
    while (wanted < threads * 64ull)
        wanted *= 2;
    if (wanted <= task_buffer_bytes)
        return;
    char *buffer = mal_meta_map(wanted, MAL_META_OTHER);
    if (!buffer)
        return;
    if (task_buffer)
        mal_meta_unmap(task_buffer, task_buffer_bytes, MAL_META_OTHER);
    task_buffer = buffer;
    task_buffer_bytes = wanted;
}

static uint32_t known_count(void) {
    return mal_gc_thread_count() + mal_thread_own_count() + ghosts;
}

bool mal_gc_round_adopt_unknown(struct mal_gc_round *round) {
    unsigned listed = MAL_STOPS_BY_NOTE ? 0 : mal_tasks_count();
    if (listed == 0 || (listed == known_count() && kernels == 0))
        return false;
    make_room_for(listed);
    if (!task_buffer)
        return false;
    round->adopted = round->ghosts = round->kernels = 0;
    mal_tasks_each(task_buffer, task_buffer_bytes, meet, round);
    ghosts = round->ghosts;
    kernels = round->kernels;
    return round->adopted > 0;
}

void mal_gc_world_forget_tasks(void) {
    ghosts = kernels = 0;
}
