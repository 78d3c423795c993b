/* SPDX-License-Identifier: Apache-2.0
 *
 * What the collected heap's functions do with arguments that no program should pass: each is
 * refused as its header says, or ends the process with one sentence.
 */
#include "mallard/arena.h"
#include "mallard/gc.h"
#include "mallard/pool.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned passed, failed;

static void judge(bool ok, const char *what) {
    printf("%s %s\n", ok ? "ok  " : "FAIL", what);
    fflush(stdout);
    *(ok ? &passed : &failed) += 1;
}

struct node {
    struct node *left, *right;
};
MALLARD_GC_TYPE(node_type, struct node, left, right);
struct list {
    size_t length;
    struct node *item[];
};
MALLARD_GC_TYPE_POINTERS(list_type, struct list, (), item);
MALLARD_GC_TYPE_NOSCAN(nothing_type, char[0]);
static const struct mallard_gc_run one_word = {0, sizeof(void *)};
static const struct mallard_gc_type endless_type = {.runs = &one_word, .run_count = 1, .mask = 1};

/* ---- what dies with a sentence ---- */

static void free_handle_twice(void) {
    struct mallard_gc_handle *handle = mallard_gc_handle_new(mallard_gc_new(&node_type));
    mallard_gc_handle_free(handle);
    mallard_gc_handle_free(handle);
}
static void get_freed_handle(void) {
    struct mallard_gc_handle *handle = mallard_gc_handle_new(mallard_gc_new(&node_type));
    mallard_gc_handle_free(handle);
    mallard_gc_handle_get(handle);
}
static void free_null_handles_slot_twice(void) {
    struct mallard_gc_handle *handle = mallard_gc_handle_new(NULL);
    mallard_gc_handle_free(handle);
    mallard_gc_handle_free(handle);
}
static void resize_of_malloc(void) {
    mallard_gc_resize_flex(malloc(100), &list_type, 3);
}
static void resize_of_interior(void) {
    mallard_gc_resize_flex((char *)mallard_gc_new_flex(&list_type, 3) + 8, &list_type, 3);
}
static void resize_without_type(void) {
    mallard_gc_resize_flex(mallard_gc_new_flex(&list_type, 3), NULL, 3);
}
static void flex_without_type(void) {
    mallard_gc_new_flex(NULL, 3);
}
static void arena_freed_twice(void) {
    struct mallard_arena *arena = mallard_arena_new();
    mallard_arena_free(arena);
    mallard_arena_free(arena);
}
static void arena_used_after_free(void) {
    struct mallard_arena *arena = mallard_arena_new();
    mallard_arena_free(arena);
    mallard_arena_alloc(arena, 10, NULL);
}
static void no_arena(void) {
    mallard_arena_alloc_noscan(NULL, 10);
}
static void other_memory_as_arena(void) {
    mallard_arena_free(mallard_gc_alloc_noscan(100));
}
static void no_pool_to_get(void) {
    mallard_pool_get(NULL);
}
static void no_pool_to_put(void) {
    mallard_pool_put(NULL, &passed);
}
static void pool_freed_twice(void) {
    struct mallard_pool_options options = {.size = sizeof options};
    struct mallard_pool *pool = mallard_pool_new(&options);
    mallard_pool_put(pool, mallard_gc_new(&node_type));
    mallard_pool_free(pool);
    mallard_pool_free(pool);
}
static void collected_given_to_free(void) {
    free(mallard_gc_new(&node_type));
}

static const struct {
    void (*misuse)(void);
    const char *sentence; /* after "mallard: "; what depends on an address is left out */
} deaths[] = {
    {free_handle_twice, "the handle was freed before"},
    {get_freed_handle, "the handle was freed"},
    {free_null_handles_slot_twice, "the handle was freed before"},
    {resize_of_malloc, "this is not the start of a collected object"},
    {resize_of_interior, "this is not the start of a collected object"},
    {resize_without_type, "mallard_gc_resize_flex: the type is NULL"},
    {flex_without_type, "mallard_gc_new_flex: the type is NULL"},
    {arena_freed_twice, "the arena was freed before"},
    {arena_used_after_free, "the arena was freed"},
    {no_arena, "this is no arena"},
    {other_memory_as_arena, "this is no arena"},
    {no_pool_to_get, "mallard_pool_get: the pool is NULL"},
    {no_pool_to_put, "mallard_pool_put: the pool is NULL"},
    {pool_freed_twice, "the pool was freed before"},
    {collected_given_to_free, "object of the collected heap: use mallard_gc_free"},
};

