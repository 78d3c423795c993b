/* SPDX-License-Identifier: Apache-2.0
 *
 * Coming up, forking, going down.
 *
 * Up: the first allocation of the process, often the dynamic linker's own, brings up the heap under
 * INIT, with knobs if libc has an environment by then. The library's constructor does what must
 * wait for libc: knobs if they could not be read before, fork handlers, leave for the background
 * thread, and the HTTP plug-in if asked for. Down: exit calls back and the box is marked as a clean
 * exit; the heap itself stays usable, since destructors run later.
 *
 * Fork: the collector is held between two steps, then libc's lock of its open files is taken
 * (os/stdio_list.c), then every lock in rank order; they are released after, in parent and child
 * alike. The collector comes first, since a step may wait for the loader's lock, and who holds
 * that, in a callback of dl_iterate_phdr, for the files'. The child then forgets what belongs to
 * the parent: other threads, the background thread, the box. A raw fork that runs no handlers is
 * noticed by a page that the kernel wipes in the child.
 *
 * SYNCHRONIZATION: `init_lock` guards init; `mal_init_done` is published with release.
 *
 * Must never allocate through malloc before `mal_init_done`, and never fail the program.
 */
#include "front/init.h"

#include "base/check.h"
#include "box/writer.h"
#include "cache/percpu_cache.h"
#include "cache/shelf.h"
#include "central/central.h"
#include "front/background.h"
#include "front/http.h"
#include "front/options.h"
#include "front/stats.h"
#include "front/thread.h"
#include "gc/cycle.h"
#include "gc/steps.h"
#include "mallard/mallard.h"
#include "meta/classes.h"
#include "meta/freed.h"
#include "meta/memory.h"
#include "meta/pagemap.h"
#include "os/alias.h"
#include "os/critical.h"
#include "os/env.h"
#include "os/guard.h"
#include "os/kernel.h"
#include "os/lock.h"
#include "os/stdio_list.h"
#include "os/text.h"
#include "os/vm.h"
#include "pageheap/limit.h"
#include "pageheap/pageheap.h"
#include "sample/profile.h"
#include "sample/unwind.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

uint32_t mal_init_done;

static struct mal_lock init_lock = MAL_LOCK_INIT(MAL_RANK_INIT);
static bool options_known;   /* init_lock, then constructor only */
static unsigned stages_done; /* init_lock */
static pid_t own_pid;        /* set by init and in forked children */

static enum mal_percpu_mode cache_mode(void) {
    if (mal_options.debug.simulated_cpus)
        mal_percpu_simulate(mal_options.debug.simulated_cpus);
    bool usable = mal_percpu_have_rseq() && mal_text_allows_rseq();
    return usable ? mal_options.cpu_cache : MAL_PERCPU_LOCK;
}

static void read_options(void) {
    if (options_known || !mal_env_ready())
        return;
    mal_options_read();
    mal_limit_set(mal_options.memory_limit_bytes);
    if (mal_options.flags & MAL_OPTION_MADVFREE)
        mal_vm_set_release(MAL_VM_RELEASE_WHEN_SHORT);
    mal_writer_remember_place();
    options_known = true;
}

static void configure_profile(void) {
    struct mal_text_range own = mal_text_range();
    struct mal_profile_config config = {
        .options = mal_options_text(),
        .cpus = mal_cache_cpus(),
        .skip_low = own.low,
        .skip_high = own.high,
        .is_own_process = mal_init_is_own_process,
        .current_rate = mal_thread_rate,
    };
    mal_profile_configure(&config);
}

static bool bring_up_pagemap(void) {
    mal_freed_init(mal_random_seed());
    return mal_pagemap_init(mal_random_seed()) == 0;
}

static bool bring_up_pageheap(void) {
    return mal_pageheap_init() == 0;
}

static bool bring_up_caches(void) {
    if (mal_cache_init(cache_mode()) != 0)
        return false;
    mal_central_drain_before_growth(mal_cache_drain_for_growth);
    return true;
}

/* Each stage is tried again after a failure until it has succeeded once. */
static bool (*const stages[])(void) = {bring_up_pagemap, bring_up_pageheap, bring_up_caches};

static bool bring_up_locked(void) {
    read_options();
    mal_classes_init();
    for (; stages_done < MAL_COUNT_OF(stages); stages_done++)
        if (!stages[stages_done]())
            return false;
    mal_thread_init(mal_options.mem_profile_rate);
    configure_profile();
    mal_break_remember();
    mal_guard_arm();
    own_pid = mal_own_pid();
    mal_store_release(&mal_init_done, 1u);
    return true;
}

bool mal_init(void) {
    int saved_errno = errno;
    mal_lock(&init_lock);
    bool up = mal_is_initialised() || bring_up_locked();
    mal_unlock(&init_lock);
    errno = saved_errno;
    return up;
}

/* Libraries that reach libc's malloc past us exist, and their blocks may end up here. Libc
 * takes them from the program break, which Mallard never uses: they can be told apart, and are
 * leaked rather than guessed at. */
bool mal_init_tolerates_foreign(const void *pointer) {
    return mal_break_contains(pointer);
}

/* A signal handler that forks may have interrupted a holder of our locks, or a step of the
 * collector, who goes on only when it returns. Nothing is taken then, and the child notices as
 * after a raw fork: what was interrupted goes on in both as if nothing had been. */
static MAL_THREAD bool forks_inside_us;

