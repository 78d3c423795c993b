/* SPDX-License-Identifier: Apache-2.0
 *
 * A stop, seen by the thread that asks for it: the threads that are registered.
 *
 * Path down: each one that is neither parked nor in a blocking region is sent the signal; then the
 * stopping thread sleeps until all of them have acknowledged, or for a while that doubles each
 * time, and looks at all of them again. Path up: a look that finds all of them stopped.
 *
 *     asked once                 the rule
 *     asked again                one that has put the stop off (park.c), by the second look that
 *                                finds that: a fraction of a millisecond after the first
 *     dropped                    one whose id is gone, by the look that finds that, be it signalled
 *                                or not
 *     looked at closely          one that has not come for LOST_AFTER_NS: gone in a way that left
 *                                its id (the main thread by a bare exit system call: one stop takes
 *                                so much longer, once), or its signal was lost, or somebody took
 * the signal's handler away, which is then ours again (signal.c) named on standard error    all
 * that have not come for WATCHDOG_NS
 *
 * SYNCHRONIZATION: the stop lock; the registry's while it walks, and never while it waits. A thread
 * that ends is dropped by the look that finds its id gone.
 *
 * Must never call malloc, stdio or a cancellation point.
 */
#include "base/atomic.h"
#include "base/format.h"
#include "gc/thread.h"
#include "gc/world_private.h"
#include "os/clock.h"
#include "os/futex.h"
#include "os/say.h"
#include "os/tasks.h"
#include "os/thread.h"

#include <errno.h>
#include <stddef.h>

#define ASK_AGAIN_NS 100000ull /* the first wait; park.c's claim 5 */
#define LONGEST_WAIT_NS 32000000ull
#define LOST_AFTER_NS 20000000ull
#define WATCHDOG_NS 1000000000ull
#define LEAVING_NS 100000000ull

/* True when the thread has ended. One that has never said anything may have ended too, and another
 * have its id. */
static bool signal_thread(struct mal_gc_thread *thread, struct mal_gc_round *round) {
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

/* In place of the signal, at every look: the thread may be taking an old note off this instant. */
static bool note_thread(struct mal_gc_thread *thread, struct mal_gc_round *round) {
    mal_store_relaxed(&thread->critical->stop_pending, 1u);
    round->unstopped++;
    return mal_task_signal(thread->tid, 0) == -ESRCH;
}

/* Whoever has the id of a thread that left long ago, and takes signals, is another one. */
static bool is_another(const struct mal_gc_thread *left) {
    if (mal_clock_mono_ns() - left->left_ns < LEAVING_NS)
        return false;
    struct mal_task task = mal_task_look(left->tid);
    return task.state == MAL_TASK_RUNS && !(task.blocked >> (mal_gc_signal() - 1) & 1);
}

static bool has_put_off(const struct mal_gc_thread *thread, const struct mal_gc_round *round) {
    return mal_load_acquire(&thread->put_off_epoch) == round->epoch &&
           thread->again_epoch != round->epoch;
}

/* Not by the look that finds out: the thread may have put the stop off this very instant, and has a
 * few instructions to go. By the next one, ASK_AGAIN_NS later at least. */
static bool is_to_be_asked_again(struct mal_gc_thread *thread, const struct mal_gc_round *round) {
    if (!has_put_off(thread, round))
        return false;
    bool was_known = thread->known_put_off_epoch == round->epoch;
    thread->known_put_off_epoch = round->epoch;
    if (was_known)
        thread->again_epoch = round->epoch;
    return was_known;
}

static bool ask_thread(struct mal_gc_thread *thread, void *context) {
    struct mal_gc_round *round = context;
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
    if (MAL_STOPS_BY_NOTE)
        return note_thread(thread, round);
    if (thread->signalled_epoch != round->epoch || is_to_be_asked_again(thread, round))
        return signal_thread(thread, round);
    round->unstopped++;
    return mal_task_signal(thread->tid, 0) == -ESRCH; /* it ended before the signal got through */
}

/* Asks all that are not stopped, and waits until all of them have acknowledged or the time is up.
 * True when all were stopped already. */
static bool ask_and_wait(struct mal_gc_round *round, uint64_t patience_ns) {
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
    struct mal_gc_round *round = context;
    if (thread->leaving || thread == round->self || has_put_off(thread, round) ||
        mal_gc_thread_is_stopped(thread, round->epoch))
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
    struct mal_gc_round *round;
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
static void warn(struct mal_gc_round *round) {
    struct names names = {.round = round};
    if (round->warned)
        return;
    round->warned = true;
    mal_gc_thread_each(name_thread, &names);
    mal_warn("a collection has waited 1 s for threads to stop with signal %d:%s", mal_gc_signal(),
             names.text);
}

void mal_gc_round_stop_known(struct mal_gc_round *round) {
    uint64_t patience_ns = ASK_AGAIN_NS;
    round->waited_ns = 0;
    while (!ask_and_wait(round, patience_ns)) {
        if (patience_ns < LONGEST_WAIT_NS)
            patience_ns *= 2;
        if (round->waited_ns >= LOST_AFTER_NS && !MAL_STOPS_BY_NOTE) {
            mal_gc_signal_defend();
            mal_gc_thread_sift(look_closely, round);
        }
        if (round->waited_ns >= WATCHDOG_NS)
            warn(round);
    }
}
