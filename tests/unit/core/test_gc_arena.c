/* SPDX-License-Identifier: Apache-2.0
 *
 * Arenas against a model of a collector: what they hold is zero, apart and alive; freed, they fault
 * with a sentence; and their addresses come back when no pointer is left, and not before. Deaths
 * happen in children, before this process frees its first arena.
 */
#include "gc_model.h"

#include "gc/arena_chunk.h"
#include "mallard/arena.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/emulated.h"
#include "support/seeded.h"
#include "support/watched.h"

#define MIB (1u << 20)

/* ---- deaths ---- */

struct death {
    int status;
    char said[512];
};

static struct death die_by(void (*body)(void)) {
    int pipe_ends[2];
    struct death death = {0};
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipe_ends[1], STDERR_FILENO);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        body();
        _exit(0);
    }
    close(pipe_ends[1]);
    for (size_t at = 0; at < sizeof death.said - 1;) {
        ssize_t got = read(pipe_ends[0], death.said + at, sizeof death.said - 1 - at);
        if (got <= 0)
            break;
        at += (size_t)got;
    }
    close(pipe_ends[0]);
    drop_emulators_lines(death.said);
    assert_int_equal(waitpid(child, &death.status, 0), child);
    return death;
}

static void assert_died(const struct death *death, int signal_number, const char *pattern) {
    unsigned long a, b;
    if (!WIFSIGNALED(death->status) || WTERMSIG(death->status) != signal_number ||
        sscanf(death->said, pattern, &a, &b) < 1)
        fail_msg("status %x, it said: %s", (unsigned)death->status, death->said);
}

static volatile char sink;

static void use_after_free(void) {
    struct mallard_arena *arena = mallard_arena_new();
    volatile char *object = mallard_arena_alloc(arena, 100, NULL);
    object[0] = 1;
    mallard_arena_free(arena);
    sink = object[0];
}

static void use_after_free_while_marking(void) {
    struct mallard_arena *arena = mallard_arena_new();
    volatile char *object = mallard_arena_alloc(arena, 100, NULL);
    model_begin_mark();
    mallard_arena_free(arena);
    sink = object[0]; /* not yet */
    model_end_mark();
    sink = object[0];
}

static void write_to_freed_noscan(void) {
    struct mallard_arena *arena = mallard_arena_new();
    volatile char *object = mallard_arena_alloc_noscan(arena, 5 * MIB);
    mallard_arena_free(arena);
    object[4 * MIB] = 1;
}

static void other_fault(void) {
    mallard_arena_free(mallard_arena_new());
    static volatile uintptr_t nowhere = 16;
    sink = *(volatile char *)nowhere;
}

static void free_twice(void) {
    struct mallard_arena *arena = mallard_arena_new();
    mallard_arena_free(arena);
    mallard_arena_free(arena);
}

static void alloc_in_freed(void) {
    struct mallard_arena *arena = mallard_arena_new();
    mallard_arena_free(arena);
    mallard_arena_alloc(arena, 8, NULL);
}

static void free_no_arena(void) {
    static long words[8];
    mallard_arena_free((struct mallard_arena *)words);
}

static void own_handler(int signal_number) {
    (void)signal_number;
    _exit(42);
}

static void use_after_free_with_own_handler(void) {
    signal(SIGSEGV, own_handler);
    use_after_free();
}

static void sent_signal(void) {
    mallard_arena_free(mallard_arena_new());
    kill(getpid(), SIGSEGV);
    pause();
}

static void misuse_dies_with_a_sentence(void **state) {
    (void)state;
    struct death death = die_by(use_after_free);
    assert_died(&death, SIGSEGV, "mallard: accessed %lx in an arena that was freed at %lx\n");
    death = die_by(use_after_free_while_marking);
    assert_died(&death, SIGSEGV, "mallard: accessed %lx in an arena that was freed at %lx\n");
    death = die_by(write_to_freed_noscan);
    assert_died(&death, SIGSEGV, "mallard: accessed %lx in an arena that was freed at %lx\n");
    death = die_by(free_twice);
    assert_died(&death, SIGABRT, "mallard: mallard_arena_free(%lx): the arena was freed before\n");
    death = die_by(alloc_in_freed);
    assert_died(&death, SIGABRT, "mallard: mallard_arena_alloc(%lx): the arena was freed\n");
    death = die_by(free_no_arena);
    assert_died(&death, SIGABRT, "mallard: mallard_arena_free(%lx): this is no arena\n");
}

