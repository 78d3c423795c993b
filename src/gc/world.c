/* SPDX-License-Identifier: Apache-2.0
 *
 * Stopping the world, seen by the thread that asks for it.
 *
 * Path down: take the stop lock, then the dynamic linker's (by running inside a callback of
 * dl_iterate_phdr), make the epoch odd, signal every registered thread that is neither parked nor
 * in a blocking region, wait for them, then ask the kernel whether there are threads that nobody
 * knows, adopt and signal these, until there are none. Path up: make the epoch even and wake all.
 *
 *     the world is stopped  <=>  every registered thread is stopped (park.c) and every thread that
 *                                the kernel lists is registered, leaving, Mallard's own, its own,
 *                                or ended
 *
 * The second half is checked after the first holds: stopped threads start none. Whoever was started
 * before is listed by then, since clone lists it before it returns. A thread may register itself
 * after the last look at the registry and before the kernel's number is compared with ours: then
 * the registry's generation has changed since that look, and all is looked at again.
 *
 * The kernel's own are threads that io_uring starts in this process: they never run the program's
 * code and take no signals, but they come and go like others, so while there are any, numbers say
 * nothing and every thread is looked at. They write to objects, stopped or not: see park.c.
 *
 * Running inside the callback means that no stopped thread is in the middle of changing the list of
 * loaded objects, and that a walk over it inside needs no lock that somebody may hold: it is the
 * same thread's, and recursive.
 *
 * SYNCHRONIZATION: `stop_lock` is held from before the first signal until the last thread may go
 * on. It is no mal_lock: its waiters are outside critical sections, so they can be stopped
 * themselves. No Mallard lock is held while threads are waited for.
 *
 * Must never call malloc, stdio or a cancellation point between begin_stop and end_stop.
 */
#include "gc/world.h"

#include "base/atomic.h"
#include "base/check.h"
#include "base/format.h"
#include "gc/handles.h"
#include "gc/roots.h"
#include "gc/thread.h"
#include "gc/world_private.h"
#include "meta/memory.h"
#include "os/clock.h"
#include "os/critical.h"
#include "os/futex.h"
#include "os/lock.h"
#include "os/say.h"
#include "os/tasks.h"
#include "os/thread.h"

#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <unistd.h>

#define FIRST_WAIT_NS 1000000ull
#define LONGEST_WAIT_NS 32000000ull
#define LOST_AFTER_NS 20000000ull
#define WATCHDOG_NS 1000000000ull
#define LEAVING_NS 100000000ull

/* A lock whose waiters and holders can be stopped: 0 free, 1 held, 2 held and somebody may sleep.
 */
static uint32_t stop_lock;

void mal_gc_stop_lock_take(void) {
    uint32_t free_state = 0;
    if (mal_cas_acquire(&stop_lock, &free_state, 1u))
        return;
    while (mal_exchange_acquire(&stop_lock, 2u) != 0)
        mal_futex_wait(&stop_lock, 2, MAL_FUTEX_FOREVER);
}

void mal_gc_stop_lock_give(void) {
    if (mal_exchange_release(&stop_lock, 0u) == 2)
        mal_futex_wake(&stop_lock, 1);
}

/* Stop lock from here on. */
struct round {
    struct mal_gc_thread *self; /* NULL: one of the collector's own */
    uint32_t epoch;
    uint32_t signalled;
    uint32_t unstopped;
    uint32_t adopted, ghosts, kernels;
    uint64_t waited_ns;
    bool warned;
};

static char *task_buffer; /* for listing threads */
static size_t task_buffer_bytes;
static uint32_t
    ghosts; /* ids that the kernel lists though they have ended: a first thread that left */
static uint32_t kernels; /* threads of the kernel's own that were listed last */

/* True when the thread has ended. One that has never said anything may have ended too, and another
 * have its id. */
static bool signal_thread(struct mal_gc_thread *thread, struct round *round) {
    if (thread->stack_high == 0)
        mal_gc_thread_introduce(thread);
    int error = mal_task_signal(thread->tid, mal_gc_signal());
    if (error == -ESRCH)
        return true;
    if (error == 0) {
        thread->signalled_epoch = round->epoch;
        round->signalled++;
    }
    round->unstopped++;
    return false;
}

/* Whoever has the id of a thread that left long ago, and takes signals, is another one. */
static bool is_another(const struct mal_gc_thread *left) {
    if (mal_clock_mono_ns() - left->left_ns < LEAVING_NS)
        return false;
    struct mal_task task = mal_task_look(left->tid);
    return task.state == MAL_TASK_RUNS && !(task.blocked >> (mal_gc_signal() - 1) & 1);
}

