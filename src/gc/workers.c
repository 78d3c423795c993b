/* SPDX-License-Identifier: Apache-2.0
 *
 * The threads that mark.
 *
 * At most one per CPU and MAL_GC_WORKERS_MAX. Each sleeps on `order` until there is one. BESIDE the
 * program, a thread's number says what it is: the first ones are dedicated, the next is the
 * fractional one, which rests between quanta so that its share of a CPU is the plan's, and the
 * others run only on CPUs that nobody else uses. With the world STOPPED all but one of them work,
 * since the caller works too: a gang that ends when everybody in it is out of work.
 *
 * SYNCHRONIZATION
 *   1. `order` is generation and mode. A thread counts itself into `inside` first and then looks
 *      at `order` again; who changes `order` then waits until `inside` is zero. Both are
 *      sequentially consistent, so either the thread sees the change or the changer sees it.
 *   2. The gang is one word: how many have joined, how many of them are done with `share`, and
 *      CLOSED. New work comes from `share` and from work. So when both counts are equal and the
 *      mark kernel says that all is done, it is; the word is closed by compare-and-swap from the
 *      value that was read before the kernel was asked: nobody has joined since, nobody joins
 *      later.
 *   3. Counters of CPU time are relaxed atomics.
 *   4. `lulls` grows when whoever gave its work back finds that nobody else has any. The owner of
 *      the cycle reads it, looks whether marking seems over, and sleeps on what it read. Its sleep
 *      has an end, so a note that is missed costs time only.
 *
 * Must never hold a lock, or work, while it rests: what a worker holds is given back first.
 */
#include "gc/workers.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "gc/assist.h"
#include "gc/cycle_private.h"
#include "gc/steps.h"
#include "gc/world.h"
#include "os/clock.h"
#include "os/futex.h"
#include "os/thread.h"

#include <stddef.h>

#define QUANTUM_BYTES (256u << 10)
#define NAP_NS 200000u       /* before looking for work again */
#define LONG_NAP_NS 1000000u /* before looking for an idle CPU again */
#define IDLE_TOLERANCE_PERMILLE 100u
#define GANG_SPINS 256u
#define GANG_NAP_NS 20000u

enum mode { REST, BESIDE, STOPPED };
#define MODE_MASK 3u
#define GENERATION 4u

static uint32_t order;     /* rule 1 */
static uint32_t inside;    /* rule 1 */
static uint32_t threads;   /* started; the owner of the cycle writes, relaxed readers */
static uint32_t numbers;   /* given out to threads; atomic */
static uint32_t gang_most; /* threads that join a gang; written before the order */
static uint32_t quit;      /* nonzero: threads beside the program stop scanning */
static uint32_t busy;      /* threads in a quantum that may find or make work; atomic */

static unsigned plan_dedicated; /* written before the order */
/* Of one CPU, for the fractional thread; likewise. The fraction is every CPU's, and there is one
 * such thread: it takes them all, but where a CPU is idle only that one's is the plan's. */
static unsigned plan_share_permille, plan_all_permille;
static uint32_t idle_permille; /* relaxed atomic */

static uint64_t background_ns, idle_ns; /* rule 3 */

static uint32_t lulls; /* futex */

/* ---- orders ---- */

static void give_order(enum mode mode) {
    uint32_t next = ((mal_load_relaxed(&order) & ~MODE_MASK) + GENERATION) | (uint32_t)mode;
    __atomic_store_n(&order, next, __ATOMIC_SEQ_CST);
    mal_futex_wake(&order, INT32_MAX);
}

static void wait_until_nobody_is_inside(void) {
    uint32_t now;
    while ((now = __atomic_load_n(&inside, __ATOMIC_SEQ_CST)) != 0)
        mal_futex_wait(&inside, now, MAL_FUTEX_FOREVER);
}

static bool go_inside(uint32_t current) {
    __atomic_add_fetch(&inside, 1u, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&order, __ATOMIC_SEQ_CST) == current;
}

static void come_out(void) {
    if (__atomic_sub_fetch(&inside, 1u, __ATOMIC_SEQ_CST) == 0)
        mal_futex_wake(&inside, 1);
}

/* ---- beside the program ---- */

enum role { DEDICATED, FRACTIONAL, IDLE, RESTING };

/* CPUs that only the workers use. A program is seldom measured as using a whole one. */
static unsigned idle_cpus(void) {
    return (mal_load_relaxed(&idle_permille) + IDLE_TOLERANCE_PERMILLE) / 1000;
}

