/* SPDX-License-Identifier: Apache-2.0
 *
 * Settings without effect: they steer how Boehm's collector works, and this one works otherwise.
 * Each answers what was set last, as programs expect that read a setting, change it and set it
 * back. And calls that have nothing to do here, for the reason that stands beside them.
 *
 * SYNCHRONIZATION: none, as Boehm's: settings are made before there are threads.
 */
#include "bdwgc/private.h"

#define SETTING(type, name, initial)                                                               \
    static type name##_set = initial;                                                              \
    BDWGC_PUBLIC void GC_set_##name(type value) {                                                  \
        name##_set = value;                                                                        \
    }                                                                                              \
    BDWGC_PUBLIC type GC_get_##name(void) {                                                        \
        return name##_set;                                                                         \
    }

SETTING(int, dont_precollect, 0)
SETTING(int, find_leak, 0)
SETTING(int, force_unmap_on_gcollect, 0)
SETTING(int, manual_vdb_allowed, 0)
SETTING(int, max_prior_attempts, 1)
SETTING(int, pages_executable, 0)
SETTING(int, rate, 10)
SETTING(size_t, min_bytes_allocd, 1)
SETTING(GC_word, allocd_bytes_per_finalizer, 0)
SETTING(GC_word, max_retries, 0)
SETTING(GC_word, non_gc_bytes, 0)
SETTING(unsigned long, time_limit, GC_TIME_UNLIMITED)
SETTING(GC_stop_func, stop_func, 0)
SETTING(GC_abort_func, abort_func, 0)

/* Old programs set some as variables too. */
#define VARIABLE(name)                                                                             \
    BDWGC_PUBLIC int GC_##name;                                                                    \
    BDWGC_PUBLIC void GC_set_##name(int value) {                                                   \
        GC_##name = value;                                                                         \
    }                                                                                              \
    BDWGC_PUBLIC int GC_get_##name(void) {                                                         \
        return GC_##name;                                                                          \
    }

VARIABLE(dont_expand)
VARIABLE(full_freq)
VARIABLE(java_finalization)
VARIABLE(no_dls)

BDWGC_PUBLIC int GC_all_interior_pointers = 1, GC_quiet, GC_find_leak, GC_dont_precollect;

/* Nothing is ever logged: gctrace=1 goes to standard error. */
BDWGC_PUBLIC void GC_set_log_fd(int fd) {
    (void)fd;
}

/* The heap lives as long as the process. */
BDWGC_PUBLIC void GC_deinit(void) {}

/* Stacks for signals are found by where a thread's stack pointer is. */
BDWGC_PUBLIC void GC_register_altstack(void *stack, GC_word stack_bytes, void *altstack,
                                       GC_word altstack_bytes) {
    (void)stack, (void)stack_bytes, (void)altstack, (void)altstack_bytes;
}

/* No library's data stop being roots. */
BDWGC_PUBLIC void GC_register_has_static_roots_callback(GC_has_static_roots_func callback) {
    (void)callback;
}

/* It runs beside the program by itself. */
BDWGC_PUBLIC void GC_start_incremental_collection(void) {}

/* No page is ever without access. */
BDWGC_PUBLIC int GC_incremental_protection_needs(void) {
    return 0;
}

BDWGC_PUBLIC void GC_start_performance_measurement(void) {}

BDWGC_PUBLIC void GC_noop1(GC_word value) {
    __asm__ volatile("" : : "r"(value) : "memory");
}