static bool ask_thread(struct mal_gc_thread *thread, void *context) {
    struct round *round = context;
    if (thread->leaving && mal_task_signal(thread->tid, 0) == -ESRCH)
        return true;
    if (thread->leaving && !is_another(thread))
        return false;
    if (thread->leaving)
        mal_gc_thread_replace(thread);
    if (thread == round->self || mal_gc_thread_is_stopped(thread, round->epoch))
        return false;
    if (mal_thread_is_own(thread->tid))
        return true; /* adopted before it could say so */
    if (thread->signalled_epoch != round->epoch)
        return signal_thread(thread, round);
    if (mal_load_relaxed(&thread->put_off_epoch) == round->epoch &&
        thread->again_epoch != round->epoch) {
        thread->again_epoch = round->epoch;
        return signal_thread(thread, round);
    }
    round->unstopped++;
    return false;
}

/* Asks all that are not stopped, and waits until all of them have acknowledged or the time is up.
 * True when all were stopped already. */
static bool ask_and_wait(struct round *round, uint64_t patience_ns) {
    round->unstopped = 0;
    mal_store_seq_cst(&mal_gc_acks_missing, MAL_GC_ACKS_MANY);
    mal_gc_thread_sift(ask_thread, round);
    if (round->unstopped == 0)
        return true;
    uint32_t missing = __atomic_add_fetch(&mal_gc_acks_missing, round->unstopped - MAL_GC_ACKS_MANY,
                                          __ATOMIC_ACQ_REL);
    uint64_t began_ns = mal_clock_mono_ns();
    uint64_t passed_ns = 0;
    while ((int32_t)missing > 0 && passed_ns < patience_ns) {
        mal_futex_wait(&mal_gc_acks_missing, missing, patience_ns - passed_ns);
        missing = mal_load_acquire(&mal_gc_acks_missing);
        passed_ns = mal_clock_mono_ns() - began_ns;
    }
    round->waited_ns += passed_ns;
    return false;
}

/* A thread that has not come for long: gone in a way that leaves its id, or its signal was lost, or
 * it did not find its record. */
static bool look_closely(struct mal_gc_thread *thread, void *context) {
    struct round *round = context;
    if (thread->leaving || thread == round->self || mal_gc_thread_is_stopped(thread, round->epoch))
        return false;
    struct mal_task task = mal_task_look(thread->tid);
    if (task.state == MAL_TASK_GONE || mal_task_is_kernels(thread->tid))
        return true;
    if (task.state == MAL_TASK_RUNS && !(task.pending >> (mal_gc_signal() - 1) & 1)) {
        mal_gc_thread_introduce(thread);
        mal_task_signal(thread->tid, mal_gc_signal());
    }
    return false;
}

struct names {
    char text[400];
    size_t bytes;
    struct round *round;
};

static void name_thread(struct mal_gc_thread *thread, void *context) {
    struct names *names = context;
    if (thread == names->round->self || names->bytes + 40 > sizeof names->text ||
        mal_gc_thread_is_stopped(thread, names->round->epoch))
        return;
    struct mal_task task = mal_task_look(thread->tid);
    bool blocks = task.blocked >> (mal_gc_signal() - 1) & 1;
    names->bytes += mal_format(names->text + names->bytes, sizeof names->text - names->bytes,
                               " %d%s", thread->tid, blocks ? " (blocks the signal)" : "");
}

/* Once per stop. */
static void warn(struct round *round) {
    struct names names = {.round = round};
    if (round->warned)
        return;
    round->warned = true;
    mal_gc_thread_each(name_thread, &names);
    mal_warn("a collection has waited 1 s for threads to stop with signal %d:%s", mal_gc_signal(),
             names.text);
}

static void stop_known(struct round *round) {
    uint64_t patience_ns = FIRST_WAIT_NS;
    round->waited_ns = 0;
    while (!ask_and_wait(round, patience_ns)) {
        if (patience_ns < LONGEST_WAIT_NS)
            patience_ns *= 2;
        if (round->waited_ns >= LOST_AFTER_NS) {
            mal_gc_signal_defend();
            mal_gc_thread_sift(look_closely, round);
        }
        if (round->waited_ns >= WATCHDOG_NS)
            warn(round);
    }
}

/* The first thread stays listed after it has ended while others run; any other vanishes. */
static bool is_ghost(pid_t tid) {
    return tid == getpid() && mal_task_look(tid).state == MAL_TASK_GONE;
}

