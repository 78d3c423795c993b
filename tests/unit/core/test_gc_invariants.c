/* SPDX-License-Identifier: Apache-2.0
 *
 * The collector's invariants can be seen broken: each is broken on purpose, in a process of its
 * own, which must end with the sentence of the assertion that states it. Builds without assertions
 * skip those that only they have. src/README.md lists which is stated where.
 */
#include "base/check.h"
#include "gc/cycle_private.h"
#include "gc/heap.h"
#include "gc/mark.h"
#include "gc/spans.h"
#include "gc/thread.h"
#include "gc/world.h"
#include "gc_by_hand.h"
#include "mallard/arena.h"
#include "mallard/gc.h"
#include "mallard/mallard.h"
#include "meta/pagemap.h"
#include "os/critical.h"
#include "os/futex.h"
#include "os/lock.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/emulated.h"
#include "support/watched.h"

struct pair {
    void *pointer;
    long number;
};
MALLARD_GC_TYPE(pair_type, struct pair, pointer);

static void *root[2];

static uint64_t offset_of(const void *object) {
    return mal_gc_offset((uintptr_t)object);
}

static struct mal_gc_line *line_of(const void *object) {
    return mal_gc_line_at(offset_of(object));
}

static uint32_t *entry_of(const void *object) {
    return &mal_gc_tables.page[offset_of(object) >> MAL_PAGE_SHIFT];
}

static struct pair *new_pair(void *pointer) {
    struct pair *pair = mallard_gc_new(&pair_type);
    assert_non_null(pair);
    pair->pointer = pointer;
    return pair;
}

static void begin(void) {
    mal_gc_heap_before_mark();
    mal_gc_heap_start_mark();
}

static void push_roots(struct mal_gc_worker *worker) {
    mal_gc_mark_range(worker, (uintptr_t)root, (uintptr_t)(root + 2));
}

static void mark_with(struct mal_gc_worker *worker) {
    while (!mal_gc_mark_is_done())
        mal_gc_drain(worker, UINT64_MAX, NULL);
    mal_gc_worker_give(worker);
}

static void mark_all(void) {
    struct mal_gc_worker *worker = mal_gc_worker_take();
    push_roots(worker);
    mark_with(worker);
}

/* ---- a backend that says what it is told to ---- */

static int fake_add_error, fake_scan_error;

static int fake_add(uintptr_t low, uintptr_t high) {
    (void)low;
    (void)high;
    return fake_add_error;
}

static int fake_scan(uintptr_t low, uintptr_t high, mal_gc_dirty_visit *visit, void *context) {
    (void)low;
    (void)high;
    (void)visit;
    (void)context;
    return fake_scan_error;
}

static void fake_unprotect(uintptr_t low, uintptr_t high) {
    (void)low;
    (void)high;
}

static const struct mal_gc_dirty fake = {
    .name = "fake",
    .add = fake_add,
    .clear = fake_scan,
    .look = fake_scan,
    .unprotect = fake_unprotect,
};
static struct mal_gc_run run = {.dirty = &fake, .beside = true};

/* ---- threads and locks ---- */

static void nothing(void *unused) {
    (void)unused;
}

static void meet_another(void *unused) {
    (void)unused;
    mal_gc_thread_meet(1);
}

/* A record of somebody whom nobody stopped. */
static void a_thread_runs_on(void) {
    mal_gc_world_stopped(meet_another, NULL, NULL);
}

static uint32_t inside;
static void *run_on(void *unused) {
    mal_gc_thread_register();
    mal_store_release(&inside, 1u);
    for (;;)
        usleep(100);
    return unused;
}

static void enter_section_of(struct mal_gc_thread *thread, void *unused) {
    (void)unused;
    if (mal_load_relaxed(&thread->state) == MAL_GC_PARKED)
        ((struct mal_critical *)(uintptr_t)thread->critical)->depth = 1;
}

static void enter_sections_of_others(void *unused) {
    mal_gc_thread_each(enter_section_of, unused);
}

/* What stands for it: a thread's depth that changes while it is stopped. One in a blocking region
 * is not meant, it may be in malloc. */
