/* SPDX-License-Identifier: Apache-2.0
 *
 * A cache with a byte budget: a hash table, a list by age, values of all sizes, keys beside them.
 *
 * Each miss allocates an entry, a key and a value, and evicts from the other end until the budget
 * holds: allocation and free alternate over a large live set, oldest first.
 */
#include "load.h"

enum { BUCKETS = 1 << 17, REQUESTS = 8000000, KEYS = 300000 };

#define BUDGET_BYTES (64u << 20)

struct entry {
    struct entry *chain, *older, *newer;
    char *key, *value;
    size_t number;
};

static struct entry *buckets[BUCKETS];
static struct entry *newest, *oldest;
static size_t held_bytes;

static void unlink_entry(struct entry *entry) {
    *(entry->newer ? &entry->newer->older : &newest) = entry->older;
    *(entry->older ? &entry->older->newer : &oldest) = entry->newer;
}

static void put_first(struct entry *entry) {
    entry->newer = NULL;
    entry->older = newest;
    *(newest ? &newest->newer : &oldest) = entry;
    newest = entry;
}

static struct entry **find(size_t number) {
    struct entry **at = &buckets[number * 0x9e3779b1u % BUCKETS];
    while (*at && (*at)->number != number)
        at = &(*at)->chain;
    return at;
}

static size_t evict(void) {
    struct entry *victim = oldest, **at = find(victim->number);
    *at = victim->chain;
    unlink_entry(victim);
    size_t bytes = drop(victim->key) + drop(victim->value);
    free(victim);
    held_bytes -= bytes;
    return bytes;
}

static void insert(struct entry **at, size_t number, uint64_t *seed) {
    struct entry *entry = not_null(malloc(sizeof *entry));
    entry->number = number;
    entry->key = take(12 + random_below(seed, 40));
    entry->value = take(random_size(seed, 32, 16384));
    entry->chain = *at;
    *at = entry;
    held_bytes += inspect(entry->key) + inspect(entry->value);
    put_first(entry);
}

int main(int argc, char **argv) {
    uint64_t seed = 17, sum = 0;
    size_t requests = scaled(argc, argv, REQUESTS);
    for (size_t i = 0; i < requests; i++) {
        size_t number = random_below(&seed, 1 + random_below(&seed, KEYS));
        struct entry **at = find(number);
        if (*at) {
            sum += inspect((*at)->value);
            struct entry *hit = *at;
            unlink_entry(hit);
            put_first(hit);
            continue;
        }
        insert(at, number, &seed);
        while (held_bytes > BUDGET_BYTES)
            sum += evict();
    }
    return result(sum);
}