/* Runs it in a child; its standard error is in `said`. Returns how it ended. */
static int end_of(void (*misuse)(void), char *said, size_t room) {
    int ends[2], status = 0;
    size_t bytes = 0;
    if (pipe(ends) != 0)
        exit(1);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        alarm(60);
        misuse();
        _exit(0);
    }
    close(ends[1]);
    for (long got; (got = read(ends[0], said + bytes, room - 1 - bytes)) > 0;)
        bytes += (size_t)got;
    said[bytes] = '\0';
    close(ends[0]);
    waitpid(child, &status, 0);
    return status;
}

static bool is_one_line_with(const char *said, const char *sentence) {
    const char *end = strchr(said, '\n');
    return strncmp(said, "mallard: ", 9) == 0 && end && end[1] == '\0' && strstr(said, sentence);
}

static void misuse_dies_with_one_sentence(void) {
    for (size_t i = 0; i < sizeof deaths / sizeof deaths[0]; i++) {
        char said[1000], what[1200];
        int status = end_of(deaths[i].misuse, said, sizeof said);
        bool good = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
                    is_one_line_with(said, deaths[i].sentence);
        snprintf(what, sizeof what, "dies: %s%s%s", deaths[i].sentence,
                 good ? "" : "; said: ", good ? "" : said);
        judge(good, what);
    }
}

/* ---- what is refused, or means nothing ---- */

static bool is_refused(const void *result) {
    return result == NULL && errno == ENOMEM;
}

#define REFUSED(call) (errno = 0, is_refused(call))

static void sizes_that_are_none(void) {
    static const size_t sizes[] = {SIZE_MAX,        SIZE_MAX - 15,    (size_t)PTRDIFF_MAX + 1,
                                   PTRDIFF_MAX,     PTRDIFF_MAX - 15, PTRDIFF_MAX - 4096,
                                   (size_t)1 << 62, (size_t)1 << 47,  ((size_t)1 << 46) + 1};
    struct mallard_arena *arena = mallard_arena_new();
    bool good = true;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        good &= REFUSED(mallard_gc_alloc(sizes[i], NULL));
        good &= REFUSED(mallard_gc_alloc(sizes[i], &node_type));
        good &= REFUSED(mallard_gc_alloc_noscan(sizes[i]));
        good &= REFUSED(mallard_gc_new_flex(&list_type, sizes[i]));
        good &= REFUSED(mallard_gc_resize_flex(NULL, &list_type, sizes[i]));
        good &= REFUSED(mallard_arena_alloc(arena, sizes[i], NULL));
        good &= REFUSED(mallard_arena_alloc_noscan(arena, sizes[i]));
    }
    judge(good, "sizes that no object has: NULL and ENOMEM");
    struct list *list = mallard_gc_new_flex(&list_type, 2);
    list->length = 2;
    good = REFUSED(mallard_gc_resize_flex(list, &list_type, SIZE_MAX / 8));
    judge(good && list->length == 2, "a resize that fails changes nothing");
    mallard_arena_free(arena);
}

static void types_that_are_odd(void) {
    judge(mallard_gc_new(&nothing_type) && mallard_gc_new_flex(&nothing_type, 5) &&
              mallard_gc_alloc(100, &nothing_type) && mallard_gc_alloc(0, &nothing_type),
          "a type of no bytes");
    judge(mallard_gc_new(&endless_type) && mallard_gc_alloc(1000, &endless_type) &&
              mallard_gc_new_flex(&endless_type, 7),
          "a type of no bytes with a pointer in them");
    void *node = mallard_gc_new_flex(&node_type, 1000);
    judge(node && mallard_gc_size(node) < 100, "a type without an array, as if it had one");
    judge(mallard_gc_alloc(0, NULL) && mallard_gc_alloc_noscan(0), "no bytes");
}