/* Handlers that were registered before ours run before it in a child, too; if they allocate, the
 * child may find out by itself what it is, and have a box already when its turn comes. */
static bool became_child;

void mal_init_before_fork(void) {
    forks_inside_us = mal_critical_is_open() || mal_gc_step_is_mine();
    if (forks_inside_us)
        return;
    mal_gc_hold_for_fork();
    mal_stdio_list_before_fork();
    mal_api_before_fork();
    mal_compat_before_fork();
    mal_lock(&init_lock);
    mal_stats_before_fork();
    mal_profile_before_fork();
    mal_thread_before_fork();
    mal_writer_before_fork();
    mal_gc_before_fork();
    mal_cache_before_fork();
    mal_central_before_fork();
    mal_pageheap_before_fork();
    mal_meta_before_fork();
    mal_lock_holds_all = true;
    became_child = false;
}

enum fork_side { IN_PARENT, IN_CHILD };

static void release_all(enum fork_side side) {
    mal_lock_holds_all = false;
    mal_meta_after_fork();
    mal_pageheap_after_fork();
    mal_central_after_fork();
    mal_cache_after_fork();
    mal_gc_after_fork(side == IN_CHILD);
    mal_writer_after_fork();
    mal_thread_after_fork();
    mal_profile_after_fork();
    mal_stats_after_fork();
    mal_unlock(&init_lock);
    mal_compat_after_fork();
    mal_api_after_fork();
}

/* Says so once: handlers of fork may fork. */
static bool forked_inside_us(void) {
    bool inside = forks_inside_us;
    forks_inside_us = false;
    return inside;
}

void mal_init_after_fork_in_parent(void) {
    if (forked_inside_us())
        return;
    release_all(IN_PARENT);
    mal_stdio_list_after_fork_in_parent();
    mal_gc_let_go_after_fork(false);
}

static void become_child(void) {
    pid_t parent_pid = own_pid;
    became_child = true;
    own_pid = mal_own_pid();
    mal_background_forget_in_child();
    mal_pageheap_forget_in_child();
    mal_central_forget_in_child();
    mal_shelf_forget_in_child();
    mal_limit_forget_in_child();
    mal_thread_forget_others();
    mal_profile_forget_in_child();
    mal_http_forget_in_child(parent_pid);
    mal_guard_arm();
}

void mal_init_after_fork_in_child(void) {
    if (forked_inside_us())
        return;
    mal_stdio_list_after_fork_in_child();
    mal_lock_forget_ranks();
    release_all(IN_CHILD);
    if (!became_child)
        become_child();
    mal_gc_let_go_after_fork(true);
}

void mal_init_check_fork(void) {
    if (mal_guard_is_wiped())
        become_child();
}

bool mal_init_is_own_process(void) {
    return mal_own_pid() == own_pid;
}

/* May run in a signal handler that interrupted malloc (_exit is allowed there), so no lock but the
 * profile's is asked for, and that one not for ever. A vfork child shares this memory but not this
 * process: it must not end its parent's box. */
void mal_init_end(int exit_code) {
    if (!mal_init_is_own_process())
        return;
    mal_profile_end(exit_code,
                    mal_options.flags & MAL_OPTION_KEEP ? MAL_WRITER_KEEP : MAL_WRITER_REMOVE);
}

static void end_at_exit(int exit_code, void *unused) {
    (void)unused;
    if (mal_options.flags & MAL_OPTION_KEEP)
        mal_stats_publish();
    mal_init_end(exit_code);
}

/* quick_exit runs these and no other handlers, and tells nobody the status. */
static void end_at_quick_exit(void) {
    mal_init_end(0);
}

static void configure_gc(void) {
    struct mal_gc_config config = {
        .percent = mal_options.gogc_percent == MAL_GOGC_OFF ? -1 : (int)mal_options.gogc_percent,
        .debug = mal_options.debug.gc,
        .trace = mal_options.debug.gc_trace,
        .signal = mal_options.debug.gc_signal,
        .stress_refills = mal_options.debug.gc_stress,
        .bring_up = mal_init,
        .become_own = mal_thread_become_own,
    };
    mal_gc_configure(&config);
}

/* A program whose malloc comes before ours, or is part of it, has next to nothing to tell, and
 * those that bring their own are those that mind a thread too many: Chromium's zygote ends when it
 * is not alone. A wrapper that asks the next one in the end asks us. */
static bool program_uses_us(void) {
    void *probe = MAL_FIRST(malloc, mallard_malloc)(1);
    bool is_ours = mal_pagemap_span_of(probe) != NULL;
    MAL_FIRST(free, mallard_free)(probe);
    return is_ours;
}

/* Priority 101: before the program's own constructors where the linker gives us a say. */
__attribute__((constructor(101))) static void come_up(void) {
    if (!mal_init())
        return;
    if (!options_known) {
        read_options();
        mal_thread_set_rate(mal_options.mem_profile_rate);
        configure_profile();
    }
    mal_unwind_allow();
    configure_gc();
    /* A box that is open already took its predecessor's name over. */
    if (!mal_writer_is_open())
        mal_writer_remove_predecessor();
    pthread_atfork(mal_init_before_fork, mal_init_after_fork_in_parent,
                   mal_init_after_fork_in_child);
    on_exit(end_at_exit, NULL);
    at_quick_exit(end_at_quick_exit);
    mal_background_allow();
    if (mal_options.http)
        mal_http_start_from_options();
    if (mal_options.flags & MAL_OPTION_EAGER && program_uses_us())
        mal_background_start();
}