static void other_faults_are_left_alone(void **state) {
    (void)state;
    struct death death = die_by(other_fault);
    assert_true(WIFSIGNALED(death.status) && WTERMSIG(death.status) == SIGSEGV);
    assert_string_equal(death.said, "");
    death = die_by(sent_signal);
    assert_true(WIFSIGNALED(death.status) && WTERMSIG(death.status) == SIGSEGV);
    assert_string_equal(death.said, "");
    death = die_by(use_after_free_with_own_handler);
    assert_true(WIFEXITED(death.status) && WEXITSTATUS(death.status) == 42);
    assert_string_equal(death.said, "");
}

/* ---- objects ---- */

static bool is_zero(const char *object, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (object[i] != 0)
            return false;
    return true;
}

/* Both kinds, all sizes, twice over the same addresses: zeroed and apart. */
static void objects_are_zero_and_apart(void **state) {
    (void)state;
    static char *object[3000];
    static size_t size[3000];
    uint64_t random = seeded_start(41);
    for (int round = 0; round < 3; round++) {
        struct mallard_arena *arena = model_root[0] = mallard_arena_new();
        for (size_t i = 0; i < 3000; i++) {
            size[i] = i % 500 == 7 ? 3 * MIB : seeded_size(&random, 14);
            object[i] = seeded_below(&random, 2) ? mallard_arena_alloc(arena, size[i], NULL)
                                                 : mallard_arena_alloc_noscan(arena, size[i]);
            assert_seeded(object[i] && (uintptr_t)object[i] % 16 == 0);
            assert_seeded(is_zero(object[i], size[i]));
            memset(object[i], (int)(i % 250) + 1, size[i]);
        }
        for (size_t i = 0; i < 3000; i++)
            for (size_t j = 0; j < size[i]; j += 97)
                assert_seeded(object[i][j] == (char)(i % 250 + 1));
        mallard_arena_free(arena);
        model_root[0] = NULL;
        model_cycle();
        model_cycle();
    }
    assert_int_equal(mal_gc_arenas_bytes().live_bytes, 0);
}

static void sizes_that_cannot_be_are_refused(void **state) {
    (void)state;
    struct mallard_arena *arena = model_root[0] = mallard_arena_new();
    errno = 0;
    assert_null(mallard_arena_alloc(arena, SIZE_MAX, NULL));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(mallard_arena_alloc_noscan(arena, PTRDIFF_MAX));
    assert_int_equal(errno, ENOMEM);
    assert_non_null(mallard_arena_alloc(arena, 0, NULL));
    assert_ptr_not_equal(mallard_arena_alloc(arena, 0, NULL), mallard_arena_alloc(arena, 0, NULL));
    mallard_arena_free(arena);
    mallard_arena_free(NULL);
    model_root[0] = NULL;
}

static void a_small_arena_is_small_and_a_large_one_has_few_chunks(void **state) {
    (void)state;
    uint64_t before = mal_gc_arenas_bytes().live_bytes;
    struct mallard_arena *arena = model_root[0] = mallard_arena_new();
    assert_int_equal(mal_gc_arenas_bytes().live_bytes, before);
    mallard_arena_alloc(arena, 100, NULL);
    assert_int_equal(mal_gc_arenas_bytes().live_bytes, before + (32u << 10));
    for (int i = 0; i < 1000; i++)
        mallard_arena_alloc(arena, 16 << 10, NULL);
    assert_in_range(mal_gc_arenas_bytes().live_bytes - before, 16000u << 10, 40u << 20);
    mallard_arena_free(arena);
    model_root[0] = NULL;
}

/* Whatever was in it before. */
static void memory_that_was_used_is_zero_again(void **state) {
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct mallard_arena *arena = model_root[0] = mallard_arena_new();
        void *used = mallard_malloc(MIB);
        memset(used, 0xff, MIB);
        mallard_free(used);
        const char *scanned = mallard_arena_alloc(arena, MIB / 4, NULL);
        const char *other = mallard_arena_alloc_noscan(arena, MIB / 4);
        for (size_t at = 0; at < MIB / 4; at++)
            assert_true(scanned[at] == 0 && other[at] == 0);
        mallard_arena_free(arena);
        model_root[0] = NULL;
    }
}