static void a_stopped_thread_is_in_a_section(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, run_on, NULL);
    while (!mal_load_acquire(&inside))
        usleep(100);
    mal_gc_world_stopped(enter_sections_of_others, NULL, NULL);
}

static void a_lock_is_held_across_a_stop(void) {
    static struct mal_lock lock = MAL_LOCK_INIT(MAL_RANK_META);
    mal_lock(&lock);
    mal_gc_world_stopped(nothing, NULL, NULL);
}

/* ---- written pages ---- */

static void protecting_while_marking(void) {
    new_pair(NULL);
    begin();
    mal_gc_dirty_protect(&run);
}

static void unprotecting_while_marking(void) {
    begin();
    mal_gc_dirty_unprotect(&run);
}

static void a_round_without_protecting(void) {
    mal_gc_dirty_protect(&run);
    begin();
    mark_all();
    mal_gc_heap_end_mark();
    begin();
    mal_gc_dirty_round(&run, mal_gc_worker_take());
}

static void unwatched_pages_are_called_clean(void) {
    assert_true(mal_gc_dirty_protect(&run));
    begin();
    assert_non_null(mallard_gc_alloc((size_t)256 << 20, NULL));
    fake_add_error = -ENOMEM;
    mal_gc_dirty_look(&run, mal_gc_worker_take());
}

static void a_dead_object_leads_to_a_white_one(void) {
    struct pair *white = new_pair(NULL);
    struct pair *dead = new_pair(NULL);
    begin();
    line_of(dead)->mark |= mal_gc_bit_at(offset_of(dead));
    dead->pointer = white;
    mark_all();
    mal_gc_checkmark(push_roots);
}

/* ---- allocation ---- */

static void a_new_object_is_white(void) {
    begin();
    line_of(new_pair(NULL))->mark = 0;
    new_pair(NULL);
}

static void a_new_object_is_in_no_entry(void) {
    *entry_of(new_pair(NULL)) = 0;
    new_pair(NULL);
}

static void slots_of_an_unswept_span(void) {
    struct pair *pair = new_pair(NULL);
    mal_gc_heap_flush(&mal_gc_self->cache);
    line_of(pair)->mark |= mal_gc_bit_at(offset_of(pair));
    new_pair(NULL);
}

/* ---- spans ---- */

static void a_span_is_freed_while_marking(void) {
    struct pair *pair = new_pair(NULL);
    begin();
    mal_gc_span_free(mal_pagemap_span_at(pair));
}

static void mallocs_page_is_in_the_tables(void) {
    void *block = mallard_malloc(100);
    uint64_t page = mal_round_down(offset_of(block), MAL_PAGE_BYTES);
    assert_int_equal(mal_gc_tables_extend(page + MAL_PAGE_BYTES), 0);
    *entry_of(block) = MAL_GC_PAGE_VALID | 2u;
    begin();
    mark_all();
    mal_gc_checkmark(push_roots);
}

static void an_unswept_span_is_listed_when_marking_begins(void) {
    root[0] = new_pair(NULL);
    begin();
    mark_all();
    mal_gc_heap_end_mark();
    mal_gc_totals.unswept_pages = 0;
    mal_gc_heap_start_mark();
}

/* ---- marking ---- */

static void a_mark_without_an_object(void) {
    struct pair *pair = new_pair(NULL);
    begin();
    mark_all();
    line_of(pair)->alloc = 0;
    line_of(pair)->mark |= mal_gc_bit_at(offset_of(pair));
    mal_gc_checkmark(push_roots);
}

static void a_mark_ends_with_work_left(void) {
    root[0] = new_pair(NULL);
    begin();
    push_roots(mal_gc_worker_take());
    mal_gc_heap_end_mark();
}

static void noscan_objects_are_scanned(void) {
    root[0] = new_pair(NULL);
    begin();
    struct mal_gc_worker *worker = mal_gc_worker_take();
    push_roots(worker);
    *entry_of(root[0]) |= MAL_GC_PAGE_NOSCAN;
    mark_with(worker);
}

static void marked_bytes_do_not_add_up(void) {
    root[0] = new_pair(NULL);
    begin();
    mark_all();
    mal_gc_totals.marked_bytes += 16;
    mal_gc_heap_end_mark();
}

