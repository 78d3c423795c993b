/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes that are written down as living, and which nobody knows: they ended while the daemon
 * did not run, and left no box (a power cut takes those with it). Their profiles stay; their facts
 * get an end.
 *
 * SYNCHRONIZATION  One of the keeper's threads. Entries of these processes are nobody else's: one
 * that somebody has begun is of a process that came after the known ones were listed.
 */
#include "daemon/keeper_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct settling {
    struct keeper *keeper;
    struct table_list known;
    struct keep_facts *items;
    size_t count, capacity;
};

static bool is_known(const struct settling *settling, const struct keep_facts *facts) {
    for (size_t i = 0; i < settling->known.count; i++) {
        const struct keep_facts *known = &settling->known.items[i].process->facts;
        if (known->pid == facts->pid && known->start_ticks == facts->start_ticks &&
            strcmp(known->boot, facts->boot) == 0)
            return true;
    }
    return false;
}

static int find_unsettled(const struct keep_facts *facts, const char *folder, void *context) {
    struct settling *settling = context;
    (void)folder;
    if (facts->death != KEEP_DEATH_NONE || is_known(settling, facts))
        return 0;
    if (settling->count == settling->capacity) {
        size_t capacity = settling->capacity > 0 ? settling->capacity * 2 : 16;
        struct keep_facts *items = reallocarray(settling->items, capacity, sizeof *items);
        if (items == NULL)
            return -ENOMEM;
        settling->items = items;
        settling->capacity = capacity;
    }
    return process_copy_facts(facts, &settling->items[settling->count]) == 0
               ? (settling->count++, 0)
               : -ENOMEM;
}

static void settle_one(struct keeper *keeper, struct keep_facts *facts) {
    struct keep_entry *entry;
    char *sentence = strdup("its end was not seen: mallardd or the machine was not running");
    if (sentence == NULL)
        return;
    free(facts->sentence);
    facts->sentence = sentence;
    facts->death = KEEP_DEATH_UNKNOWN;
    int error = keep_entry_begin(keeper->options.store, facts, &entry);
    if (error == 0)
        keep_entry_end(entry);
    if (error != -EBUSY)
        keeper_note(keeper, error);
}

void keeper_do_settle(struct keeper *keeper) {
    struct settling settling = {.keeper = keeper};
    if (table_list(keeper->options.table, NULL, NULL, &settling.known) < 0)
        return;
    keep_each(keeper->options.store, find_unsettled, &settling);
    for (size_t i = 0; i < settling.count; i++) {
        settle_one(keeper, &settling.items[i]);
        keep_facts_free(&settling.items[i]);
    }
    free(settling.items);
    table_list_free(keeper->options.table, &settling.known);
}