/* Large objects take nothing of what is left for small ones, and chunks stop growing at 8 MiB. */
static void chunks_are_no_larger_than_they_should(void **state) {
    (void)state;
    uint64_t before = mal_gc_arenas_bytes().live_bytes;
    struct mallard_arena *arena = model_root[0] = mallard_arena_new();
    mallard_arena_alloc(arena, 100, NULL);
    for (int i = 0; i < 10; i++) {
        mallard_arena_alloc(arena, 3 * MIB, NULL);
        mallard_arena_alloc(arena, 9000, NULL);
    }
    assert_in_range(mal_gc_arenas_bytes().live_bytes - before, 30 * MIB, 31 * MIB);
    before = mal_gc_arenas_bytes().live_bytes;
    for (int i = 0; i < 60; i++)
        mallard_arena_alloc(arena, MIB, NULL);
    assert_in_range(mal_gc_arenas_bytes().live_bytes - before, 60 * MIB, 100 * MIB);
    mallard_arena_free(arena);
    model_root[0] = NULL;
    model_cycle();
}

/* ---- roots ---- */

/* Long ones are scanned in pieces, up to whose ends there may be pointers. */
static void no_word_of_a_long_object_is_passed_over(void **state) {
    enum { PIECES = 3 };
    (void)state;
    struct mallard_arena *arena = model_root[0] = mallard_arena_new();
    char *object = mallard_arena_alloc(arena, PIECES * MIB, NULL);
    void **kept[PIECES + 1];
    for (size_t i = 0; i < PIECES; i++) {
        kept[i] = model_new();
        memcpy(object - MAL_CHUNK_HEAD_BYTES + (i + 1) * MIB - sizeof(void *), &kept[i],
               sizeof(void *));
    }
    kept[PIECES] = model_new();
    memcpy(object + PIECES * MIB - sizeof(void *), &kept[PIECES], sizeof(void *));
    model_scanned_bytes = 0;
    model_cycle();
    for (size_t i = 0; i <= PIECES; i++)
        assert_true(model_lives(kept[i]));
    assert_true(model_scanned_bytes >= PIECES * MIB); /* allocating threads heard of it */
    mallard_arena_free(arena);
    model_root[0] = NULL;
    model_cycle();
}

static struct mallard_arena *others[3];
static unsigned visits;

static void free_others(uintptr_t low, uintptr_t high, void *context) {
    (void)low, (void)high, (void)context;
    for (int i = 0; visits == 0 && i < 3; i++)
        mallard_arena_free(others[i]);
    visits++;
}

/* The walk was about to go there next. */
static void what_is_freed_meanwhile_is_not_visited(void **state) {
    (void)state;
    struct mallard_arena *last;
    for (int i = 0; i < 3; i++)
        mallard_arena_alloc(others[i] = mallard_arena_new(), 100, NULL);
    mallard_arena_alloc(last = mallard_arena_new(), 100, NULL); /* the first on the list */
    visits = 0;
    mal_gc_arenas_each_scan_range(free_others, NULL);
    assert_int_equal(visits, 1);
    mallard_arena_free(last);
    model_cycle();
}

static void arenas_keep_what_they_point_to(void **state) {
    (void)state;
    struct mallard_arena *arena = model_root[0] = mallard_arena_new();
    void **holder = mallard_arena_alloc(arena, 64, NULL);
    void **blind = mallard_arena_alloc_noscan(arena, 64);
    void **kept = model_new(), **lost = model_new();
    holder[3] = kept;
    blind[3] = lost;
    kept[0] = holder;
    model_cycle();
    assert_true(model_lives(kept));
    assert_false(model_lives(lost));
    mallard_arena_free(arena);
    model_root[0] = NULL;
    model_cycle();
    assert_false(model_lives(kept));
}

static void scan_ranges_cover_what_is_scanned(void **state) {
    (void)state;

    struct mallard_arena *arena = model_root[0] = mallard_arena_new();
    mallard_arena_alloc(arena, 5000, NULL);
    mallard_arena_alloc_noscan(arena, 20000);
    struct mal_gc_arena_bytes bytes = mal_gc_arenas_bytes();
    assert_in_range(bytes.scan_bytes, 5000, 6000);
    mallard_arena_free(arena);
    model_root[0] = NULL;
}