static enum role role_of(unsigned number) {
    unsigned fractional = plan_share_permille > 0;
    if (number < plan_dedicated)
        return DEDICATED;
    if (fractional && number == plan_dedicated)
        return FRACTIONAL;
    return number < idle_cpus() ? IDLE : RESTING;
}

/* A CPU is idle but for the fractional thread, which comes after the dedicated ones: it need not
 * rest. */
static bool idle_cpus_are_left(void) {
    return idle_cpus() > plan_dedicated;
}

static void count_cpu(enum role role, uint64_t cpu_ns, bool unrested) {
    uint64_t of_plan = role == IDLE ? 0 : cpu_ns;
    if (role == FRACTIONAL && unrested)
        of_plan = cpu_ns * plan_share_permille / 1000;
    mal_add_relaxed(&background_ns, of_plan);
    mal_add_relaxed(&idle_ns, cpu_ns - of_plan);
}

/* Sleeps with nothing in hand. */
static struct mal_gc_worker *nap(struct mal_gc_worker *worker, uint32_t current, uint64_t ns) {
    mal_gc_step_begin();
    mal_gc_worker_give(worker);
    mal_gc_step_end();
    mal_gc_workers_note_lull();
    mal_futex_wait(&order, current, ns);
    mal_gc_step_begin();
    worker = mal_gc_worker_take();
    mal_gc_step_end();
    return worker;
}

static uint64_t rest_ns(enum role role, uint64_t cpu_ns, bool unrested) {
    if (role != FRACTIONAL || unrested)
        return 0;
    return cpu_ns * (1000 - plan_all_permille) / plan_all_permille;
}

/* One quantum; returns how long to sleep after it. */
static uint64_t work(struct mal_gc_worker *worker, enum role role) {
    mal_gc_step_begin();
    mal_add_relaxed(&busy, 1u);
    uint64_t start_ns = mal_clock_thread_ns();
    bool helped = mal_gc_dirty_help(worker);
    uint64_t scanned = mal_gc_drain(worker, QUANTUM_BYTES, &quit);
    uint64_t cpu_ns = mal_clock_thread_ns() - start_ns;
    mal_sub_relaxed(&busy, 1u);
    mal_gc_step_end();
    bool unrested = role == FRACTIONAL && idle_cpus_are_left();
    count_cpu(role, cpu_ns, unrested);
    /* What is scanned again pays for nothing: new objects are, and would pay for more of them. */
    mal_gc_assist_credit(scanned - mal_gc_drained_again(worker));
    return scanned == 0 && !helped ? NAP_NS : rest_ns(role, cpu_ns, unrested);
}

static void mark_beside(unsigned number, uint32_t current) {
    mal_gc_step_begin();
    struct mal_gc_worker *worker = mal_gc_worker_take();
    mal_gc_step_end();
    while (mal_load_acquire(&order) == current) {
        enum role role = role_of(number);
        uint64_t sleep_ns = role == RESTING ? LONG_NAP_NS : work(worker, role);
        if (sleep_ns > 0)
            worker = nap(worker, current, sleep_ns);
    }
    mal_gc_step_begin();
    mal_gc_worker_give(worker);
    mal_gc_step_end();
}

/* ---- the world stopped ---- */

#define GANG_CLOSED (1ull << 32)
#define GANG_JOINED (1ull << 16)
#define GANG_SHARED 1ull
#define GANG_COUNT 0xffffull

static uint64_t gang; /* rule 2 */
static mal_gc_workers_share *gang_share;
static uint32_t gang_quit;        /* atomic; the deadline has passed */
static uint64_t gang_deadline_ns; /* written before the order */

static bool gang_join(void) {
    uint64_t now = mal_load_acquire(&gang);
    while (!(now & GANG_CLOSED))
        if (mal_cas_acquire(&gang, &now, now + GANG_JOINED))
            return true;
    return false;
}

static bool gang_has_time(void) {
    if (gang_deadline_ns != UINT64_MAX && mal_clock_mono_ns() > gang_deadline_ns)
        mal_store_relaxed(&gang_quit, 1u);
    if (mal_load_relaxed(&gang_quit) == 0)
        return true;
    __atomic_fetch_or(&gang, GANG_CLOSED, __ATOMIC_ACQ_REL);
    return false;
}