static void a_special_hangs_on_nothing(void) {
    struct pair *pair = new_pair(NULL);
    assert_non_null(mallard_gc_weak_new(pair));
    begin();
    mark_all();
    line_of(pair)->alloc &= ~mal_gc_bit_at(offset_of(pair));
    mal_gc_checkmark(push_roots);
}

static void a_worker_marks_in_another_cycle(void) {
    root[0] = new_pair(NULL);
    begin();
    struct mal_gc_worker *worker = mal_gc_worker_take();
    push_roots(worker);
    mal_gc_cycle++;
    mark_with(worker);
}

/* ---- all of them ---- */

enum level { ALWAYS, ASSERTED, SLOWLY_ASSERTED };
/* ThreadSanitizer's thread takes no signals: a stop would wait for it. */
enum needs { NOTHING, A_STOP };

static const struct breach {
    const char *name;
    void (*commit)(void);
    const char *sentence;
    enum level level;
    enum needs needs;
} breaches[] = {
    {"1: a thread runs on", a_thread_runs_on, "is_held(thread, round->epoch)", ASSERTED, A_STOP},
    {"1: a stopped thread is in a section", a_stopped_thread_is_in_a_section,
     "is_outside_sections(thread)", ASSERTED, A_STOP},
    {"2: protecting while marking", protecting_while_marking, "== MAL_GC_OFF", ASSERTED, NOTHING},
    {"2: unprotecting while marking", unprotecting_while_marking, "== MAL_GC_OFF", ASSERTED,
     NOTHING},
    {"2: a round without protecting", a_round_without_protecting, "is_cleared_for_this_mark()",
     ASSERTED, NOTHING},
    {"2: a dead object leads to a white one", a_dead_object_leads_to_a_white_one,
     "checkmark: an object of 16 bytes at", ALWAYS, NOTHING},
    {"3: a new object is white", a_new_object_is_white, "is_ready(object)", ASSERTED, NOTHING},
    {"4: a mark without an object", a_mark_without_an_object, "checkmark: marks", ALWAYS, NOTHING},
    {"5: a span is freed while marking", a_span_is_freed_while_marking,
     "a collected span was freed while marking", ALWAYS, NOTHING},
    {"5: malloc's page is in the tables", mallocs_page_is_in_the_tables,
     "and another span in the page map", ALWAYS, NOTHING},
    {"6: a mark ends with work left", a_mark_ends_with_work_left,
     "a mark ended before everything was marked", ALWAYS, NOTHING},
    {"7: an unswept span is listed", an_unswept_span_is_listed_when_marking_begins,
     "are_all_swept()", ASSERTED, NOTHING},
    {"7: slots of an unswept span", slots_of_an_unswept_span, "!has_marks(span)", SLOWLY_ASSERTED,
     NOTHING},
    {"8: noscan objects are scanned", noscan_objects_are_scanned, "holds_scan_objects(", ASSERTED,
     NOTHING},
    {"8: unwatched pages are called clean", unwatched_pages_are_called_clean,
     "is_watched(pass, end)", ASSERTED, NOTHING},
    {"9: marked bytes do not add up", marked_bytes_do_not_add_up, "mal_gc_check_marked_bytes()",
     SLOWLY_ASSERTED, NOTHING},
    {"10: a lock is held across a stop", a_lock_is_held_across_a_stop, "mal_lock_holds_none()",
     ASSERTED, NOTHING},
    {"12: a special hangs on nothing", a_special_hangs_on_nothing, "where no object begins", ALWAYS,
     NOTHING},
    {"13: a new object is in no entry", a_new_object_is_in_no_entry, "is_ready(object)", ASSERTED,
     NOTHING},
    {"14: a worker marks in another cycle", a_worker_marks_in_another_cycle, "may_mark(worker)",
     ASSERTED, NOTHING},
};

static _Noreturn void commit_in_child(const struct breach *breach, int end) {
    dup2(end, STDERR_FILENO);
    signal(SIGABRT, SIG_DFL);
    alarm(60);
    breach->commit();
    _exit(0);
}

