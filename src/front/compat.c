/* SPDX-License-Identifier: Apache-2.0
 *
 * glibc's malloc extensions: mallinfo, mallopt, malloc_trim, malloc_stats, malloc_info.
 *
 * All answer from the same statistics as the box. mallopt's parameters tune an allocator that is
 * not here: known ones are accepted and have no effect, as glibc allows. malloc_set_state and its
 * kin are gone from glibc and are not here.
 *
 * SYNCHRONIZATION: the statistics row is large, so one copy lies here under `compat_lock` (rank
 * API; nobody holds front/api.c's too, but for a fork).
 */
#include "base/check.h"
#include "base/format.h"
#include "front/init.h"
#include "front/memory.h"
#include "front/stats.h"
#include "meta/classes.h"
#include "os/alias.h"
#include "os/lock.h"
#include "os/say.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>

struct mallinfo mallard_mallinfo(void);
struct mallinfo2 mallard_mallinfo2(void);
int mallard_mallopt(int parameter, int value);
int mallard_malloc_trim(size_t pad);
void mallard_malloc_stats(void);
int mallard_malloc_info(int options, FILE *stream);

static struct mal_lock compat_lock = MAL_LOCK_INIT(MAL_RANK_API);

void mal_compat_before_fork(void) {
    mal_lock(&compat_lock);
    mal_lock_note_released(&compat_lock);
}

void mal_compat_after_fork(void) {
    mal_unlock(&compat_lock);
}

static void read_values(uint64_t *ret_values) {
    static struct mal_box_stats stats; /* compat_lock */
    mal_lock(&compat_lock);
    if (mal_is_initialised() || mal_init())
        mal_stats_collect(&stats);
    for (unsigned i = 0; i < MAL_STAT_COUNT; i++)
        ret_values[i] = stats.value[i];
    mal_unlock(&compat_lock);
}

MAL_PUBLIC struct mallinfo2 mallard_mallinfo2(void) {
    uint64_t v[MAL_STAT_COUNT];
    read_values(v);
    return (struct mallinfo2){
        .arena = v[MAL_STAT_HEAP_SYS] - v[MAL_STAT_LARGE_ALLOC],
        .ordblks = v[MAL_STAT_SPANS],
        .hblkhd = v[MAL_STAT_LARGE_ALLOC],
        .uordblks = v[MAL_STAT_HEAP_ALLOC],
        .fordblks = v[MAL_STAT_HEAP_SYS] - v[MAL_STAT_HEAP_ALLOC],
        .keepcost = v[MAL_STAT_HEAP_IDLE] - v[MAL_STAT_HEAP_RELEASED],
    };
}

/* The old form counts in int: saturate rather than wrap. */
static int to_int(size_t value) {
    return value > INT_MAX ? INT_MAX : (int)value;
}

MAL_PUBLIC struct mallinfo mallard_mallinfo(void) {
    struct mallinfo2 wide = mallard_mallinfo2();
    return (struct mallinfo){
        .arena = to_int(wide.arena),
        .ordblks = to_int(wide.ordblks),
        .hblkhd = to_int(wide.hblkhd),
        .uordblks = to_int(wide.uordblks),
        .fordblks = to_int(wide.fordblks),
        .keepcost = to_int(wide.keepcost),
    };
}

/* glibc answers 1 for success; these parameters have nothing to act on here. */
MAL_PUBLIC int mallard_mallopt(int parameter, int value) {
    (void)value;
    switch (parameter) {
    case M_MXFAST:
    case M_TRIM_THRESHOLD:
    case M_TOP_PAD:
    case M_MMAP_THRESHOLD:
    case M_MMAP_MAX:
    case M_CHECK_ACTION:
    case M_PERTURB:
    case M_ARENA_TEST:
    case M_ARENA_MAX:
        return 1;
    default:
        return 0;
    }
}

/* 1 when memory went back to the OS, 0 when there was none to give. */
MAL_PUBLIC int mallard_malloc_trim(size_t pad) {
    (void)pad;
    return mal_is_initialised() && mal_memory_release() > 0;
}

static void say_row(const char *what, uint64_t bytes) {
    char line[80];
    size_t length = mal_format(line, sizeof line, "%s = %lu\n", what, (unsigned long)bytes);
    mal_write_error(line, length);
}

MAL_PUBLIC void mallard_malloc_stats(void) {
    uint64_t v[MAL_STAT_COUNT];
    read_values(v);
    say_row("system bytes     ", v[MAL_STAT_SYS] - v[MAL_STAT_HEAP_RELEASED]);
    say_row("in use bytes     ", v[MAL_STAT_HEAP_ALLOC]);
    say_row("idle bytes       ", v[MAL_STAT_HEAP_IDLE] - v[MAL_STAT_HEAP_RELEASED]);
    say_row("released bytes   ", v[MAL_STAT_HEAP_RELEASED]);
    say_row("objects          ", v[MAL_STAT_HEAP_OBJECTS]);
}

MAL_PUBLIC int mallard_malloc_info(int options, FILE *stream) {
    uint64_t v[MAL_STAT_COUNT];
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    read_values(v);
    int written = fprintf(stream,
                          "<malloc version=\"mallard-1\">\n"
                          "<total type=\"inuse\" count=\"%lu\" size=\"%lu\"/>\n"
                          "<total type=\"idle\" size=\"%lu\"/>\n"
                          "<total type=\"released\" size=\"%lu\"/>\n"
                          "<system type=\"current\" size=\"%lu\"/>\n"
                          "</malloc>\n",
                          v[MAL_STAT_HEAP_OBJECTS], v[MAL_STAT_HEAP_ALLOC], v[MAL_STAT_HEAP_IDLE],
                          v[MAL_STAT_HEAP_RELEASED], v[MAL_STAT_SYS]);
    return written < 0 ? -1 : 0;
}

MAL_ALIAS(mallinfo, mallard_mallinfo);
MAL_ALIAS(mallinfo2, mallard_mallinfo2);
MAL_ALIAS(mallopt, mallard_mallopt);
MAL_ALIAS(malloc_trim, mallard_malloc_trim);
MAL_ALIAS(malloc_stats, mallard_malloc_stats);
MAL_ALIAS(malloc_info, mallard_malloc_info);
