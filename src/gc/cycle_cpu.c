/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose CPU time it is: the collector's or the program's.
 *
 *     process = program + workers + owner + sweeper
 *
 * Assists are the program's here: their CPUs are in use. What the program does not use is idle, but
 * for the collector's own threads: a worker need not rest because the owner of the cycle or the
 * sweep is at work, which is over soon.
 *
 * SYNCHRONIZATION: the owner's, who is a thread of ours and the same one in all cycles that mark
 * beside the program, but for `sweeper_ns`, a relaxed atomic that the sweeping thread writes.
 *
 * The clocks are read one after the other, so differences may come out below zero: they count as 0.
 */
#include "gc/cycle_private.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "gc/assist.h"
#include "gc/heap.h"
#include "gc/workers.h"
#include "os/clock.h"

#define WINDOW_NS 10000000u /* workers count their time quantum by quantum */

static uint64_t sweeper_ns; /* of the sweeping thread since it began */

struct reading {
    uint64_t mono_ns, process_ns, collector_ns, background_ns, owner_ns;
};
static struct reading last;    /* when idleness was last measured */
static struct reading settled; /* when it was last taken for the limiter */

static struct reading read_clocks(void) {
    struct mal_gc_workers_cpu workers = mal_gc_workers_cpu();
    uint64_t owner_ns = mal_clock_thread_ns();
    uint64_t rest_ns = owner_ns + mal_load_relaxed(&sweeper_ns);
    return (struct reading){
        .mono_ns = mal_clock_mono_ns(),
        .process_ns = mal_clock_process_ns(),
        .collector_ns = workers.background_ns + workers.idle_ns + rest_ns,
        .background_ns = workers.background_ns,
        .owner_ns = owner_ns,
    };
}

static uint64_t less(uint64_t from, uint64_t what) {
    return from - mal_min(from, what);
}

static uint64_t program_ns(const struct reading *from, const struct reading *to) {
    return less(less(to->process_ns, from->process_ns), less(to->collector_ns, from->collector_ns));
}

void mal_gc_cpu_note_sweeper(void) {
    mal_store_relaxed(&sweeper_ns, mal_clock_thread_ns());
}

unsigned mal_gc_cpu_idle_permille(void) {
    static unsigned permille;
    if (mal_clock_mono_ns() - last.mono_ns < WINDOW_NS)
        return permille;
    struct reading now = read_clocks();
    uint64_t room_ns = (now.mono_ns - last.mono_ns) * mal_gc_cpus();
    uint64_t idle_ns = less(room_ns, program_ns(&last, &now));
    last = now;
    permille = (unsigned)(idle_ns * mal_gc_cpus() * 1000 / room_ns);
    return permille;
}

/* While marking a quarter of what the process has is the collector's, whoever works for it: of a
 * program that waits for the mark idle workers may do all of it. The owner and the sweep are on
 * neither side. */
static uint64_t plan_ns(const struct reading *from, const struct reading *to) {
    uint64_t workers_ns = less(to->background_ns, from->background_ns);
    bool is_marking = mal_load_relaxed(&mal_gc_phase) == MAL_GC_MARK;
    return is_marking ? mal_max(workers_ns, less(to->process_ns, from->process_ns) / 4)
                      : workers_ns;
}

struct mal_gc_cpu_shares mal_gc_cpu_settle(void) {
    struct reading now = read_clocks();
    struct mal_gc_cpu_shares shares = {program_ns(&settled, &now), plan_ns(&settled, &now)};
    settled = now;
    return shares;
}

/* Whatever CPU the owner has in a stop, the program has none beside it. When it has none itself, it
 * waits for threads that run on, or for its turn, which is nobody's work. */
uint64_t mal_gc_cpu_settle_stop_ns(void) {
    struct reading now = read_clocks();
    uint64_t owner_ns = less(now.owner_ns, settled.owner_ns) * mal_gc_cpus();
    uint64_t process_ns = less(now.process_ns, settled.process_ns);
    settled = now;
    return mal_max(owner_ns, process_ns);
}

static void forget_workers(struct reading *reading, struct mal_gc_workers_cpu workers) {
    reading->collector_ns = less(reading->collector_ns, workers.background_ns + workers.idle_ns);
    reading->background_ns = less(reading->background_ns, workers.background_ns);
}

/* The workers count from 0 again. */
void mal_gc_cpu_begin_cycle(void) {
    struct mal_gc_workers_cpu workers = mal_gc_workers_cpu();
    forget_workers(&last, workers);
    forget_workers(&settled, workers);
    mal_gc_workers_reset_cpu();
}

static struct reading marking; /* when marking began */

void mal_gc_cpu_begin_marking(void) {
    marking = read_clocks();
}

uint64_t mal_gc_cpu_program_ns(void) {
    struct reading now = read_clocks();
    return less(program_ns(&marking, &now), mal_gc_assist_ns());
}

void mal_gc_cpu_forget_in_child(void) {
    sweeper_ns = 0;
    last = settled = (struct reading){0};
}
