/* SPDX-License-Identifier: Apache-2.0
 *
 * A program written for Boehm's collector, built twice: against Boehm's own header and library, and
 * against Mallard's. It prints the same lines on both.
 */
#define GC_THREADS
#include <gc/gc.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 20000, ROUNDS = 30, FINALIZED = 200, THREADS = 4 };

struct node {
    struct node *next;
    size_t number;
    char *name;
};

static struct node *list(size_t length) {
    struct node *head = NULL;
    for (size_t i = 0; i < length; i++) {
        struct node *node = GC_NEW(struct node);
        char text[32];
        snprintf(text, sizeof text, "node %zu", i);
        node->number = i;
        node->name = GC_STRDUP(text);
        node->next = head;
        head = node;
    }
    return head;
}

static int is_whole(const struct node *head, size_t length) {
    for (size_t i = length; i-- > 0; head = head->next) {
        char text[32];
        snprintf(text, sizeof text, "node %zu", i);
        if (!head || head->number != i || strcmp(head->name, text) != 0)
            return 0;
    }
    return head == NULL;
}

static void check(const char *what, int good) {
    printf("%s %s\n", good ? "ok  " : "FAIL", what);
}

static void check_lists(void) {
    struct node *kept = list(NODES);
    for (int i = 0; i < ROUNDS; i++)
        list(NODES);
    GC_gcollect();
    check("a list that is held outlives thirty that are not", is_whole(kept, NODES));
    check("collections were made", GC_get_gc_no() > 0);
    check("the heap is not as large as all that was allocated",
          GC_get_heap_size() < (size_t)100 << 20);
}

static void check_kinds(void) {
    char *zero = GC_MALLOC(1000);
    int sum = 0;
    for (int i = 0; i < 1000; i++)
        sum |= zero[i];
    check("memory comes zeroed", sum == 0);
    check("an inner pointer leads to its object",
          GC_base(zero + 500) == zero && GC_size(zero) >= 1000);
    strcpy(zero, "content");
    char *grown = GC_REALLOC(zero, 100000);
    check("realloc keeps the content", strcmp(grown, "content") == 0 && GC_size(grown) >= 100000);
    check("strndup cuts", strcmp(GC_STRNDUP("abcdef", 3), "abc") == 0);
    void *many = GC_malloc_many(48);
    size_t count = 0;
    for (void *object = many; object; object = GC_NEXT(object))
        count++;
    check("malloc_many gives a list", count >= 1);
    GC_FREE(grown);
    GC_FREE(NULL);
}

/* The only pointer to the list lies in memory that is never collected, and that one only in
 * malloc's where the collector does not look. */
static void check_uncollectable(void) {
    struct node **outside = malloc(sizeof *outside);
    struct node *anchor = GC_MALLOC_UNCOLLECTABLE(sizeof *anchor);
    anchor->next = list(NODES);
    *outside = anchor;
    anchor = NULL;
    for (int i = 0; i < ROUNDS; i++)
        list(NODES);
    GC_gcollect();
    check("what uncollectable memory leads to stays", is_whole((*outside)->next, NODES));
    GC_FREE(*outside);
    free(outside);
}

static int finalized;

static void finalize(void *object, void *data) {
    finalized += object != NULL && data == &finalized;
}

static __attribute__((noinline)) void drop_finalized(void) {
    for (int i = 0; i < FINALIZED; i++)
        GC_register_finalizer(GC_MALLOC(64), finalize, &finalized, NULL, NULL);
}

static void check_finalizers(void) {
    drop_finalized();
    for (int i = 0; i < 20 && finalized < FINALIZED * 9 / 10; i++) {
        list(NODES);
        GC_gcollect();
        GC_invoke_finalizers();
    }
    check("finalizers ran for nearly all that was dropped", finalized >= FINALIZED * 9 / 10);
}

static void *thread_body(void *argument) {
    struct node *kept = list(NODES);
    for (int i = 0; i < 5; i++)
        list(NODES);
    *(int *)argument = is_whole(kept, NODES);
    return argument;
}

static void check_threads(void) {
    pthread_t thread[THREADS];
    int whole[THREADS] = {0}, all = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, thread_body, &whole[i]);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        all &= whole[i];
    }
    check("lists on the stacks of threads stay", all);
}

static void check_disabling(void) {
    GC_disable();
    GC_word before = GC_get_gc_no();
    for (int i = 0; i < ROUNDS; i++)
        list(NODES);
    check("nothing is collected while collection is disabled",
          GC_get_gc_no() == before && GC_is_disabled());
    GC_enable();
    GC_gcollect();
    check("and again afterwards", GC_get_gc_no() > before);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    GC_INIT();
    check_lists();
    check_kinds();
    check_uncollectable();
    check_finalizers();
    check_threads();
    check_disabling();
    return 0;
}