static void meet(pid_t tid, void *context) {
    struct round *round = context;
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

/* True when there were threads that nobody knew. */
static bool adopt_unknown(struct round *round) {
    unsigned listed = mal_tasks_count();
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

static void begin_stop(struct round *round) {
    round->epoch = mal_gc_stop_epoch + 1;
    mal_gc_signal_defend();
    mal_store_seq_cst(&mal_gc_stop_epoch, round->epoch);
    uint32_t generation;
    do {
        generation = mal_gc_thread_generation();
        stop_known(round);
    } while (adopt_unknown(round) || mal_gc_thread_generation() != generation);
}

/* In a critical section a thread may hold a lock, or an object that it has not made to the end. One
 * in a blocking region goes on, and may be in malloc; it makes no collected objects. */
static bool is_outside_sections(const struct mal_gc_thread *thread) {
    return mal_load_relaxed(&thread->state) == MAL_GC_BLOCKED || !thread->critical ||
           mal_load_relaxed(&thread->critical->depth) == 0;
}

static void assert_stopped(struct mal_gc_thread *thread, void *context) {
    const struct round *round = context;
    if (thread == round->self)
        return;
    MAL_ASSERT(mal_gc_thread_is_stopped(thread, round->epoch));
    MAL_ASSERT(is_outside_sections(thread));
}

/* Where the stop begins and where it ends: whoever has come or gone on between is found too. */
static void assert_world_stopped(struct round *round) {
    if (MAL_DEBUG > 0)
        mal_gc_thread_each(assert_stopped, round);
}

static void end_stop(struct round *round) {
    assert_world_stopped(round);
    mal_gc_thread_end_meetings();
    mal_store_seq_cst(&mal_gc_stop_epoch, round->epoch + 1);
    mal_futex_wake(&mal_gc_stop_epoch, INT32_MAX);
}

struct request {
    void (*body)(void *context);
    void *context;
    struct mal_gc_stop *ret_stop;
    struct mal_gc_thread *self;
};

static int stop_and_run(struct dl_phdr_info *object, size_t bytes, void *context) {
    (void)object;
    (void)bytes;
    struct request *request = context;
    struct round round = {.self = request->self};
    begin_stop(&round);
    assert_world_stopped(&round);
    if (request->ret_stop) {
        request->ret_stop->stopped_ns = mal_clock_mono_ns();
        request->ret_stop->threads = mal_gc_thread_count();
        request->ret_stop->signalled = round.signalled;
    }
    request->body(request->context);
    if (request->ret_stop)
        request->ret_stop->ended_ns = mal_clock_mono_ns();
    end_stop(&round);
    return 1; /* no more objects */
}

/* The caller's own registers and stack are roots too, unless it is the collector's. */
static struct mal_gc_thread *publish_self(uintptr_t sp) {
    if (mal_thread_is_own(gettid()))
        return NULL;
    struct mal_gc_thread *self = mal_gc_thread_register();
    if (self)
        self->sp = sp;
    return self;
}

void mal_gc_world_stopped(void (*body)(void *context), void *context,
                          struct mal_gc_stop *ret_stop) {
    uintptr_t registers[MAL_SAVED_REGISTERS];
    MAL_ASSERT(mal_lock_holds_none()); /* whom it waits for may need any of ours */
    int cancel = mal_thread_forbid_cancel();
    mal_registers_save(registers);
    struct request request = {body, context, ret_stop, publish_self(mal_stack_pointer())};
    mal_gc_stop_lock_take();
    mal_critical_enter(); /* its own calls must not wait in a blocking region for the end of its
                             stop */
    if (ret_stop)
        ret_stop->asked_ns = mal_clock_mono_ns();
    dl_iterate_phdr(stop_and_run, &request);
    mal_gc_stop_lock_give();
    mal_critical_leave();
    __asm__ volatile("" : : "r"(registers) : "memory");
    mal_thread_restore_cancel(cancel);
}

int mal_gc_world_init(void) {
    mal_critical_park = mal_gc_park_deferred;
    return mal_gc_signal_install(mal_gc_park_on_signal);
}

void mal_gc_world_become_own(void) {
    mal_gc_thread_leave();
    mal_thread_note_own();
}

/* What it touches afterwards it must not touch while the world is stopped, and nobody waits for it
 * who has counted it as an own one. */
void mal_gc_world_become_program(void) {
    mal_gc_stop_lock_take();
    mal_thread_forget_own();
    mal_gc_thread_register();
    mal_gc_stop_lock_give();
    mal_gc_signal_unblock();
}

static bool held_for_fork; /* stop lock */

/* A process without the collected heap forks as ever. */
void mal_gc_world_before_fork(void) {
    if (mal_gc_thread_generation() == 0)
        return;
    mal_gc_stop_lock_take();
    mal_gc_threads_before_fork();
    mal_gc_roots_before_fork();
    mal_gc_handles_before_fork();
    held_for_fork = true;
}

void mal_gc_world_after_fork(bool child) {
    if (child)
        mal_thread_forget_all_own();
    if (!held_for_fork)
        return;
    held_for_fork = false;
    if (child)
        ghosts = kernels = 0;
    mal_gc_handles_after_fork();
    mal_gc_roots_after_fork(child);
    mal_gc_threads_after_fork(child);
    if (child)
        mal_store_release(&stop_lock, 0u);
    else
        mal_gc_stop_lock_give();
}