static void a_forgotten_arena_is_freed(void **state) {
    (void)state;
    model_cycle();
    uint64_t before = mal_gc_arenas_bytes().live_bytes;
    mallard_arena_alloc(mallard_arena_new(), 1000, NULL);
    assert_true(mal_gc_arenas_bytes().live_bytes > before);
    model_cycle();
    assert_true(model_callbacks_done());
    assert_int_equal(mal_gc_arenas_bytes().live_bytes, before);
}

static void specials_on_arena_objects_are_refused(void **state) {
    (void)state;
    struct mallard_arena *arena = model_root[0] = mallard_arena_new();
    void *object = mallard_arena_alloc(arena, 64, NULL);
    assert_true(mal_gc_arena_holds((uintptr_t)object));
    assert_false(mal_gc_arena_holds((uintptr_t)arena));
    assert_int_equal(mallard_gc_finalizer_set(object, free), -EINVAL);
    assert_int_equal(mallard_gc_cleanup_add(object, free, NULL, NULL), -EINVAL);
    assert_null(mallard_gc_weak_new(object));
    mallard_arena_free(arena);
    model_root[0] = NULL;
}

/* ---- quarantine ---- */

static void addresses_wait_for_the_last_pointer(void **state) {
    (void)state;
    model_cycle();
    struct mallard_arena *arena = model_root[0] = mallard_arena_new();
    void *object = mallard_arena_alloc(arena, 64, NULL);
    model_root[0] = NULL;
    model_root[1] = object;
    mallard_arena_free(arena);
    uint64_t waiting = mal_gc_arenas_bytes().quarantine_bytes;
    assert_true(waiting > 0 && mal_arena_freed_at((uintptr_t)object) != 0);
    for (int i = 0; i < 3; i++) {
        model_cycle();
        assert_true(mal_arena_freed_at((uintptr_t)object) != 0);
    }
    model_root[1] = NULL;
    model_cycle();
    assert_true(mal_arena_freed_at((uintptr_t)object) == 0);
    assert_int_equal(mal_gc_arenas_bytes().quarantine_bytes, 0);
}

/* It counts as marked for what words lead there, and is not; and its mark is not the next mark's.
 */
static void what_is_freed_while_marking_begins_without_a_mark(void **state) {
    (void)state;
    model_cycle();
    struct mallard_arena *arena = mallard_arena_new();
    void *object = model_root[1] = mallard_arena_alloc(arena, 64, NULL);
    uint64_t discounted_bytes = model_chunk_discounted_bytes;
    model_begin_mark();
    mallard_arena_free(arena);
    model_end_mark();
    assert_int_equal(model_chunk_discounted_bytes, discounted_bytes + (32u << 10));
    model_sweep();
    model_cycle();
    assert_int_equal(model_chunk_discounted_bytes, discounted_bytes + 2 * (32u << 10));
    assert_true(mal_arena_freed_at((uintptr_t)object) != 0);
    model_begin_mark();
    struct mallard_arena *second = mallard_arena_new();
    void *late = model_root[2] = mallard_arena_alloc(second, 64, NULL);
    mallard_arena_free(second);
    model_end_mark();
    model_sweep();
    memset(model_root, 0, sizeof model_root);
    model_cycle();
    assert_true(mal_arena_freed_at((uintptr_t)late) == 0);
    assert_true(mal_arena_freed_at((uintptr_t)object) == 0);
}

static void what_is_freed_while_marking_stays_readable(void **state) {
    (void)state;
    model_cycle();
    struct mallard_arena *arena = mallard_arena_new();
    volatile char *object = mallard_arena_alloc(arena, 64, NULL);
    object[1] = 77;
    model_begin_mark();
    mallard_arena_free(arena);
    assert_int_equal(object[1], 77);
    model_end_mark();
    model_sweep();
    assert_true(mal_arena_freed_at((uintptr_t)object) != 0);
    model_cycle();
    assert_true(mal_arena_freed_at((uintptr_t)object) == 0);
}