/* Looks once whether it is over. */
static bool gang_is_over(void) {
    uint64_t now = mal_load_acquire(&gang);
    if (now & GANG_CLOSED)
        return true;
    if ((now & GANG_COUNT) != (now >> 16 & GANG_COUNT) || !mal_gc_mark_is_done())
        return false;
    return __atomic_compare_exchange_n(&gang, &now, now | GANG_CLOSED, 0, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

static void gang_wait(unsigned tries) {
    if (tries % GANG_SPINS == GANG_SPINS - 1)
        mal_futex_nap(GANG_NAP_NS);
    else
        mal_cpu_relax();
}

static void gang_work(struct mal_gc_worker *worker) {
    gang_share(worker);
    __atomic_add_fetch(&gang, GANG_SHARED, __ATOMIC_ACQ_REL);
    for (unsigned tries = 0; gang_has_time();) {
        if (mal_gc_drain(worker, QUANTUM_BYTES, &gang_quit) > 0)
            tries = 0;
        else if (gang_is_over())
            break;
        else
            gang_wait(tries++);
    }
}

static void mark_stopped(unsigned number) {
    if (number >= gang_most || !gang_join())
        return;
    struct mal_gc_worker *worker = mal_gc_worker_take();
    gang_work(worker);
    mal_gc_worker_give(worker);
}

bool mal_gc_workers_finish(struct mal_gc_worker *own, mal_gc_workers_share *share,
                           uint64_t deadline_ns) {
    gang_share = share;
    gang_deadline_ns = deadline_ns;
    mal_store_relaxed(&gang_quit, 0u);
    mal_store_release(&gang, GANG_JOINED);
    if (gang_most > 0)
        give_order(STOPPED);
    gang_work(own);
    if (gang_most > 0) {
        give_order(REST);
        wait_until_nobody_is_inside();
    }
    return !mal_load_relaxed(&gang_quit);
}

/* ---- threads ---- */

static void obey(unsigned number, uint32_t current) {
    switch (current & MODE_MASK) {
    case BESIDE:
        mark_beside(number, current);
        break;
    case STOPPED:
        mark_stopped(number);
        break;
    default:
        break;
    }
}

static void body(void) {
    unsigned number = mal_add_relaxed(&numbers, 1u);
    mal_gc_become_own();
    for (;;) {
        uint32_t current = mal_load_acquire(&order);
        if (go_inside(current))
            obey(number, current);
        come_out();
        mal_futex_wait(&order, current, MAL_FUTEX_FOREVER);
    }
}

void mal_gc_workers_start(unsigned cpus) {
    static const struct mal_own_thread worker = {"mallard-mark", body, 0};
    unsigned most = (unsigned)mal_min(cpus, MAL_GC_WORKERS_MAX);
    while (threads < most && mal_thread_start(&worker) == 0)
        mal_store_relaxed(&threads, threads + 1);
    gang_most = (uint32_t)mal_min(threads, most - 1);
}

unsigned mal_gc_workers_threads(void) {
    return mal_load_relaxed(&threads);
}

void mal_gc_workers_mark_beside(const struct mal_gc_plan *plan, unsigned idle) {
    plan_dedicated = plan->dedicated;
    plan_share_permille = (unsigned)(plan->fractional * 1000);
    plan_all_permille = (unsigned)mal_min(plan_share_permille * mal_gc_cpus(), 1000u);
    mal_gc_workers_set_idle(idle);
    mal_store_relaxed(&quit, 0u);
    give_order(BESIDE);
}

void mal_gc_workers_set_idle(unsigned idle) {
    mal_store_relaxed(&idle_permille, idle);
}

void mal_gc_workers_kick(void) {
    if ((mal_load_relaxed(&order) & MODE_MASK) == BESIDE)
        give_order(BESIDE);
}

void mal_gc_workers_note_lull(void) {
    if (!mal_gc_mark_is_done())
        return;
    mal_add_relaxed(&lulls, 1u);
    mal_futex_wake(&lulls, 1);
}

uint32_t mal_gc_workers_lulls(void) {
    return mal_load_acquire(&lulls);
}

void mal_gc_workers_await_lull(uint32_t seen, uint64_t most_ns) {
    mal_futex_wait(&lulls, seen, most_ns);
}

void mal_gc_workers_halt(void) {
    mal_store_relaxed(&quit, 1u);
    give_order(REST);
    wait_until_nobody_is_inside();
}

bool mal_gc_workers_are_busy(void) {
    return mal_load_acquire(&busy) != 0;
}

struct mal_gc_workers_cpu mal_gc_workers_cpu(void) {
    return (struct mal_gc_workers_cpu){mal_load_relaxed(&background_ns),
                                       mal_load_relaxed(&idle_ns)};
}

void mal_gc_workers_reset_cpu(void) {
    mal_store_relaxed(&background_ns, 0u);
    mal_store_relaxed(&idle_ns, 0u);
}

void mal_gc_workers_forget_in_child(void) {
    order = inside = threads = numbers = gang_most = quit = busy = 0;
    gang = GANG_CLOSED;
}
