/* SPDX-License-Identifier: Apache-2.0
 *
 * An array of pointers: a few thousand of them at most, walked in microseconds.
 *
 * SYNCHRONIZATION  `lock` guards everything in the table and, in processes, `state`, `folder` and
 * `references`. A process is freed by whoever drops its last reference, outside of the lock.
 */
#include "daemon/table.h"

#include <errno.h>
#include <stdlib.h>

void table_init(struct table *table) {
    *table = (struct table){.items = NULL};
    pthread_mutex_init(&table->lock, NULL);
}

void table_destroy(struct table *table) {
    for (size_t i = 0; i < table->count; i++)
        if (--table->items[i]->references == 0)
            process_free(table->items[i]);
    free(table->items);
    pthread_mutex_destroy(&table->lock);
}

static size_t limit_of(enum process_state state) {
    static const size_t limits[PROCESS_STATES] = {
        [PROCESS_LIVING] = TABLE_LIVING_MAX,
        [PROCESS_ENDED] = TABLE_LIVING_MAX,
        [PROCESS_DEAD] = TABLE_DEAD_MAX,
        [PROCESS_DOUBTFUL] = TABLE_DOUBTFUL_MAX,
    };
    return limits[state];
}

static int reserve_locked(struct table *table) {
    if (table->count < table->capacity)
        return 0;
    size_t capacity = table->capacity > 0 ? table->capacity * 2 : 64;
    struct process **items = reallocarray(table->items, capacity, sizeof *items);
    if (items == NULL)
        return -ENOMEM;
    table->items = items;
    table->capacity = capacity;
    return 0;
}

static void append_locked(struct table *table, struct process *process, enum process_state state) {
    process->state = state;
    process->references++;
    table->items[table->count++] = process;
    table->in_state[state]++;
}

int table_add(struct table *table, struct process *process, enum process_state state) {
    pthread_mutex_lock(&table->lock);
    int error = table->in_state[state] < limit_of(state) ? reserve_locked(table) : -ENOSPC;
    if (error == 0)
        append_locked(table, process, state);
    pthread_mutex_unlock(&table->lock);
    return error;
}

/* The place of a process, or `count`. */
static size_t find_locked(const struct table *table, const struct process *process) {
    size_t i = 0;
    while (i < table->count && table->items[i] != process)
        i++;
    return i;
}

void table_remove(struct table *table, struct process *process) {
    pthread_mutex_lock(&table->lock);
    size_t i = find_locked(table, process);
    bool found = i < table->count;
    if (found) {
        table->in_state[process->state]--;
        table->items[i] = table->items[--table->count];
    }
    pthread_mutex_unlock(&table->lock);
    if (found)
        table_unref(table, process);
}

void table_replace(struct table *table, struct process *before, struct process *after,
                   enum process_state state) {
    pthread_mutex_lock(&table->lock);
    size_t i = find_locked(table, before);
    bool found = i < table->count;
    if (found) {
        table->in_state[before->state]--;
        table->in_state[state]++;
        after->state = state;
        after->references++;
        table->items[i] = after;
    }
    pthread_mutex_unlock(&table->lock);
    if (found)
        table_unref(table, before);
}

void table_set_state(struct table *table, struct process *process, enum process_state state) {
    pthread_mutex_lock(&table->lock);
    if (find_locked(table, process) < table->count) {
        table->in_state[process->state]--;
        table->in_state[state]++;
    }
    process->state = state;
    pthread_mutex_unlock(&table->lock);
}

void table_set_folder(struct table *table, struct process *process, char *folder) {
    pthread_mutex_lock(&table->lock);
    bool news = process->folder == NULL;
    if (news)
        process->folder = folder;
    pthread_mutex_unlock(&table->lock);
    if (!news)
        free(folder);
}

struct process *table_ref(struct table *table, struct process *process) {
    pthread_mutex_lock(&table->lock);
    process->references++;
    pthread_mutex_unlock(&table->lock);
    return process;
}

void table_unref(struct table *table, struct process *process) {
    pthread_mutex_lock(&table->lock);
    bool last = --process->references == 0;
    pthread_mutex_unlock(&table->lock);
    if (last)
        process_free(process);
}

int table_list(struct table *table, table_filter *wanted, const void *context,
               struct table_list *ret_list) {
    struct table_list list = {0};
    pthread_mutex_lock(&table->lock);
    list.items = calloc(table->count > 0 ? table->count : 1, sizeof *list.items);
    for (size_t i = 0; list.items != NULL && i < table->count; i++) {
        struct process *process = table->items[i];
        if (wanted != NULL && !wanted(process, process->state, context))
            continue;
        process->references++;
        list.items[list.count++] = (struct table_item){
            process, process->state, process->folder != NULL ? process->folder : ""};
    }
    pthread_mutex_unlock(&table->lock);
    if (list.items == NULL)
        return -ENOMEM;
    *ret_list = list;
    return 0;
}

void table_list_free(struct table *table, struct table_list *list) {
    for (size_t i = 0; i < list->count; i++)
        table_unref(table, list->items[i].process);
    free(list->items);
    *list = (struct table_list){0};
}

void table_counts(struct table *table, size_t ret_in_state[PROCESS_STATES]) {
    pthread_mutex_lock(&table->lock);
    for (unsigned state = 0; state < PROCESS_STATES; state++)
        ret_in_state[state] = table->in_state[state];
    pthread_mutex_unlock(&table->lock);
}