/* The parent ends the cycle, the child has only what it was at the fork. */
static void a_child_judges_what_its_parent_had_not(void **state) {
    (void)state;
    model_cycle();
    struct mallard_arena *arena = mallard_arena_new();
    void *object = mallard_arena_alloc(arena, 64, NULL);
    mallard_arena_free(arena);
    model_begin_mark();
    model_mark_word(NULL, (uintptr_t)object);
    mal_gc_arenas_end_mark();
    assert_true(mal_arena_freed_at((uintptr_t)object) != 0);
    mal_gc_arenas_before_fork();
    mal_gc_arenas_after_fork(true);
    assert_true(mal_arena_freed_at((uintptr_t)object) != 0);
    model_end_mark();
    model_sweep();
    assert_true(mal_arena_freed_at((uintptr_t)object) == 0);
    assert_int_equal(mal_gc_arenas_bytes().quarantine_bytes, 0);
}

static uint64_t resident_bytes(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    int read = file ? fscanf(file, "%*u %lu", &pages) : 0;
    if (file)
        fclose(file);
    return read == 1 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static unsigned map_count(void) {
    unsigned maps = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    for (int c; file && (c = getc(file)) != EOF;)
        maps += c == '\n';
    if (file)
        fclose(file);
    return maps;
}

/* Freed memory goes back at once, and the maps of many freed arenas are few. */
static void many_small_arenas_leave_no_memory_behind(void **state) {
    (void)state;
    model_cycle();
    uint64_t resident = resident_bytes();
    unsigned maps = map_count();
    for (int i = 0; i < 2000; i++) {
        struct mallard_arena *arena = mallard_arena_new();
        assert_non_null(arena);
        memset(mallard_arena_alloc(arena, 20000, NULL), 1, 20000);
        mallard_arena_free(arena);
        if (i % 100 == 99)
            model_sweep();
        if (i % 500 == 499)
            assert_true(memory_has_a_shadow() || map_count() < maps + 50);
    }
    assert_true(mal_gc_arenas_bytes().quarantine_bytes >= 2000ull * (32u << 10));
    assert_true(memory_has_a_shadow() || resident_bytes() < resident + 8 * MIB);
    model_cycle();
    assert_int_equal(mal_gc_arenas_bytes().quarantine_bytes, 0);
    assert_true(memory_has_a_shadow() || map_count() < maps + 20);
}

/* A chunk counts from when it is made until it is given up, whatever still leads into it. */
static void chunks_are_charged_and_given_up(void **state) {
    (void)state;
    uint64_t live_bytes = model_chunk_live_bytes, charged_bytes = model_chunk_charged_bytes;
    struct mallard_arena *arena = mallard_arena_new();
    void *object = mallard_arena_alloc_noscan(arena, 3 * MIB);
    assert_true(model_chunk_live_bytes - live_bytes >= 3 * MIB);
    assert_int_equal(model_chunk_live_bytes - live_bytes,
                     model_chunk_charged_bytes - charged_bytes);
    assert_int_equal(model_chunk_live_bytes, mal_gc_arenas_bytes().live_bytes);
    assert_non_null(object);
    mallard_arena_free(arena);
    assert_int_equal(model_chunk_live_bytes, live_bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse_dies_with_a_sentence),
        cmocka_unit_test(other_faults_are_left_alone),
        cmocka_unit_test(objects_are_zero_and_apart),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(a_small_arena_is_small_and_a_large_one_has_few_chunks),
        cmocka_unit_test(memory_that_was_used_is_zero_again),
        cmocka_unit_test(chunks_are_no_larger_than_they_should),
        cmocka_unit_test(no_word_of_a_long_object_is_passed_over),
        cmocka_unit_test(what_is_freed_meanwhile_is_not_visited),
        cmocka_unit_test(arenas_keep_what_they_point_to),
        cmocka_unit_test(scan_ranges_cover_what_is_scanned),
        cmocka_unit_test(a_forgotten_arena_is_freed),
        cmocka_unit_test(specials_on_arena_objects_are_refused),
        cmocka_unit_test(addresses_wait_for_the_last_pointer),
        cmocka_unit_test(what_is_freed_while_marking_stays_readable),
        cmocka_unit_test(what_is_freed_while_marking_begins_without_a_mark),
        cmocka_unit_test(a_child_judges_what_its_parent_had_not),
        cmocka_unit_test(many_small_arenas_leave_no_memory_behind),
        cmocka_unit_test(chunks_are_charged_and_given_up),
    };
    model_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