static void pointers_that_lead_nowhere(void) {
    void *wild[] = {NULL,          (void *)1,      (void *)8, (void *)-1,
                    (void *)-4096, (void *)0x7000, &wild,     malloc(50)};
    bool unknown = true, weak = true, cleanup = true, finalizer = true;
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++) {
        unknown &= mallard_gc_size(wild[i]) == 0 && !mallard_gc_is_noscan(wild[i]) &&
                   mallard_gc_base(wild[i]) == NULL;
        mallard_gc_free(wild[i]);
        errno = 0;
        weak &= mallard_gc_weak_new(wild[i]) == NULL && errno == EINVAL;
        cleanup &= mallard_gc_cleanup_add(wild[i], free, NULL, NULL) == -EINVAL;
        finalizer &= mallard_gc_finalizer_set(wild[i], free) == -EINVAL;
    }
    judge(unknown, "size, is_noscan and base of what is no object; free leaves it alone");
    judge(weak && mallard_gc_weak_get(NULL) == NULL, "weak references to what is no object");
    judge(cleanup && finalizer, "cleanups and finalizers of what is no object");
    free(wild[7]);
}

static void run_nothing(void *argument) {
    (void)argument;
}

static void ends_that_are_odd(void) {
    struct node *node = mallard_gc_new(&node_type);
    struct mallard_gc_cleanup cleanup = {0, 0};
    judge(mallard_gc_cleanup_stop(NULL) == -EINVAL && mallard_gc_cleanup_stop(&cleanup) == -EINVAL,
          "a cleanup that there never was");
    judge(mallard_gc_cleanup_add(node, NULL, NULL, NULL) == -EINVAL &&
              mallard_gc_cleanup_add(node, run_nothing, &node->right, NULL) == -EINVAL,
          "a cleanup without a function, or of itself");
    judge(mallard_gc_cleanup_add(node, run_nothing, NULL, &cleanup) == 0 &&
              mallard_gc_cleanup_stop(&cleanup) == 0 &&
              mallard_gc_cleanup_stop(&cleanup) == -ENOENT,
          "a cleanup that is stopped twice");
    judge(mallard_gc_finalizer_set(node, NULL) == 0 &&
              mallard_gc_finalizer_set(&node->right, run_nothing) == -EINVAL &&
              mallard_gc_finalizer_set(node, run_nothing) == 0 &&
              mallard_gc_finalizer_set(node, run_nothing) == -EEXIST &&
              mallard_gc_finalizer_set(node, NULL) == 0 &&
              mallard_gc_finalizer_set(node, NULL) == 0,
          "finalizers: none to take back, of an interior pointer, twice");
    mallard_gc_free(&node->right);
    judge(mallard_gc_size(node) > 0, "an interior pointer is not freed");
    mallard_gc_free(node);
    mallard_gc_free(node);
    judge(true, "an object is freed twice");
}

static void roots_that_are_none(void) {
    char *memory = malloc(100);
    judge(mallard_gc_root_add(NULL, 100) == -EINVAL && mallard_gc_root_add(memory, 0) == -EINVAL &&
              mallard_gc_root_add(memory, SIZE_MAX) == -EINVAL &&
              mallard_gc_root_add(memory, PTRDIFF_MAX) == -EINVAL &&
              mallard_gc_root_add((void *)-4096, 10) == -EINVAL &&
              mallard_gc_stack_add(NULL, 4096) == -EINVAL &&
              mallard_gc_stack_add(memory, SIZE_MAX) == -EINVAL,
          "roots and stacks that are no ranges");
    judge(mallard_gc_root_remove(NULL, 0) == -ENOENT &&
              mallard_gc_root_remove(memory, 100) == -ENOENT &&
              mallard_gc_stack_remove(NULL) == -ENOENT &&
              mallard_gc_stack_remove(memory) == -ENOENT,
          "roots and stacks that nobody added");
    judge(mallard_gc_root_add(memory + 1, 5) == 0 && mallard_gc_root_add(memory + 1, 5) == 0,
          "a root of no whole word, added twice");
    mallard_gc_collect();
    judge(mallard_gc_root_remove(memory + 1, 6) == -ENOENT &&
              mallard_gc_root_remove(memory + 1, 5) == 0 &&
              mallard_gc_root_remove(memory + 1, 5) == 0 &&
              mallard_gc_root_remove(memory + 1, 5) == -ENOENT,
          "it is removed as often");
    free(memory);
}