static void is_seen(void **state) {
    const struct breach *breach = *state;
    int ends[2], status;
    char text[1000];
    bool can_stop = !memory_has_a_shadow() && !is_emulated(); /* other threads are there, too */
    if ((int)breach->level > MAL_DEBUG || (breach->needs == A_STOP && !can_stop))
        skip();
    fflush(NULL);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0)
        commit_in_child(breach, ends[1]);
    close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    ssize_t bytes = read(ends[0], text, sizeof text - 1);
    text[bytes > 0 ? bytes : 0] = 0;
    close(ends[0]);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(text, breach->sentence))
        fail_msg("status %x, said: %s", status, text);
}

/* 11. What the backend cannot tell counts as written: in a round, and in the last look. */
static void errors_count_as_written(void **state) {
    struct mal_gc_worker *worker;
    (void)state;
    struct pair *early = new_pair(NULL), *late = new_pair(NULL);
    struct pair *first = new_pair(NULL), *second = new_pair(NULL);
    root[0] = first;
    root[1] = second;
    fake_scan_error = 0;
    assert_true(mal_gc_dirty_protect(&run));
    begin();
    mark_all();
    first->pointer = early;
    fake_scan_error = -EPERM;
    worker = mal_gc_worker_take();
    assert_true(mal_gc_dirty_round(&run, worker) > 0);
    mark_with(worker);
    assert_true(mal_gc_heap_is_marked((uintptr_t)early));
    second->pointer = late;
    worker = mal_gc_worker_take();
    assert_true(mal_gc_dirty_look(&run, worker) > 0);
    mal_gc_dirty_share(worker);
    mark_with(worker);
    assert_true(mal_gc_heap_is_marked((uintptr_t)late));
    mal_gc_checkmark(push_roots);
    mal_gc_heap_end_mark();
    mal_gc_heap_before_mark();
    root[0] = root[1] = NULL;
    fake_scan_error = 0;
}

/* Of an arena's pages, too, everybody takes some: a mebibyte at a time. */
static void pages_of_arenas_are_shared_out(void **state) {
    enum { MIB = 1 << 20, ARENA_BYTES = 8 * MIB, OBJECTS = 64 };
    void **words;
    struct mal_gc_worker *worker;
    unsigned shares = 0;
    (void)state;
    if (memory_has_a_shadow()) /* the arena starts a thread, which marking here does not stop */
        skip();
    struct mallard_arena *arena = mallard_arena_new();
    words = mallard_arena_alloc(arena, ARENA_BYTES, NULL);
    assert_non_null(words);
    struct pair *found[OBJECTS];
    for (size_t i = 0; i < OBJECTS; i++)
        found[i] = new_pair(NULL);
    root[0] = arena; /* or the sweep ends it, on another thread */
    assert_true(mal_gc_dirty_protect(&run));
    begin();
    mark_all();
    for (size_t i = 0; i < OBJECTS; i++)
        words[i * (ARENA_BYTES / sizeof *words / OBJECTS)] = found[i];
    fake_scan_error = -EPERM;
    worker = mal_gc_worker_take();
    mal_gc_dirty_look(&run, worker);
    while (mal_gc_dirty_help(worker))
        shares++;
    assert_true(shares >= ARENA_BYTES / MIB);
    assert_false(mal_gc_dirty_help(worker));
    mark_with(worker);
    for (size_t i = 0; i < OBJECTS; i++)
        assert_true(mal_gc_heap_is_marked((uintptr_t)found[i]));
    mal_gc_heap_end_mark();
    mal_gc_heap_before_mark();
    mallard_arena_free(arena);
    root[0] = NULL;
    fake_scan_error = 0;
}

int main(void) {
    enum { BREACHES = MAL_COUNT_OF(breaches) };
    struct CMUnitTest tests[BREACHES + 2];
    for (size_t i = 0; i < BREACHES; i++)
        tests[i] = (struct CMUnitTest){breaches[i].name, is_seen, NULL, NULL, (void *)&breaches[i]};
    tests[BREACHES] = (struct CMUnitTest)cmocka_unit_test(errors_count_as_written);
    tests[BREACHES + 1] = (struct CMUnitTest)cmocka_unit_test(pages_of_arenas_are_shared_out);
    return cmocka_run_group_tests(tests, gc_by_hand, NULL);
}
