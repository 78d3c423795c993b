/* SPDX-License-Identifier: Apache-2.0
 *
 * What of a stack may be loaded.
 *
 * Only words at or above the sp that a walk started from on this stack (for an interrupted stack:
 * its red zone), and below that stack's limit. The limit of a thread's own stack is the thread's
 * descriptor, which lies at its top; for the first thread it is what the kernel put there. That sp
 * is below the limit does not yet mean that it is on that stack: it is if all pages between the two
 * can be read. The kernel is asked once for each page, upwards from sp (asking below sp could make
 * the stack grow); the lowest page so found is kept per thread, and from there to the limit all
 * belongs to the thread for as long as it lives. On any other stack (signal stacks, coroutines) the
 * limit is the end of sp's page, and each further page is asked for when it is reached, on every
 * walk anew: such stacks can be unmapped at any time, so nothing about them is kept, except that
 * they are not the thread's own. That is one or two system calls for a typical coroutine, and none
 * for a thread's own stack. An own stack that has grown by more than OWN_PROBE_PAGES_MAX since the
 * last walk passes for another one until a walk comes near its known part.
 *
 * SYNCHRONIZATION: `own` belongs to the thread, but a signal handler may walk in the middle of an
 * update: `lo` is written before `hi` makes both valid, and then only falls.
 *
 * Must never make a system call on a thread's own stack once warm, nor say yes to a page that was
 * not asked for.
 */
#include "sample/unwind_stack.h"

#include <pthread.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/atomic.h"
#include "os/kernel.h"
#include "sample/unwind.h"

enum {
    OWN_PROBE_PAGES_MAX = 256,
    OTHER_STACK_BYTES_MAX = 1 << 24,
    ADDRESS_MIN = 4096,
};

/* The part of an own stack known to be readable, and a range known not to belong to it. */
struct own_stack {
    uintptr_t lo; /* see SYNCHRONIZATION */
    uintptr_t hi; /* 0 until first use */
    uintptr_t other_lo;
    uintptr_t other_hi;
};
static MAL_THREAD struct own_stack own;

static uintptr_t page_of(uintptr_t address) {
    return address & ~(MAL_UNWIND_PAGE_BYTES - 1);
}

static bool probe(uintptr_t address) {
    mal_add_relaxed(&mal_unwind_stats.probes, 1);
    return mal_unwind_arch_readable(address & ~(uintptr_t)7);
}

/* The auxiliary vector's random bytes lie above every frame of the first thread. */
static void find_own_top(struct own_stack *o) {
    bool is_first = gettid() == mal_own_pid();
    uintptr_t top = is_first ? getauxval(AT_RANDOM) : (uintptr_t)pthread_self();
    o->lo = page_of(top);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    o->hi = (top & ~(uintptr_t)7) + 8;
}

/* Extends the known part of the own stack down to sp, if sp is on it. */
static MAL_SLOW bool is_own_slow(struct own_stack *o, uintptr_t sp) {
    if (o->hi == 0)
        find_own_top(o);
    if (sp >= o->lo || sp - o->other_lo < o->other_hi - o->other_lo)
        return sp >= o->lo && sp < o->hi;
    uintptr_t page = page_of(sp);
    for (unsigned i = 0; page < o->lo; i++, page += MAL_UNWIND_PAGE_BYTES) {
        if (i == OWN_PROBE_PAGES_MAX || !probe(page)) {
            o->other_lo = page_of(sp);
            o->other_hi = page;
            return false;
        }
    }
    o->lo = page_of(sp);
    return true;
}

static bool is_own(uintptr_t sp) {
    return sp - own.lo < own.hi - own.lo || is_own_slow(&own, sp);
}

bool mal_unwind_stack_at(uintptr_t sp, struct mal_unwind_stack *ret_stack) {
    uintptr_t lo = sp & ~(uintptr_t)7;
    bool is_on_own = is_own(lo);
    *ret_stack = (struct mal_unwind_stack){0};
    if (!is_on_own && (lo < ADDRESS_MIN || !probe(lo)))
        return false;
    uintptr_t end = is_on_own ? own.hi : page_of(lo) + MAL_UNWIND_PAGE_BYTES;
    *ret_stack = (struct mal_unwind_stack){lo, end - 8 - lo, !is_on_own};
    return true;
}

/* What looked like another stack turns out to reach up to the known part of the own one. */
static void join_own(struct mal_unwind_stack *stack) {
    own.lo = page_of(stack->lo);
    stack->span = own.hi - 8 - stack->lo;
    stack->can_grow = false;
}

bool mal_unwind_stack_grow(struct mal_unwind_stack *stack, uintptr_t address) {
    if (!stack->can_grow || address < stack->lo || address - stack->lo > OTHER_STACK_BYTES_MAX)
        return false;
    while (address - stack->lo > stack->span) {
        uintptr_t end = stack->lo + stack->span + 8;
        if (end >= own.lo && end < own.hi) {
            join_own(stack);
            return address - stack->lo <= stack->span;
        }
        if (!probe(end))
            return false;
        stack->span += MAL_UNWIND_PAGE_BYTES;
    }
    return true;
}

void mal_unwind_stack_try_to_join(struct mal_unwind_stack *stack) {
    uintptr_t reach = (uintptr_t)OWN_PROBE_PAGES_MAX * MAL_UNWIND_PAGE_BYTES;
    if (stack->span >= reach)
        mal_unwind_stack_grow(stack, stack->lo + stack->span + reach);
}