static void *end_a_region(void *unused) {
    (void)unused;
    mallard_gc_blocking_end();
    return mallard_gc_new(&node_type);
}

static void handles_and_regions(void) {
    mallard_gc_handle_free(NULL);
    struct mallard_gc_handle *handle = mallard_gc_handle_new(NULL);
    judge(handle && mallard_gc_handle_get(handle) == NULL && mallard_gc_handle_get(NULL) == NULL,
          "a handle of NULL, and none");
    mallard_gc_handle_free(handle);
    mallard_gc_blocking_end();
    judge(end_a_region(NULL) != NULL, "the end of a region that was not begun");
    mallard_gc_collect();
}

static void knobs_that_are_odd(void) {
    int before = mallard_gc_set_percent(INT_MIN);
    judge(mallard_gc_set_percent(-7) == -1 && mallard_gc_set_percent(INT_MAX) == -1 &&
              mallard_gc_set_percent(0) == INT_MAX,
          "percentages below 0 are -1");
    for (int i = 0; i < 1000; i++)
        mallard_gc_alloc(1000, NULL);
    judge(mallard_gc_set_percent(before) == 0 && before == 100, "and 0 is one");
    struct mallard_gc_stats stats = {.size = 0};
    judge(mallard_gc_read_stats(NULL) == -EINVAL && mallard_gc_read_stats(&stats) == -EINVAL,
          "statistics into nothing");
    struct {
        struct mallard_gc_stats stats;
        uint64_t later;
    } newer = {{.size = sizeof newer}, 7}, older = {{.size = 16, .num_forced_gc = 7}, 0};
    judge(mallard_gc_read_stats(&newer.stats) == 0 && newer.later == 7 && newer.stats.num_gc > 0 &&
              mallard_gc_read_stats(&older.stats) == 0 && older.stats.num_gc > 0 &&
              older.stats.num_forced_gc == 7,
          "statistics of another version's size");
}

static void pools_that_are_odd(void) {
    struct mallard_pool_options options = {.size = 3};
    errno = 0;
    judge(mallard_pool_new(NULL) == NULL && errno == EINVAL &&
              (errno = 0, mallard_pool_new(&options) == NULL) && errno == EINVAL,
          "a pool without options, or of none that are known");
    options = (struct mallard_pool_options){.size = sizeof options};
    struct mallard_pool *pool = mallard_pool_new(&options);
    struct mallard_pool_stats stats = {.size = 0};
    mallard_pool_put(pool, NULL);
    judge(mallard_pool_get(pool) == NULL, "an empty pool without new_item");
    judge(mallard_pool_read_stats(NULL, &stats) == -EINVAL &&
              mallard_pool_read_stats(pool, NULL) == -EINVAL &&
              mallard_pool_read_stats(pool, &stats) == -EINVAL,
          "a pool's statistics into nothing");
    mallard_pool_free(pool);
    mallard_pool_free(NULL);
    mallard_arena_free(NULL);
}

int main(void) {
    sizes_that_are_none();
    types_that_are_odd();
    pointers_that_lead_nowhere();
    ends_that_are_odd();
    roots_that_are_none();
    handles_and_regions();
    knobs_that_are_odd();
    pools_that_are_odd();
    mallard_gc_collect();
    misuse_dies_with_one_sentence();
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0;
}
