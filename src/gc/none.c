/* SPDX-License-Identifier: Apache-2.0
 *
 * Stand-ins for parts of the collector that are not there: one thread, no specials, no cycles.
 * Weak, so that the parts replace them by being linked.
 */
#include "gc/cycle.h"
#include "gc/specials.h"
#include "gc/thread.h"

#define WEAK __attribute__((weak))

WEAK MAL_THREAD struct mal_gc_thread *mal_gc_self;
static struct mal_gc_thread only;
static bool up;

WEAK int mal_gc_ensure(void) {
    int error = up ? 0 : mal_gc_heap_init();
    up = error == 0;
    return error;
}

WEAK struct mal_gc_thread *mal_gc_thread_register(void) {
    return mal_gc_self = &only;
}

WEAK void mal_gc_thread_each(void (*visit)(struct mal_gc_thread *thread, void *context),
                             void *context) {
    visit(&only, context);
}

WEAK bool mal_gc_specials_on_pages(uintptr_t low, uintptr_t high) {
    (void)low;
    (void)high;
    return false;
}

WEAK void mal_gc_specials_sweep(const struct mal_gc_sweep_view *view) {
    (void)view;
}

WEAK void mal_gc_specials_forget(uintptr_t object) {
    (void)object;
}
